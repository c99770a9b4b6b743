import type { Header, Notes, Recipient, Text, Tls, Verdict, Worker } from "gatepost";

export class TestFailure extends Error {
  readonly code: string;
  readonly plugin: string | null;
}
export interface TestSessionOptions {
  clientIp?: string;
  clientName?: string | null;
  tls?: Tls | null;
  deadlineMs?: number;
  keepLog?: boolean;
}
export type Proof = string | {
  mechanism?: string; password?: Text; challenge?: Text; response?: Text; step?: number; state?: Text; tls_server_end_point?: Text;
};
export class TestSession {
  constructor(worker: Worker, options?: TestSessionOptions);
  clientIp: string;
  clientName: string | null;
  tls: Tls | null;
  deadlineMs: number;
  relay: boolean;
  earlyTalker: boolean;
  user: string | null;
  notes: { session: Notes; transaction: Notes };
  readonly lastVerdict: Verdict | null;
  readonly delayMs: number | null;
  readonly challenge: { challenge: string; state: string } | null;
  readonly refusedRecipients: { recipient: Recipient; verdict: Verdict }[];
  readonly sender: string | null;
  readonly recipients: Recipient[];
  readonly headers: Header[];
  header(name: string): string | null;
  connect(): Promise<Verdict>;
  helo(name?: Text): Promise<Verdict>;
  ehlo(name?: Text): Promise<Verdict>;
  auth(user: string, proof: Proof): Promise<Verdict>;
  mail(from: Text, parameters?: string[]): Promise<Verdict>;
  rcpt(to: Text, parameters?: string[]): Promise<Verdict>;
  data(): Promise<Verdict>;
  message(octets: Text): Promise<Verdict>;
  queue(): Promise<Verdict>;
  vrfy(argument?: string): Promise<Verdict>;
  help(argument?: string): Promise<Verdict>;
  noop(argument?: string): Promise<Verdict>;
  unrecognizedCommand(line: string): Promise<Verdict>;
  quit(): Promise<Verdict>;
  disconnect(reason?: string): Promise<void>;
  resetTransaction(): void;
  notify(hook: string, args?: { [name: string]: any }): Promise<void>;
  ask(hook: string, args?: { [name: string]: any }): Promise<Verdict>;
  close(): void;
}
