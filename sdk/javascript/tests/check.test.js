// The rules of a verdict against the golden transcripts: each invalid verdict by its violation, each valid one by none.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { check } from "gatepost";
import { generate } from "../generate.js";
import { octetsOfField, parseLine } from "../lib/wire.js";

const GOLDEN = new URL("../../../protocol/golden/", import.meta.url);

function lineOf(text) {
  const step = parseLine(Buffer.from(text));
  if (step.line || step.raw === undefined) return step;
  const raw = octetsOfField(step.raw);
  const tail = Buffer.from(step.tail ?? "");
  const fill = step.fill === undefined ? Buffer.alloc(0) : Buffer.alloc(step.total - raw.length - tail.length, step.fill);
  return { ...step, line: parseLine(Buffer.concat([raw, fill, tail]).subarray(0, -1)) };
}

function vectors(name) {
  const found = [];
  const events = new Map();
  const notes = new Map();
  for (const text of readFileSync(new URL(name, GOLDEN), "utf8").split("\n").slice(1, -1)) {
    const step = lineOf(text);
    if (step.line?.type === "event") events.set(step.line.id, step.line);
    if (step.line?.type === "verdict") found.push({ event: events.get(step.line.id), verdict: step.line, violation: step.violation });
  }
  return found;
}

let looked = 0;
for (const name of readdirSync(GOLDEN).filter((each) => /^(invalid|verdict)-.*\.ndjson$/.test(each))) {
  test(name, () => {
    for (const { event, verdict, violation } of vectors(name)) {
      looked += 1;
      const found = check(event, verdict);
      const about = `${JSON.stringify(verdict).slice(0, 300)}: ${JSON.stringify(found)}`;
      assert.equal(found?.violation, violation, about);
      if (found) assert.ok(found.message.length > 5 && found.message.length < 400, about);
    }
  });
}
test("many verdicts were looked at", () => assert.ok(looked > 200, String(looked)));

test("the constants are those of protocol/", () => {
  assert.equal(readFileSync(new URL("../lib/constants.js", import.meta.url), "utf8"), generate());
});
