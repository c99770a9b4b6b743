// A worker on real sockets: several frontends, reconnecting, draining, violations, and a lying frontend.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ok, Worker } from "gatepost";

const WELCOME = { type: "welcome", protocol: 1, frontend: { id: "mx1" }, connection: "w1", max_frame: 65_536, concurrency: 4, spool: "/nowhere" };
const EVENT = { type: "event", key: "k", hook: "noop", attempt: 1, deadline_ms: 20_000, session: {}, args: {}, notes: { session: {} } };

/** A frontend at a socket of its own that hands each line to `script(message, say, socket)`. */
function frontend(path, script) {
  const seen = [];
  const waiters = [];
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    let rest = "";
    const say = (message) => socket.write(JSON.stringify(message) + "\n");
    socket.on("error", () => {});
    socket.on("data", (octets) => {
      const lines = (rest + octets).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        seen.push(message);
        script(message, say, socket);
        for (const waiter of [...waiters]) waiter();
      }
    });
  });
  const until = (find) => new Promise((resolve) => {
    const look = () => {
      const found = find(seen);
      if (found) resolve(found);
    };
    waiters.push(look);
    look();
  });
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return new Promise((resolve) => server.listen(path, () => resolve({ seen, until, close })));
}

function folder(t) {
  const base = mkdtempSync(join(tmpdir(), "gp-"));
  mkdirSync(join(base, "pools/policy"), { recursive: true });
  t.after(() => rmSync(base, { recursive: true }));
  return base;
}
const logs = () => {
  const lines = [];
  const push = (line) => lines.push(line);
  return { lines, info: push, warn: push, error: push };
};
const polite = (message, say) => {
  if (message.type === "hello") say(WELCOME);
  if (message.type === "drain") say({ type: "drain", reason: "requested" });
};

test("two frontends, the second later; a violation is logged; drain ends it", { timeout: 20_000 }, async (t) => {
  const base = folder(t);
  const logger = logs();
  const worker = new Worker("test", { runtimeDirectory: base, lookEveryMs: 20, logger }).noop(() => ok());
  const first = await frontend(join(base, "pools/policy/mx1.sock"), (message, say) => {
    polite(message, say);
    if (message.type === "hello") say({ ...EVENT, id: 1 });
  });
  const serving = worker.serve();
  const answer = await first.until((seen) => seen.find((message) => message.type === "verdict"));
  assert.deepEqual([answer.id, answer.verdict], [1, "ok"]);
  assert.equal(first.seen[0].violations, true);
  const second = await frontend(join(base, "pools/policy/mx2.sock"), (message, say) => {
    polite(message, say);
    if (message.type === "hello") {
      say({ type: "violation", id: 1, hook: "rcpt", plugin: "greylisting", violation: "reply_text", message: "reply.text[0]: é" });
      say({ type: "ping", n: 7 });
    }
  });
  assert.deepEqual(await second.until((seen) => seen.find((message) => message.type === "pong")), { type: "pong", n: 7 });
  assert.ok(logger.lines.some((line) => /invalid: greylisting at rcpt: reply_text: reply\.text\[0\]: é/.test(line)), logger.lines.join("\n"));
  worker.stop();
  await serving;
  for (const each of [first, second]) {
    assert.deepEqual(each.seen.slice(-2).map(({ type, code }) => [type, code]), [["drain", undefined], ["bye", "drained"]]);
    await each.close();
  }
});

test("a frontend that restarts, lies or is silent is dialled again", { timeout: 20_000 }, async (t) => {
  const base = folder(t);
  const worker = new Worker("test", { runtimeDirectory: base, lookEveryMs: 20, logger: logs() }).noop(() => ok());
  const path = join(base, "pools/policy/mx1.sock");
  let connections = 0;
  const liar = await frontend(path, (message, say, socket) => {
    if (message.type !== "hello") return;
    connections += 1;
    if (connections === 1) socket.write("{}\n");
    else if (connections === 2) say({ type: "reject", code: "pool_full", message: "full", retry_ms: 10 });
    else if (connections === 3) socket.destroy();
    else polite(message, say);
  });
  const serving = worker.serve();
  await liar.until((seen) => seen.filter((message) => message.type === "hello").length === 4);
  assert.equal(liar.seen.find((message) => message.type === "bye").code, "unknown_type");
  await liar.close();
  const next = await frontend(path, polite);
  await next.until((seen) => seen.length);
  worker.stop();
  await serving;
  await next.close();
});

test("a handler that fails is an error; a second answer is never sent", { timeout: 20_000 }, async (t) => {
  const base = folder(t);
  const logger = logs();
  let release;
  const worker = new Worker("test", { runtimeDirectory: base, lookEveryMs: 20, logger })
    .noop(() => new Promise((resolve) => (release = () => resolve(ok()))))
    .help(function broken() {
      throw new Error("no help");
    });
  const server = await frontend(join(base, "pools/policy/mx1.sock"), (message, say) => {
    polite(message, say);
    if (message.type === "hello") {
      say({ ...EVENT, id: 1 });
      say({ ...EVENT, id: 2, hook: "help" });
      say({ ...EVENT, id: 3 });
      say({ type: "cancel", id: 3, reason: "client_gone" }); // before its handler began
    }
    if (message.id === 2) say({ type: "cancel", id: 1, reason: "client_gone" });
  });
  const serving = worker.serve();
  await server.until((seen) => seen.filter((message) => message.type === "error").length === 3);
  release();
  worker.stop();
  await serving;
  const answers = server.seen.filter((message) => message.id).sort((a, b) => a.id - b.id);
  assert.deepEqual(answers.map(({ id, type, code, started, plugin, message }) => [id, type, code, started, plugin, message]), [
    [1, "error", "cancelled", true, undefined, "client_gone"],
    [2, "error", "exception", true, "broken", "no help"],
    [3, "error", "cancelled", false, undefined, "client_gone"],
  ]);
  assert.ok(logger.lines.some((line) => line.includes("broken: failed at help k: Error: no help")));
  await server.close();
});
