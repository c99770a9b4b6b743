// TestSession, the examples in it, and what an invalid verdict says to its author.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { declined, deny, denysoft, done, NotThere, octets, ok, text, Worker } from "gatepost";
import { TestFailure, TestSession } from "gatepost/testing";

process.env.GATEPOST_GREYLIST_SECONDS = "0";
const { worker: policy } = await import("../examples/policy.js");
const { worker: example } = await import("../examples/worker.js");

const MESSAGE = "From: Bob <bob@example.net>\r\nSubject: x\r\n\r\nbody\r\n";

function worker(hook, ...rest) {
  return new Worker("test").hook(hook, ...rest);
}
async function inMail(made, parameters) {
  const session = new TestSession(made);
  await session.mail("bob@example.net", parameters);
  await session.rcpt("jo@example.org");
  return session;
}

test("the example refuses, counts and marks", async (t) => {
  const session = new TestSession(example);
  t.after(() => session.close());
  await session.mail("bob@example.net");
  const verdict = await session.rcpt("eve@example.com");
  assert.deepEqual([verdict.word, verdict.code, verdict.status, verdict.text], ["deny", 550, "5.1.6", ["eve has left"]]);
  assert.equal(verdict.plugin, "hasLeft");
  assert.equal((await session.rcpt("jo@example.org")).word, "declined");
  await session.rcpt("al@example.org");
  assert.equal(session.notes.session.asked, 2);
  await session.message(MESSAGE);
  assert.equal(session.header("x-seen-by"), "example");
  assert.equal(session.header("subject"), "x");
});

test("the policy of every language", async (t) => {
  const session = new TestSession(policy);
  t.after(() => session.close());
  await session.mail("bob@example.net");
  assert.equal(String(await session.rcpt("EVE@example.com")), "deny 550 5.1.6 eve has left");
  assert.equal(String(await session.rcpt("jo@example.org")), "denysoft 450 4.7.1 Greylisted, come back later");
  assert.equal((await session.rcpt("jo@example.org")).word, "declined");
  assert.equal((await session.rcpt("old@example.com")).word, "declined");
  assert.deepEqual(session.recipients.map(String), ["jo@example.org", "new@example.com"]);
  assert.equal((await session.message(MESSAGE)).word, "declined");
  assert.equal(session.header("X-Policy"), "javascript");
  const large = `Subject: forbidden phrase\r\n\r\n${"y".repeat(65_530)} forbidden phrase\r\n`;
  assert.equal(String(await session.message(large)), "deny 554 5.7.1 The body holds a forbidden phrase");
});

const INVALID = [
  ["rcpt", () => deny("é"), /^greet at rcpt: reply_text: reply\.text\[0\]: "é": not ASCII, and the session has no SMTPUTF8$/],
  ["rcpt", () => deny("x", { code: 250 }), /reply_code: reply\.code: 250: not for deny at rcpt$/],
  ["rcpt", () => deny("x", { status: "4.7.1" }), /reply_status: reply\.status: "4\.7\.1": not an enhanced status code of class 5$/],
  ["rcpt", () => done(250, "x"), /verdict_not_allowed: verdict: done at rcpt/],
  ["rcpt", (event) => event.addRecipient("a b@c"), /address_invalid: actions\[0\]\.address: "a b@c": not an address$/],
  ["rcpt", () => ok({ notes: { session: { f: () => 1 } } }), /notes\.session\.f: function is not JSON$/],
  ["rcpt", () => ok({ notes: { session: { f: NaN } } }), /notes\.session\.f: NaN is not JSON$/],
  ["rcpt", () => ok({ notes: { session: { big: "x".repeat(70_000) } } }), /notes_too_large: notes\.session: 700\d\d octets, at most 65536$/],
  ["rcpt", () => declined({ actions: "x" }), /actions_malformed/],
  ["data_post", () => declined({ actions: [{ op: "header.add", name: "X-A", value: "a\nb" }] }), /^greet at data_post: header_value: actions\[0\]\.value: "a\\nb": a bare LF$/],
  ["data_post", (event) => event.addHeader("A B", "x"), /header_name: actions\[0\]\.name: "A B"/],
  ["data_post", (event) => event.deleteHeader(99), /unknown_header: .*99/],
  ["data_post", (event) => event.replaceMessage(event.newMessagePath()), /^file_refused/],
];
for (const [hook, answer, expected] of INVALID) {
  test(`an invalid verdict names rule and value: ${expected}`, async (t) => {
    const made = worker(hook, { plugin: "greet" }, (event) => answer(event) || undefined);
    const session = new TestSession(made);
    t.after(() => session.close());
    await session.mail("bob@example.net");
    const asking = hook === "rcpt" ? session.rcpt("jo@example.org") : session.rcpt("jo@example.org").then(() => session.message(MESSAGE));
    await assert.rejects(asking, (error) => error instanceof TestFailure && error.code === "invalid_verdict" && expected.test(error.message) || assert.fail(`${error}`));
  });
}

test("what a handler throws is the cause of the failure", async (t) => {
  const session = new TestSession(worker("connect", function broken() { throw new RangeError("out of it"); }));
  t.after(() => session.close());
  await assert.rejects(session.connect(), (error) => error.code === "exception" && error.plugin === "broken" && error.cause instanceof RangeError);
});

test("a handler that takes too long is a deadline, and its signal is aborted", async (t) => {
  let aborted = false;
  const slow = worker("connect", (event) => new Promise(() => event.signal.addEventListener("abort", () => (aborted = true))));
  const session = new TestSession(slow, { deadlineMs: 40 });
  t.after(() => session.close());
  await assert.rejects(session.connect(), (error) => error.code === "deadline");
  assert.ok(aborted);
});

test("several handlers: changes of the one that declines go with the verdict of the other", async (t) => {
  const made = worker("rcpt", (event) => {
    event.sessionNotes.first = 1;
    event.setRelay();
    return declined({ notes: { session: { given: true } }, actions: [{ op: "reply.delay", ms: 5 }] });
  }).rcpt((event) => (event.sessionNotes.given ? denysoft("later", { notes: { transaction: { seen: 1 } } }) : ok()));
  const session = new TestSession(made);
  t.after(() => session.close());
  await session.mail("");
  assert.equal(String(await session.rcpt("jo@example.org")), "denysoft later");
  assert.deepEqual(session.notes, { session: { first: 1, given: true }, transaction: { seen: 1 } });
  assert.deepEqual([session.relay, session.delayMs, session.sender, session.recipients.length], [true, 5, "", 0]);
});

test("notes are merge patches: a key that is deleted is deleted, and __proto__ is a key", async (t) => {
  const made = worker("noop", (event) => {
    delete event.sessionNotes.old;
    event.sessionNotes.deep.b = 2;
  });
  const session = new TestSession(made);
  t.after(() => session.close());
  session.notes.session = JSON.parse('{"old":1,"deep":{"a":1},"__proto__":{"x":1}}');
  await session.noop();
  assert.equal(JSON.stringify(session.notes.session), '{"deep":{"a":1,"b":2},"__proto__":{"x":1}}');
  assert.equal({}.x, undefined);
});

test("the message as one stream, header edits included, and another in its place", async (t) => {
  let seen;
  const made = worker("data_post_headers", { needs: ["headers"] }, (event) => {
    event.setHeader(event.header("Subject").id, "[list] x");
    event.deleteHeaders("x-old");
    event.addHeader("X-Last", "Grüße", "bottom");
  }).dataPost({ needs: ["headers", "message"] }, async (event) => {
    seen = (await event.readMessage()).toString("latin1");
    const path = event.newMessagePath();
    writeFileSync(path, seen.replace("body", "other"));
    event.setHeader(event.header("From").id, "al@example.net");
    event.replaceMessage(path);
    assert.equal(readFileSync(event.messagePath, "latin1"), "From: Bob <bob@example.net>\r\nX-Old: 1\r\nSubject : x\r\n\r\nbody\r\n");
  });
  const session = await inMail(made);
  t.after(() => session.close());
  await session.message("From: Bob <bob@example.net>\r\nX-Old: 1\r\nSubject : x\r\n\r\nbody\r\n");
  assert.equal(seen, "From: Bob <bob@example.net>\r\nSubject: [list] x\r\nX-Last: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nbody\r\n");
  assert.deepEqual(session.headers.map((field) => field.name), ["From", "Subject", "X-Last"]);
  assert.equal(session.header("From"), "al@example.net");
});

test("a part that was not asked for is an error, not an empty list", async (t) => {
  const session = await inMail(worker("data_post", (event) => event.headers.length && undefined));
  t.after(() => session.close());
  await assert.rejects(session.message(MESSAGE), (error) => error.cause instanceof NotThere && /needs/.test(error.message));
});

test("auth: an answer, a challenge, and its state", async (t) => {
  const made = worker("auth", (event) => {
    if (event.step === 1) return event.challenge("prove it", "state-1");
    if (event.step === 2) return event.state === "state-1" ? ok() : deny();
    return event.argument("password") === "right" ? ok() : deny();
  });
  const session = new TestSession(made);
  t.after(() => session.close());
  assert.equal((await session.auth("jo", "wrong")).word, "deny");
  assert.equal((await session.auth("jo", { step: 1, response: "n,,n=jo" })).word, "done");
  assert.deepEqual(session.challenge, { challenge: "prove it", state: "state-1" });
  assert.equal((await session.auth("jo", { step: 2, response: "c=biws", state: session.challenge.state })).word, "ok");
  assert.deepEqual([session.user, session.relay], ["jo", true]);
});

test("octets that are no UTF-8 come and go without loss", async (t) => {
  const raw = Buffer.from([0x6d, 0xfc, 0x6c, 0xc3, 0xbc, 0xe2, 0x82, 0xf0, 0x9f, 0x98, 0x80, 0xff]);
  assert.deepEqual(octets(text(raw)), raw);
  assert.throws(() => octets("\ud800"), TypeError);
  let name;
  const session = new TestSession(worker("helo", (event) => { name = event.argument("name"); }));
  t.after(() => session.close());
  await session.helo(raw);
  assert.deepEqual(octets(name), raw);
});

test("what only tells: notify, and disconnect", async (t) => {
  const told = [];
  const made = worker("disconnect", async (event) => { await null; told.push(event.args.reason); })
    .resetTransaction((event) => { told.push(event.args.reason); });
  const session = await inMail(made);
  t.after(() => session.close());
  await session.disconnect();
  assert.deepEqual(told, ["disconnect", "quit"]);
});

test("wrong registrations are errors at once", () => {
  const made = new Worker("test");
  assert.throws(() => made.hook("rctp", () => {}), /there is no hook "rctp"/);
  assert.throws(() => made.rcpt({ needs: ["body"] }, () => {}), /there is no need "body"/);
  assert.throws(() => made.rcpt({ extensions: ["FUTURERELEASE"] }, () => {}), /queue/);
  assert.throws(() => made.rcpt({ observe: true }, () => {}).rcpt(() => {}), /observed or decided/);
  assert.throws(() => new Worker("a b"), /name/);
  assert.throws(() => deny(7), /strings/);
});
