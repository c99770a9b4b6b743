// Lines, header values, control files, and the README's commands.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { ControlFile } from "gatepost";
import { legal } from "../lib/header.js";
import { FrameDecoder, octetsOfField, parseLine, toField } from "../lib/wire.js";

const SDK = fileURLToPath(new URL("..", import.meta.url));

const BAD = [
  '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"b":[{"a":1,"a":2}]}', '{"a\\u0000":1}', '{"a":"\\ud800"}', '{"\\udc00":1}', "[]", "null", "{}x",
  '{"a":9007199254740993}', '{"a":-9007199254740993}', '{"a":1e400}', '{"a":NaN}', "\ufeff{}", '{"a":"\t"}', '{"a":1,}',
  "[".repeat(33), `{"a":${"[".repeat(32)}${"]".repeat(32)}}`, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
];
for (const line of BAD) {
  test(`no message: ${String(line).slice(0, 40)}`, () => {
    assert.throws(() => parseLine(Buffer.from(line)), (error) => error.code === "bad_frame");
  });
}
test("messages, and numbers that are no integers", () => {
  assert.deepEqual(parseLine(Buffer.from(' {"a\\\\":"\\\\","b":{"a":1},"c":[{"a":2},{"a":3}],"\\u00e9":"\\ud83d\\ude00"}\r\n')), { "a\\": "\\", b: { a: 1 }, c: [{ a: 2 }, { a: 3 }], é: "😀" });
  const line = parseLine(Buffer.from('{"id":1.0,"n":1e2,"x":[0,1.5,{"y":2.0}],"notes":{"session":{"k":2.0}}}'));
  assert.ok(![line.id, line.n, line.x[2].y].some(Number.isInteger));
  assert.deepEqual([line.x[1], line.notes.session.k], [1.5, 2]);
  parseLine(Buffer.from(`{"a":${"[".repeat(31)}${"]".repeat(31)}}`));
});
test("a frame may come in any pieces, and is never longer than allowed", () => {
  const whole = Buffer.from("a\n\nbcd\nefgh\nijkl");
  for (let size = 1; size <= whole.length; size += 1) {
    const frames = new FrameDecoder(5);
    const lines = [];
    for (let at = 0; at < whole.length; at += size) lines.push(...frames.feed(whole.subarray(at, at + size)));
    assert.deepEqual(lines.map(String), ["a", "", "bcd", "efgh"]);
    assert.equal(frames.broken, null);
    frames.feed(Buffer.from("m"));
    assert.equal(frames.broken.code, "frame_too_long");
  }
});
test("both forms of Bytes", () => {
  assert.deepEqual(toField(Buffer.from("é")), "é");
  assert.deepEqual(toField(Buffer.from([0xff, 0])), { b64: "/wA=" });
  assert.deepEqual(toField("a\0"), { b64: "YQA=" });
  for (const value of [{ b64: "YQ" }, { b64: "YR==" }, { b64: "*" }, { b64: "YQ==", x: 1 }, 7, null, []]) {
    assert.throws(() => octetsOfField(value), TypeError);
  }
});

const b = (text) => Buffer.from(text, "latin1");
const ROWS = [
  [b(" plain"), " plain"], [b(""), ""], [b(" a\r\n b\r\n\tc"), " a\r\n b\r\n\tc"], [b("\r\n\t\r\n\tvalue"), "\t\r\n\tvalue"],
  [b(" [tag]\r\n \r\n\tvalue"), " [tag] \r\n\tvalue"], [b(" a\0b\rc\nd\r\n\0 e\r\n"), " abcd e"],
  [Buffer.from(" Grüße"), " =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="], [Buffer.from(" an grüne Bäume hier"), " an =?UTF-8?Q?gr=C3=BCne_B=C3=A4ume?= hier"],
  [Buffer.from(" ä\r\n\tö x"), " =?UTF-8?Q?=C3=A4=09=C3=B6?= x"], [b(" caf\xe9"), " =?unknown-8bit?Q?caf=E9?="],
  [Buffer.from(` ${"ß".repeat(12)}`), ` =?UTF-8?Q?${"=C3=9F".repeat(10)}?=\r\n =?UTF-8?Q?${"=C3=9F".repeat(2)}?=`],
  [b(` ${"x".repeat(990)}`), ` ${"x".repeat(990)}`], [b(` ${"x".repeat(1200)}`), ` ${"x".repeat(992)}\r\n ${"x".repeat(208)}`],
  [b(" word".repeat(200)), [" word".repeat(14), ...Array(12).fill(" word".repeat(15)), " word".repeat(6)].join("\r\n")],
];
for (const [value, expected] of ROWS) {
  test(`a header value: ${JSON.stringify(expected.slice(0, 40))}`, () => assert.equal(legal(value, 4, false).toString("latin1"), expected));
}
test("8-bit octets stay with SMTPUTF8", () => assert.equal(legal(Buffer.from(" Grüße"), 4, true).toString(), " Grüße"));

test("a control file is read live, and keeps its last good content", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "gp-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name, content) => writeFileSync(join(folder, name), content);
  const errors = [];
  const file = new ControlFile("rcpthosts", { folder, onError: (error) => errors.push(error.message) });
  assert.deepEqual([file.isPresent, file.lines, file.first], [false, [], null]);
  write("rcpthosts", "\ufeff# comment\n\n  a.example  # data\r\n$include more\nB.example x\n");
  assert.deepEqual(file.lines, []); // `more` is missing: the last good content
  file.lines;
  assert.equal(errors.length, 1);
  assert.match(errors[0], /rcpthosts:4: \$include more: no such file/);
  mkdirSync(join(folder, "more"));
  write("more/2", "two\n");
  write("more/1", "one\n");
  assert.deepEqual(file.lines, ["a.example  # data", "one", "two", "B.example x"]);
  assert.deepEqual([file.has("b.EXAMPLE"), file.has("x"), file.first], [true, false, "a.example  # data"]);
  write("more/1", "changed one\n");
  assert.deepEqual(file.words, ["a.example", "changed", "two", "B.example"]);
  write("rcpthosts", "$include rcpthosts\n");
  assert.deepEqual(file.words.length, 4);
  assert.match(errors[1], /includes itself/);
  rmSync(join(folder, "rcpthosts"));
  assert.deepEqual([file.isPresent, file.lines], [false, []]);
  const number = new ControlFile("me", { folder, parse: (lines) => lines.map(Number).map((value) => (Number.isNaN(value) ? assert.fail("no number") : value)), onError: () => errors.push("parse") });
  write("me", "7\n");
  assert.deepEqual(number.value, [7]);
  write("me", "seven\n");
  assert.deepEqual([number.value, errors.at(-1)], [[7], "parse"]);
  assert.throws(() => new ControlFile("../x", { folder }), /\.\./);
});

test("README.md: its commands end with a plugin that refuses, and a test that passes", (t) => {
  const readme = readFileSync(join(SDK, "README.md"), "utf8");
  const block = (file) => new RegExp(`^\`\`\`js file=${file}\\n(.*?)^\`\`\`$`, "ms").exec(readme)?.[1] ?? assert.fail(file);
  assert.equal(block("examples/worker.js"), readFileSync(join(SDK, "examples/worker.js"), "utf8"));
  const folder = mkdtempSync(join(tmpdir(), "gp-"));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(SDK, join(folder, "sdk/javascript"), { recursive: true });
  const commands = /^```sh install\n(.*?)^```$/ms.exec(readme)[1];
  mkdirSync(join(folder, "mine"));
  const inFolder = (command) => execFileSync("bash", ["-euc", command], { cwd: join(folder, "mine"), encoding: "utf8", stdio: "pipe", env: { ...process.env, npm_config_offline: "true", npm_config_cache: join(folder, "cache"), NODE_TEST_CONTEXT: undefined } });
  // Debian's npm conflicts with the nodejs package of others, which brings its own: where there is none, the same by hand.
  const hasNpm = inFolder("command -v npm || true") !== "";
  inFolder(hasNpm ? commands : "echo '{\"type\":\"module\"}' >package.json; mkdir node_modules; cp -r ../sdk/javascript node_modules/gatepost");
  writeFileSync(join(folder, "mine/worker.js"), block("examples/worker.js"));
  writeFileSync(join(folder, "mine/worker.test.js"), block("worker.test.js"));
  assert.match(inFolder("node --test"), /pass 1\b/);
  const broken = block("examples/worker.js").replace("eve@example.com", "adam@example.com");
  writeFileSync(join(folder, "mine/worker.js"), broken);
  assert.throws(() => inFolder("node --test"), /fail 1\b|Command failed/);
});
