// Uses each signature once; tsc checks it.
import { check, Connection, ControlFile, declined, deny, denyDisconnect, denysoft, denysoftDisconnect, done, NotThere, octets, ok, text, Verdict, Worker } from "gatepost";
import type { Action, Event, Handler } from "gatepost";
import { TestFailure, TestSession } from "gatepost/testing";

const worker = new Worker("types", { pool: "p", runtimeDirectory: "r", folder: "f", concurrency: 1, maxFrame: 65536, version: "1", instance: "a",
  logger: { info() {}, warn() {}, error() {} }, lookEveryMs: 1, drainTimeoutMs: 1 });
const edits: Action[] = [{ op: "header.add", name: "X", value: { b64: "YQ==" } }, { op: "session.client_name", value: null }];
const answers: Verdict[] = [declined({ notes: { session: { a: null } }, actions: edits }), ok(), ok("a", "b"), deny("a", { code: 550, status: "5.1.1" }),
  denysoft({ notes: { transaction: { a: 1 } } }), denyDisconnect("x"), denysoftDisconnect("x"), done(250, "a", "b", { status: "2.0.0" }), new Verdict("ok", { text: ["x"] })];
const handler: Handler = async (event: Event) => {
  const name: string = event.recipient.address + event.sender.local + (event.sender.domain ?? "") + event.session.clientIp + (event.session.clientName ?? "");
  const ids: number[] = [...event.recipients.map(({ id }) => id), ...event.headers.map(({ id }) => id), event.header("x")?.id ?? 0];
  for await (const piece of event.openMessage()) name.concat(String(piece.length));
  for await (const piece of event.openBody()) name.concat(String(piece.length));
  const whole: Uint8Array = await event.readMessage();
  event.addHeader("X", whole, "bottom"); event.setHeader(ids[0], "x"); event.deleteHeader(1); event.deleteHeaders("x");
  event.addRecipient("a@b"); event.removeRecipient(1); event.replaceRecipient(1, "a@b"); event.refuseRecipient(1, deny());
  event.replaceSender(""); event.replaceMessage(event.newMessagePath()); event.setRelay(); event.setRelay(false); event.setClientName(null); event.delayReply(1);
  event.progress(1000); event.sessionNotes.a = 1; event.transactionNotes.b = [1];
  if (event.cancelled || event.signal.aborted || event.remainingMs < 1) return undefined;
  if (event.transaction?.repliesEach) return null;
  if (event.step === 1) return event.challenge("c", event.state);
  const asked: string | null = event.argument("argument");
  return asked === null ? answers[0] : undefined;
};
worker.rcpt(handler).dataPost({ needs: ["headers", "message"], plugin: "x" }, handler).queue({ idempotent: true, extensions: ["FUTURERELEASE"] }, handler)
  .disconnect({ needs: ["trace"] }, handler).connect({ observe: true }, () => {}).hook("mail", handler).hook("ehlo", { needs: [] }, handler);
// @ts-expect-error: there is no such hook
worker.hook("rctp", handler);
// @ts-expect-error: there is no such need
worker.rcpt({ needs: ["body"] }, handler);
// @ts-expect-error: a handler returns a verdict or nothing
worker.rcpt(() => "deny");
// @ts-expect-error: text comes first
deny({ code: 550 }, "x");
const hosts: string[] = new ControlFile("rcpthosts").lines;
const sizes: number = new ControlFile("databytes", { folder: ["config"], parse: (lines) => Number(lines[0] ?? 0), onError: (error) => error.message }).value;
const connection = new Connection(worker.hello());
connection.receive(connection.take()).map((event) => connection.answer(event, ok())?.violation);
const problem: string | undefined = check({}, {})?.message;
text(octets("x"));
export async function session(): Promise<unknown[]> {
  const made = new TestSession(worker, { clientIp: "192.0.2.9", clientName: "x", deadlineMs: 5, keepLog: true });
  await made.connect(); await made.ehlo("x"); await made.helo(); await made.auth("jo", "secret"); await made.mail("a@b", ["BODY=8BITMIME"]);
  const verdict: Verdict = await made.rcpt("eve@example.com");
  await made.data(); await made.message("x"); await made.queue(); await made.vrfy("x"); await made.noop(); await made.help(); await made.unrecognizedCommand("X"); await made.quit();
  await made.notify("queue_post", {}); await made.disconnect(); made.resetTransaction(); made.close();
  return [verdict.code, made.notes.session.a, made.recipients[0].address, made.headers[0].value, made.header("x"), made.sender, made.relay, made.lastVerdict?.word,
    made.delayMs, made.challenge?.state, made.refusedRecipients, hosts, sizes, problem, worker.run, worker.serve, worker.stop, NotThere, TestFailure];
}
