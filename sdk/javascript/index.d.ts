// Types of the package `gatepost`. Octets are Uint8Array here, so that @types/node is not needed; they are Buffers.

/** Text of SMTP: an octet that is no UTF-8 is one lone surrogate, U+DC80 to U+DCFF. Octets are taken as well. */
export type Text = string | Uint8Array;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Notes = { [key: string]: any };

export type AskedHook =
  | "connect" | "helo" | "ehlo" | "auth" | "mail" | "rcpt" | "data" | "data_headers_end" | "received_line" | "data_post_headers"
  | "data_post" | "queue_pre" | "queue" | "vrfy" | "help" | "noop" | "unrecognized_command" | "quit";
export type ToldHook = "reset_transaction" | "queue_post" | "deny" | "ok" | "disconnect" | "status";
export type Hook = AskedHook | ToldHook;
export type Need = "recipients" | "headers" | "message" | "trace";
export type Word = "declined" | "ok" | "deny" | "denysoft" | "deny_disconnect" | "denysoft_disconnect" | "done";

export interface Reply {
  code?: number;
  status?: string;
  text?: string[];
}
export type Bytes = string | { b64: string };
export type Action =
  | { op: "header.add"; name: Bytes; value: Bytes; at?: "top" | "bottom" }
  | { op: "header.set"; id: number; value: Bytes }
  | { op: "header.delete"; id: number }
  | { op: "header.delete_all"; name: Bytes }
  | { op: "recipient.add"; address: Bytes }
  | { op: "recipient.remove"; id: number }
  | { op: "recipient.replace"; id: number; address: Bytes }
  | { op: "recipient.refuse"; id: number; verdict: "deny" | "denysoft"; reply?: Reply }
  | { op: "sender.replace"; address: Bytes }
  | { op: "message.replace"; path: string }
  | { op: "session.relay"; value: boolean }
  | { op: "session.client_name"; value: Bytes | null }
  | { op: "reply.delay"; ms: number }
  | { op: "auth.challenge"; challenge: Bytes; state: Bytes };

export interface NotesPatch {
  session?: Notes;
  transaction?: Notes;
}
export interface VerdictOptions {
  code?: number;
  status?: string;
  notes?: NotesPatch;
  actions?: Action[];
}

export class Verdict {
  constructor(word: Word, options?: VerdictOptions & { text?: string[]; plugin?: string });
  readonly word: Word;
  readonly text: string[];
  readonly code: number | null;
  readonly status: string | null;
  readonly notes: NotesPatch;
  readonly actions: Action[];
  readonly plugin: string | null;
  readonly reply: Reply | null;
  toString(): string;
}
/** Text, a string each line, then perhaps the options. */
export type VerdictParts = string[] | [...string[], VerdictOptions];
export function declined(options?: Pick<VerdictOptions, "notes" | "actions">): Verdict;
export function ok(...parts: VerdictParts): Verdict;
export function deny(...parts: VerdictParts): Verdict;
export function denysoft(...parts: VerdictParts): Verdict;
export function denyDisconnect(...parts: VerdictParts): Verdict;
export function denysoftDisconnect(...parts: VerdictParts): Verdict;
export function done(code: number, ...parts: VerdictParts): Verdict;

export class Address {
  readonly address: string;
  readonly local: string;
  readonly domain: string | null;
  readonly params: [string, string | null][];
  toString(): string;
}
export class Recipient extends Address {
  readonly id: number;
}
export class Header {
  readonly id: number;
  readonly name: string;
  readonly space: string;
  readonly value: string;
}
export class Transaction {
  readonly raw: any;
  readonly id: string;
  readonly recipientCount: number;
  readonly repliesEach: boolean;
  readonly holdUntilMs: number | null;
  readonly sender: Address | null;
  readonly recipients: Recipient[];
  readonly headers: Header[];
  readonly message: { path: string; size: number; bodyOffset: number };
}
export interface ClientCertificate {
  verified: boolean;
  subject: string | null;
  issuer: string | null;
  fingerprint: string;
  key_fingerprint: string | null;
}
export interface Tls {
  version: string;
  cipher: string | null;
  sni: string | null;
  client_certificate?: ClientCertificate | null;
}
export class Session {
  readonly raw: any;
  readonly id: string;
  readonly listener: string;
  readonly startedMs: number;
  readonly clientIp: string;
  readonly clientPort: number;
  readonly clientName: string | null;
  readonly helloVerb: "HELO" | "EHLO" | "LHLO" | null;
  readonly helloName: string | null;
  readonly user: string | null;
  readonly tls: Tls | null;
  readonly relay: boolean;
  readonly earlyTalker: boolean;
  readonly counters: { [name: string]: number };
  readonly authFailed: number;
  readonly forwarded: { [name: string]: string | null };
}
/** A part of the event that was not needed, was elided, or does not belong to the hook. */
export class NotThere extends Error {}

/** What a Node Readable is to a reader of its octets. */
export interface Octets extends AsyncIterable<Uint8Array> {
  pipe<T>(destination: T): T;
}

export class Event {
  readonly raw: any;
  readonly id: number | null;
  readonly hook: Hook;
  readonly key: string;
  readonly attempt: number;
  readonly args: { readonly [name: string]: any };
  readonly outFolder: string;
  readonly cancelReason: string | null;
  readonly actions: Action[];
  readonly trace: { plugin: string; verdict: Word; us: number }[];
  readonly session: Session;
  readonly transaction: Transaction | null;
  readonly asked: { readonly [name: string]: any };
  argument(name: string): string | null;
  readonly sender: Address;
  readonly recipient: Recipient;
  readonly recipients: Recipient[];
  readonly headers: Header[];
  header(name: string): Header | null;
  readonly elided: ("headers" | "recipients")[];
  readonly recentFailures: { address: number; user: number };
  readonly step: number;
  readonly state: string;
  readonly messagePath: string;
  openMessage(): Octets;
  openBody(): Octets;
  readMessage(): Promise<Uint8Array>;
  readonly remainingMs: number;
  readonly cancelled: boolean;
  /** An AbortSignal. */
  readonly signal: { readonly aborted: boolean; addEventListener(type: "abort", listener: () => void): void };
  progress(extendMs: number): void;
  readonly sessionNotes: Notes;
  readonly transactionNotes: Notes;
  addHeader(name: Text, value: Text, at?: "top" | "bottom"): void;
  setHeader(id: number, value: Text): void;
  deleteHeader(id: number): void;
  deleteHeaders(name: Text): void;
  addRecipient(address: Text): void;
  removeRecipient(id: number): void;
  replaceRecipient(id: number, address: Text): void;
  refuseRecipient(id: number, verdict: Verdict): void;
  replaceSender(address: Text): void;
  newMessagePath(): string;
  replaceMessage(path: string): void;
  setRelay(value?: boolean): void;
  setClientName(name: Text | null): void;
  delayReply(ms: number): void;
  challenge(challenge: Text, state?: Text): Verdict;
}

export type Answer = Verdict | null | undefined | void;
export type Handler = (event: Event) => Answer | Promise<Answer>;
export interface HandlerOptions {
  needs?: Need[];
  observe?: boolean;
  idempotent?: boolean;
  extensions?: string[];
  plugin?: string;
}
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}
export interface WorkerOptions {
  pool?: string;
  runtimeDirectory?: string;
  folder?: string;
  concurrency?: number;
  maxFrame?: number;
  version?: string;
  instance?: string;
  logger?: Logger;
  lookEveryMs?: number;
  drainTimeoutMs?: number;
}
export interface Register {
  (handler: Handler): Worker;
  (options: HandlerOptions, handler: Handler): Worker;
}
export class Worker {
  constructor(name: string, options?: WorkerOptions);
  readonly name: string;
  readonly pool: string;
  readonly folder: string;
  onWelcome: ((welcome: any) => void) | null;
  readonly droppedNotifications: number;
  hook(hook: Hook, handler: Handler): this;
  hook(hook: Hook, options: HandlerOptions, handler: Handler): this;
  hello(): { [key: string]: Json };
  run(): Promise<void>;
  serve(): Promise<void>;
  stop(): void;
  connect: Register;
  helo: Register;
  ehlo: Register;
  auth: Register;
  mail: Register;
  rcpt: Register;
  data: Register;
  dataHeadersEnd: Register;
  receivedLine: Register;
  dataPostHeaders: Register;
  dataPost: Register;
  queuePre: Register;
  queue: Register;
  vrfy: Register;
  help: Register;
  noop: Register;
  unrecognizedCommand: Register;
  quit: Register;
  resetTransaction: Register;
  queuePost: Register;
  deny: Register;
  ok: Register;
  disconnect: Register;
  status: Register;
}

export interface ControlFileOptions<Value> {
  folder?: string | string[];
  parse?: (lines: string[]) => Value;
  onError?: (error: Error) => void;
}
export class ControlFile<Value = string[]> {
  constructor(name: string, options?: ControlFileOptions<Value>);
  readonly name: string;
  readonly value: Value;
  readonly lines: string[];
  readonly words: string[];
  readonly first: string | null;
  readonly isPresent: boolean;
  has(word: string): boolean;
}

export class ProtocolError extends Error {
  readonly code: string;
}
export class Connection {
  constructor(hello: { [key: string]: any });
  readonly welcome: any;
  readonly rejected: any;
  readonly closed: boolean;
  readonly closeReason: string | null;
  readonly outstanding: number;
  onViolation: (message: any) => void;
  onOutgoing: () => void;
  take(): Uint8Array;
  receive(octets: Uint8Array): Event[];
  lost(): void;
  drain(reason?: string): void;
  leave(code?: string): void;
  waits(event: Event): boolean;
  answer(event: Event, verdict: Verdict): { violation: string | null; message: string } | null;
  fail(event: Event, code: string, started: boolean, message?: string, plugin?: string): boolean;
}
export function check(event: any, verdict: any): { violation: string; message: string } | null;
export function octets(text: Text): Uint8Array;
export function text(octets: Uint8Array): string;
