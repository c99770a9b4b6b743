#!/usr/bin/env node
// Writes lib/constants.js: what protocol/hooks.json and protocol/words.json say, as a module. With --print, to stdout.
import { readFileSync, writeFileSync } from "node:fs";

const read = (name) => JSON.parse(readFileSync(new URL(`../../protocol/${name}.json`, import.meta.url), "utf8"));

/** The text of lib/constants.js. */
export function generate() {
  const hooks = read("hooks").hooks.map((entry) => {
    if (!entry.asked) return [entry.hook, { asked: false }];
    const { asked, verdicts, ok_codes, ok_reply, actions } = entry;
    return [entry.hook, { asked, verdicts: Object.keys(verdicts), ok_codes, ok_reply, actions }];
  });
  const words = read("words");
  const lines = [
    "// Made by generate.js of protocol/hooks.json and protocol/words.json.",
    "",
    "/** Each hook, in the order of the dialogue, and what may be answered there. */",
    "export const HOOKS = {",
    ...hooks.map(([hook, said]) => `  ${hook}: ${JSON.stringify(said)},`),
    "};",
  ];
  for (const [name, key, about] of [
    ["MESSAGES", "messages", "Each message type, and the side that sends it."],
    ["VERDICTS", "verdicts", "The words of a verdict."],
    ["NEEDS", "needs", "The parts of an event that a worker gets only if it names them."],
    ["ACTIONS", "actions", "Each action, and the fields that it needs."],
    ["LIMITS", "limits", "Octets, characters, or counts."],
  ]) {
    lines.push("", `/** ${about} */`, `export const ${name} = ${JSON.stringify(words[key])};`);
  }
  return lines.join("\n") + "\n";
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  if (process.argv.includes("--print")) process.stdout.write(generate());
  else writeFileSync(new URL("lib/constants.js", import.meta.url), generate());
}
