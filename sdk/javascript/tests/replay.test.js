// Every golden transcript of a worker: whole, one octet at a time, one line at a time.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { Verdict, Worker } from "gatepost";
import { Link } from "../lib/worker.js";
import { octetsOfField, parseLine } from "../lib/wire.js";

const GOLDEN = new URL("../../../protocol/golden/", import.meta.url);
const PATIENCE_MS = 10_000;
const quiet = { info() {}, warn() {}, error() {} };

const transcript = (name) => readFileSync(new URL(name, GOLDEN), "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));

function rawOctets(step) {
  if (step.line) return Buffer.from(JSON.stringify(step.line) + "\n");
  const raw = octetsOfField(step.raw);
  if (step.fill === undefined) return raw;
  const tail = Buffer.from(step.tail);
  return Buffer.concat([raw, Buffer.alloc(step.total - raw.length - tail.length, step.fill), tail]);
}

function handler(script, isAsync) {
  const answer = () => {
    if (script.raise !== undefined) throw new Error(script.raise);
    if (script.verdict === undefined) return undefined;
    const { code, status, text = [] } = script.reply ?? {};
    return new Verdict(script.verdict, { code, status, text, notes: script.notes ?? {}, actions: script.actions ?? [] });
  };
  const plain = (event) => {
    if (script.progress !== undefined) event.progress(script.progress);
    if (script.until !== "cancel") return answer();
    return new Promise((resolve) => event.signal.addEventListener("abort", () => resolve(answer())));
  };
  return isAsync ? async (event) => (await null, plain(event)) : plain;
}

function make(header, isAsync) {
  const said = { concurrency: 4, max_frame: 65_536, ...header.hello };
  const worker = new Worker(said.worker?.name ?? "demo", {
    pool: said.pool, concurrency: said.concurrency, maxFrame: said.max_frame,
    version: said.worker?.version, instance: said.worker?.instance, logger: quiet,
  });
  for (const [hook, script] of Object.entries(header.plugins)) {
    const { needs, observe, idempotent, extensions } = script;
    worker.hook(hook, { needs, observe, idempotent, extensions }, handler(script, isAsync));
  }
  return worker;
}

class Pipe {
  octets = [];
  destroyed = false;
  writableEnded = false;
  news = () => {};
  write(octets) {
    assert.ok(!this.writableEnded, "written after the end");
    this.octets.push(octets);
    this.news();
    return true;
  }
  end() {
    this.writableEnded = true;
    this.news();
  }
  destroy() {
    this.destroyed = true;
  }
  pause() {}
  lines() {
    const whole = Buffer.concat(this.octets);
    const lines = [];
    let start = 0;
    for (let end = whole.indexOf(10); end >= 0; end = whole.indexOf(10, start)) {
      lines.push(parseLine(whole.subarray(start, end)));
      start = end + 1;
    }
    return lines;
  }
}

const isEmpty = (value) => typeof value === "object" && value !== null && Object.keys(value).length === 0;
const sets = (hooks) => Object.fromEntries(Object.entries(hooks).map(([hook, said]) => [hook, { ...said, needs: [...(said.needs ?? [])].sort() }]));

function matches(shown, said, cancelled) {
  const isAnswer = (line) => line.type === "verdict" || line.type === "error";
  if (cancelled.has(said.id) && isAnswer(said)) return shown.id === said.id && isAnswer(shown);
  for (const [key, value] of Object.entries(shown)) {
    if (key === "message") continue;
    if (shown.type === "hello" && key === "plugins") continue;
    if (shown.type === "hello" && key === "worker") {
      if (value.name !== said.worker.name) return false;
    } else if (shown.type === "hello" && key === "hooks") {
      if (!isDeepStrictEqual(sets(value), sets(said.hooks))) return false;
    } else if (!isDeepStrictEqual(said[key], value)) {
      return false;
    }
  }
  if (shown.type === "hello") return true;
  return Object.entries(said).every(([key, value]) => key in shown || ["plugin", "trace", "message"].includes(key) || isEmpty(value));
}

function compare(expected, said, cancelled) {
  const byId = (lines) => {
    const groups = new Map();
    for (const line of lines) groups.set(line.id, [...(groups.get(line.id) ?? []), line]);
    return groups;
  };
  const wanted = byId(expected);
  const got = byId(said);
  assert.deepEqual(new Set(got.keys()), new Set(wanted.keys()), JSON.stringify({ expected, said }));
  for (const [id, lines] of wanted) {
    assert.equal(got.get(id).length, lines.length, JSON.stringify({ lines, got: got.get(id) }));
    lines.forEach((line, index) => {
      assert.ok(matches(line, got.get(id)[index], cancelled), JSON.stringify({ expected: line, got: got.get(id)[index] }));
    });
  }
}

function pieces(waiting, splitting) {
  if (splitting === "line") return waiting;
  const whole = Buffer.concat(waiting);
  if (splitting === "whole") return whole.length ? [whole] : [];
  return Array.from(whole, (_, index) => whole.subarray(index, index + 1));
}

async function replay(name, splitting, isAsync) {
  const [header, ...steps] = transcript(name);
  const link = new Link(make(header, isAsync));
  const pipe = new Pipe();
  const expected = [];
  const cancelled = new Set();
  let waiting = [];
  const until = async (condition) => {
    const late = Date.now() + PATIENCE_MS;
    while (!condition()) {
      const left = late - Date.now();
      assert.ok(left > 0, `waited in vain: expected ${JSON.stringify(expected)}, got ${JSON.stringify(pipe.lines())}`);
      await Promise.race([new Promise((resolve) => (pipe.news = resolve)), wait(left, undefined, { ref: true, signal: done.signal }).catch(() => {})]);
    }
  };
  const done = new AbortController();
  const barrier = async () => {
    for (const piece of pieces(waiting, splitting)) {
      if (!pipe.writableEnded) link.received(piece);
      if (isAsync) await null;
    }
    waiting = [];
    await until(() => pipe.lines().length >= expected.length);
  };
  try {
    link.attach(pipe);
    for (const step of steps) {
      if (step.from === "worker") {
        expected.push(step.line);
        if (step.line.type === "hello") await barrier();
      } else if (step.from === "frontend") {
        waiting.push(rawOctets(step));
        if (step.line?.type === "cancel") cancelled.add(step.line.id);
      } else if (step.stop === "worker") {
        await barrier();
        link.drain();
      } else if (step.close === "worker") {
        await barrier();
        await until(() => pipe.writableEnded);
      } else if (step.close === "frontend") {
        await barrier();
        link.lost("end of file");
        pipe.writableEnded = true;
      }
    }
    await barrier();
    if (!pipe.writableEnded) {
      link.received(Buffer.from('{"type":"ping","n":424242}\n'));
      expected.push({ type: "pong", n: 424242 });
      await barrier();
    }
    assert.equal(link.core.outstanding, 0);
    compare(expected, pipe.lines(), cancelled);
  } finally {
    done.abort();
    link.lost("over");
  }
}

const cases = readdirSync(GOLDEN).filter((name) => name.endsWith(".ndjson") && transcript(name)[0].side !== "frontend");

test("there is something to replay", () => assert.ok(cases.length > 70));
for (const name of cases) {
  test(name, async () => {
    for (const splitting of ["whole", "line", "octet"]) {
      for (const isAsync of [false, true]) await replay(name, splitting, isAsync);
    }
  });
}
