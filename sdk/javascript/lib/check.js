// The rules of a verdict (protocol/verdicts.md), in the order in which a frontend looks at them.

import { ACTIONS, HOOKS, LIMITS, VERDICTS } from "./constants.js";
import { has, isInteger, isObject, octetsOfField, put } from "./wire.js";

class Broken extends Error {
  constructor(violation, message) {
    super(message);
    this.violation = violation;
  }
}

const broken = (violation, message) => {
  throw new Broken(violation, message);
};

/** A value as the message of an error shows it. */
const shown = (value) => {
  const text = JSON.stringify(value instanceof Number ? value.valueOf() : value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
};
const absent = (value) => value === undefined || value === null;
const characters = (text) => [...text].length;

/** Octets of the value as compact JSON. */
const jsonOctets = (value) => Buffer.byteLength(JSON.stringify(value));

/** RFC 7396: what the patch leaves of the target; neither is changed. */
export function merged(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else put(result, key, merged(has(result, key) ? result[key] : undefined, value));
  }
  return result;
}

/**
 * Whether the verdict may be sent as the answer to the event; both as they stand on their lines.
 *
 * Returns null, or the first rule that is broken: its id, and a message that names the field and the value.
 * What only the frontend knows is not looked at: the file of `message.replace`, the limit of recipients, octets above
 * 127 in a field that is added, and in an address that is no UTF-8.
 */
export function check(event, verdict) {
  try {
    form(verdict);
    rules(event, verdict);
    return null;
  } catch (error) {
    if (error instanceof Broken) return { violation: error.violation, message: error.message };
    throw error;
  }
}

// Form

function form(verdict) {
  if (!VERDICTS.includes(verdict.verdict)) {
    broken("unknown_verdict", `verdict: ${shown(verdict.verdict)} is none of ${VERDICTS.join(", ")}`);
  }
  if (!absent(verdict.hook) && !has(HOOKS, verdict.hook)) {
    broken("hook_not_reached", `hook: ${shown(verdict.hook)} is no hook`);
  }
  if (!absent(verdict.plugin) && !isShort(verdict.plugin)) {
    broken("plugin_malformed", `plugin: ${shown(verdict.plugin)}: not a string of at most ${LIMITS.short_text} characters`);
  }
  if (!absent(verdict.reply)) formOfReply(verdict.reply, "reply", "reply_malformed");
  if (!absent(verdict.notes)) formOfNotes(verdict.notes);
  if (!absent(verdict.actions)) formOfActions(verdict.actions);
  if (!absent(verdict.trace)) formOfTrace(verdict.trace);
}

const isShort = (value) => typeof value === "string" && characters(value) <= LIMITS.short_text;

function formOfReply(reply, where) {
  const wrong = (what) => broken("reply_malformed", `${where}${what}`);
  if (!isObject(reply)) wrong(`: ${shown(reply)}: not an object`);
  if (!absent(reply.code) && !Number.isSafeInteger(reply.code)) wrong(`.code: ${shown(reply.code)}: not an integer`);
  if (!absent(reply.status) && typeof reply.status !== "string") wrong(`.status: ${shown(reply.status)}: not a string`);
  if (absent(reply.text)) return;
  if (!Array.isArray(reply.text)) wrong(`.text: ${shown(reply.text)}: not a list`);
  reply.text.forEach((line, index) => {
    if (typeof line !== "string") wrong(`.text[${index}]: ${shown(line)}: not a string`);
  });
}

function formOfNotes(notes) {
  if (!isObject(notes)) broken("notes_malformed", `notes: ${shown(notes)}: not an object`);
  for (const scope of ["session", "transaction"]) {
    if (has(notes, scope) && notes[scope] !== undefined && !isObject(notes[scope])) {
      broken("notes_malformed", `notes.${scope}: ${shown(notes[scope])}: not an object`);
    }
    if (isObject(notes[scope])) distinct(notes[scope], `notes.${scope}`);
  }
}

/** Two keys that differ only in Unicode composition are one key in some languages. */
function distinct(value, where) {
  if (Array.isArray(value)) value.forEach((item, index) => distinct(item, `${where}[${index}]`));
  if (!isObject(value)) return;
  const keys = new Set();
  for (const [key, item] of Object.entries(value)) {
    const composed = key.normalize("NFC");
    if (keys.has(composed)) broken("notes_malformed", `${where}: ${shown(key)}: a key twice, in two Unicode compositions`);
    keys.add(composed);
    distinct(item, `${where}.${key}`);
  }
}

const isBytes = (value) => {
  try {
    octetsOfField(value);
    return true;
  } catch {
    return false;
  }
};

/** What each field of an action has to be; the fields of `op`s that mean something else come first. */
const FIELDS = {
  "session.relay.value": [(value) => typeof value === "boolean", "not a boolean"],
  "session.client_name.value": [(value) => value === null || isBytes(value), "neither Bytes nor null"],
  "message.replace.path": [(value) => typeof value === "string", "not a string"],
  "recipient.refuse.verdict": [(value) => value === "deny" || value === "denysoft", "neither deny nor denysoft"],
  id: [(value) => Number.isSafeInteger(value), "not an integer"],
  ms: [(value) => isInteger(value, 0), "not an integer of 0 or more"],
};
const BYTES = [isBytes, "neither a string nor b64"];

function formOfActions(actions) {
  if (!Array.isArray(actions)) broken("actions_malformed", `actions: ${shown(actions)}: not a list`);
  let unknown;
  actions.forEach((action, index) => {
    const where = `actions[${index}]`;
    if (!isObject(action) || typeof action.op !== "string") {
      broken("actions_malformed", `${where}: ${shown(action)}: not an object with a string op`);
    }
    if (!has(ACTIONS, action.op)) {
      unknown ??= `${where}.op: ${shown(action.op)} is no action`;
      return;
    }
    for (const field of ACTIONS[action.op]) {
      const [isGood, wrong] = FIELDS[`${action.op}.${field}`] ?? FIELDS[field] ?? BYTES;
      if (!isGood(action[field])) broken("actions_malformed", `${where}.${field}: ${shown(action[field])}: ${wrong}`);
    }
    if (action.op === "header.add" && !absent(action.at) && action.at !== "top" && action.at !== "bottom") {
      broken("actions_malformed", `${where}.at: ${shown(action.at)}: neither top nor bottom`);
    }
    if (action.op === "recipient.refuse" && !absent(action.reply)) formOfReply(action.reply, `${where}.reply`);
  });
  if (actions.length > LIMITS.actions) {
    broken("too_many_actions", `actions: ${actions.length} of them, at most ${LIMITS.actions}`);
  }
  if (unknown) broken("unknown_action", unknown);
}

function formOfTrace(trace) {
  if (!Array.isArray(trace)) broken("trace_malformed", "trace: not a list");
  trace.slice(0, LIMITS.trace + 1).forEach((entry, index) => {
    if (index === LIMITS.trace) broken("trace_malformed", `trace: over ${LIMITS.trace} entries`);
    const isGood = isObject(entry) && isShort(entry.plugin) && VERDICTS.includes(entry.verdict) && isInteger(entry.us, 0);
    if (!isGood) broken("trace_malformed", `trace[${index}]: ${shown(entry)}`);
  });
}

// What the parts say

function rules(event, verdict) {
  const hook = absent(verdict.hook) ? event.hook : verdict.hook;
  if (hook !== event.hook && !has(event.ahead ?? {}, hook)) {
    broken("hook_not_reached", `hook: ${shown(hook)}: the event is about ${event.hook}`);
  }
  const about = HOOKS[hook];
  if (!about.asked || !about.verdicts.includes(verdict.verdict)) {
    broken("verdict_not_allowed", `verdict: ${verdict.verdict} at ${hook}: ${(about.verdicts ?? ["nothing"]).join(", ")} may be answered there`);
  }
  const transaction = event.transaction;
  const sender = isObject(event.args?.sender) ? event.args.sender : transaction?.sender;
  const utf8 = Boolean(sender?.params?.some?.(([keyword]) => keyword === "SMTPUTF8"));
  ruleOfReply(verdict.reply, verdict.verdict, hook, utf8, "reply");
  const notes = verdict.notes ?? {};
  if (isObject(notes.transaction) && Object.keys(notes.transaction).length && !transaction) {
    broken("notes_no_transaction", `notes.transaction: ${shown(notes.transaction)}: there is no transaction at ${hook}`);
  }
  for (const scope of ["session", "transaction"]) {
    if (!isObject(notes[scope])) continue;
    const left = merged(event.notes?.[scope] ?? {}, notes[scope]);
    const octets = Math.max(jsonOctets(notes[scope]), jsonOctets(left));
    if (octets > LIMITS.notes_octets) {
      broken("notes_too_large", `notes.${scope}: ${octets} octets, at most ${LIMITS.notes_octets}`);
    }
  }
  const actions = verdict.actions ?? [];
  actions.forEach((action, index) => ruleOfAction(action, index, hook, utf8));
  if (hook === "auth") ruleOfChallenge(event, verdict.verdict, actions);
  if (actions.length) effects(event, hook, actions, utf8);
}

function ruleOfReply(reply, verdict, hook, utf8, where) {
  const about = HOOKS[hook];
  const isLine = about.ok_reply === "text" && verdict === "ok";
  const isChallenge = hook === "auth" && verdict === "done";
  const parts = absent(reply) ? [] : ["code", "status", "text"].filter((part) => !absent(reply[part]));
  const [code, status, text] = absent(reply) ? [] : [reply.code, reply.status, reply.text];
  if (!parts.length) {
    if ((verdict === "done" && !isChallenge) || isLine) broken("reply_missing", `${where}: ${verdict} at ${hook} needs ${isLine ? "text" : "code and text"}`);
    return;
  }
  if (isChallenge) broken("reply_not_allowed", `${where}: done at auth is answered with a challenge`);
  if ((verdict === "done" && (absent(code) || absent(text))) || (isLine && absent(text))) {
    broken("reply_missing", `${where}: ${verdict} at ${hook} needs ${isLine ? "text" : "code and text"}`);
  }
  const isSilent = verdict === "declined" || (verdict === "ok" && about.ok_reply === "none");
  if (isSilent || (about.ok_reply === "text" && parts.some((part) => part !== "text"))) {
    broken("reply_not_allowed", `${where}: ${shown(reply)}: the client would not get it with ${verdict} at ${hook}`);
  }
  if (!absent(code) && !isCode(code, verdict, hook)) {
    broken("reply_code", `${where}.code: ${shown(code)}: not for ${verdict} at ${hook}`);
  }
  if (!absent(status)) {
    const byVerdict = verdict.startsWith("denysoft") ? 4 : verdict.startsWith("deny") ? 5 : hook === "unrecognized_command" ? 5 : 2;
    const expected = absent(code) ? byVerdict : Math.trunc(code / 100);
    if (!/^\d\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.test(status) || status.endsWith("\n") || Number(status[0]) !== expected) {
      broken("reply_status", `${where}.status: ${shown(status)}: not an enhanced status code of class ${expected}`);
    }
  }
  if (absent(text)) return;
  if (text.length < 1 || text.length > LIMITS.reply_lines || (isLine && text.every((line) => line === ""))) {
    broken("reply_text", `${where}.text: ${text.length} lines, 1 to ${LIMITS.reply_lines} are allowed`);
  }
  text.forEach((line, index) => {
    const wrong = (what) => broken("reply_text", `${where}.text[${index}]: ${shown(line)}: ${what}`);
    if (Buffer.byteLength(line) > LIMITS.reply_line_octets) wrong(`over ${LIMITS.reply_line_octets} octets`);
    if (/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(line)) wrong("a control character");
    if (!utf8 && /[^\x00-\x7f]/.test(line)) wrong("not ASCII, and the session has no SMTPUTF8");
  });
}

function isCode(code, verdict, hook) {
  if (code < 200 || code > 599 || Math.trunc(code / 10) % 10 > 5) return false;
  const closes = code === 421 || code === 521;
  const first = Math.trunc(code / 100);
  switch (verdict) {
    case "ok":
      return HOOKS[hook].ok_codes.includes(code);
    case "deny":
      return first === 5 && (!closes || hook === "connect");
    case "denysoft":
      return first === 4 && (!closes || hook === "connect");
    case "deny_disconnect":
      return first === 5;
    case "denysoft_disconnect":
      return first === 4;
    default:
      return hook === "quit" ? code === 221 : first !== 3 && !closes && code !== 221;
  }
}

function ruleOfAction(action, index, hook, utf8) {
  const where = `actions[${index}]`;
  if (!HOOKS[hook].actions.includes(action.op)) {
    broken("action_not_allowed", `${where}.op: ${shown(action.op)}: not at ${hook}`);
  }
  if (has(action, "name")) {
    const name = octetsOfField(action.name);
    if (name.length < 1 || name.length > LIMITS.header_name_octets || !name.every((octet) => octet >= 33 && octet <= 126 && octet !== 58)) {
      broken("header_name", `${where}.name: ${shown(action.name)}: not a field name of 1 to ${LIMITS.header_name_octets} octets`);
    }
  }
  switch (action.op) {
    case "header.add":
    case "header.set": {
      const wrong = wrongInValue(octetsOfField(action.value));
      if (wrong) broken("header_value", `${where}.value: ${shown(action.value)}: ${wrong}`);
      break;
    }
    case "session.client_name":
      if (action.value !== null) {
        const name = octetsOfField(action.value);
        if (name.length < 1 || name.length > LIMITS.client_name_octets || !name.every((octet) => octet >= 33 && octet <= 126)) {
          broken("value_invalid", `${where}.value: ${shown(action.value)}: not a host name`);
        }
      }
      break;
    case "message.replace":
      if (index) broken("action_not_allowed", `${where}.op: message.replace is the first action`);
      if (["", ".", ".."].includes(action.path) || /[/\0]/.test(action.path) || Buffer.byteLength(action.path) > LIMITS.path_octets) {
        broken("path_invalid", `${where}.path: ${shown(action.path)}: not a bare file name`);
      }
      break;
    case "recipient.refuse":
      ruleOfReply(action.reply, action.verdict, hook, utf8, `${where}.reply`);
      break;
    case "auth.challenge": {
      for (const [field, most] of [["challenge", LIMITS.challenge_octets], ["state", LIMITS.state_octets]]) {
        const octets = octetsOfField(action[field]).length;
        if (octets > most) broken("challenge_too_large", `${where}.${field}: ${octets} octets, at most ${most}`);
      }
      break;
    }
  }
}

/** What of a header value may not stand in a message, whatever the session; null if nothing. */
function wrongInValue(value) {
  if (value.length > LIMITS.header_value_octets) return `over ${LIMITS.header_value_octets} octets`;
  const text = value.toString("latin1");
  if (text.includes("\0")) return "a NUL";
  const lines = text.split(/\r\n(?=[ \t])/);
  if (lines.some((line) => line.includes("\r"))) return "a bare CR";
  if (lines.some((line) => line.includes("\n"))) return "a bare LF";
  if (lines.slice(1).some((line) => !/[^ \t]/.test(line))) return "a line of white space alone";
  return null;
}

function ruleOfChallenge(event, verdict, actions) {
  const count = actions.filter((action) => action.op === "auth.challenge").length;
  if (verdict !== "done") {
    if (count) broken("challenge_not_allowed", `actions: auth.challenge with ${verdict}`);
    return;
  }
  if (count === 0) broken("challenge_missing", "actions: done at auth without auth.challenge");
  if (count > 1) broken("challenge_not_allowed", "actions: auth.challenge more than once");
  const step = event.args?.step;
  if (!isInteger(step, 1)) broken("challenge_not_allowed", `actions: the mechanism ${shown(event.args?.mechanism)} has one step`);
  if (step >= LIMITS.login_steps) broken("challenge_not_allowed", `actions: no step is left after ${step}`);
}

const ATEXT = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-\\u0080-\\u{10ffff}]";
const LOCAL = new RegExp(`^(?:${ATEXT}+(?:\\.${ATEXT}+)*|"(?:[ !#-\\[\\]-~\\u0080-\\u{10ffff}]|\\\\[ -~])*")$`, "u");
const LABEL = "[A-Za-z0-9_\\u0080-\\u{10ffff}](?:[A-Za-z0-9_\\-\\u0080-\\u{10ffff}]*[A-Za-z0-9_\\u0080-\\u{10ffff}])?";
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[!-Z^-~]+\\])$`, "u");

/** What is wrong with an address as it would stand between `<` and `>`; null if nothing. The frontend's parser is the judge. */
function wrongInAddress(value, utf8, mayBeEmpty) {
  const octets = octetsOfField(value);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(octets);
  } catch {
    return null; // not UTF-8: the frontend's parser knows
  }
  if (text === "") return mayBeEmpty ? null : "empty";
  if (!utf8 && /[^\x00-\x7f]/.test(text)) return "not ASCII, and the session has no SMTPUTF8";
  if (!mayBeEmpty && text.toLowerCase() === "postmaster") return null;
  if (octets.length + 2 > 256) return "longer than a path of SMTP";
  const at = text.lastIndexOf("@");
  if (at < 1 || !LOCAL.test(text.slice(0, at)) || !DOMAIN.test(text.slice(at + 1))) return "not an address";
  const domain = text.slice(at + 1);
  if (Buffer.byteLength(domain) > 255) return "a domain over 255 octets";
  if (domain[0] !== "[" && domain.split(".").some((label) => label.length > 63 && !/[^\x00-\x7f]/.test(label))) {
    return "a label over 63 octets";
  }
  return null;
}

/** The list as a whole, on a copy of what the event shows: ids, addresses, and what is left. */
function effects(event, hook, actions, utf8) {
  const { headers, recipients } = event.transaction ?? {};
  const fields = Array.isArray(headers) ? new Map(headers.map((field) => [field.id, field])) : null;
  const known = Array.isArray(recipients) ? new Set(recipients.map((recipient) => recipient.id)) : null;
  const candidate = hook === "rcpt" ? event.args?.recipient?.id : undefined;
  let added = 0;
  let refused = false;
  let removed = false;
  const replaced = actions[0].op === "message.replace";
  const values = new Set(fields ? [...fields.values()].map((field) => octetsOfField(field.value).toString("latin1")) : []);
  actions.forEach((action, index) => {
    const where = `actions[${index}]`;
    const wrong = (violation, field, what) => broken(violation, `${where}.${field}: ${shown(action[field])}: ${what}`);
    const isGone = (ids) => action.id < 1 || (ids !== null && !ids.has(action.id));
    switch (action.op) {
      case "header.add": {
        // Octets above 127 are the frontend's to judge: it knows all fields that the message had.
        const problem = wrongOnLine(octetsOfField(action.name).length, octetsOfField(action.value), true);
        if (problem && !values.has(spaced(octetsOfField(action.value)))) wrong("header_value", "value", problem);
        break;
      }
      case "header.set":
      case "header.delete": {
        if (action.id < 1 || (!replaced && isGone(fields))) wrong("unknown_header", "id", "no field has it");
        const field = replaced ? undefined : fields?.get(action.id);
        if (action.op === "header.delete") {
          if (!replaced) fields?.delete(action.id);
        } else if (field) {
          const had8Bit = octetsOfField(field.value).some((octet) => octet > 127);
          const problem = wrongOnLine(octetsOfField(field.name).length, octetsOfField(action.value), utf8 || had8Bit);
          if (problem) wrong("header_value", "value", problem);
        }
        break;
      }
      case "header.delete_all": {
        const name = octetsOfField(action.name).toString("latin1").toLowerCase();
        for (const [id, field] of fields ?? []) {
          if (octetsOfField(field.name).toString("latin1").toLowerCase() === name) fields.delete(id);
        }
        break;
      }
      case "recipient.remove":
      case "recipient.refuse":
        if (isGone(known) || (action.op === "recipient.remove" && action.id === candidate)) wrong("unknown_recipient", "id", "no recipient has it");
        known?.delete(action.id);
        if (action.op === "recipient.refuse") refused = true;
        else removed = true;
        break;
      case "recipient.add":
      case "recipient.replace":
      case "sender.replace": {
        const problem = wrongInAddress(action.address, utf8, action.op === "sender.replace");
        if (problem) wrong("address_invalid", "address", problem);
        if (action.op === "recipient.add") added += 1;
        if (action.op === "recipient.replace" && action.id !== candidate && isGone(known)) wrong("unknown_recipient", "id", "no recipient has it");
        break;
      }
    }
  });
  if (removed && known && known.size === 0 && !added && !refused && hook !== "rcpt") {
    broken("no_recipients", "actions: no recipient would be left");
  }
}

/** A value that begins without white space gets a space in front. */
function spaced(value) {
  const text = value.toString("latin1");
  return text === "" || /^[ \t\r]/.test(text) ? text : ` ${text}`;
}

function wrongOnLine(nameOctets, value, allows8Bit) {
  const lines = spaced(value).split("\r\n");
  if (lines.some((line, index) => line.length + (index ? 0 : nameOctets + 1) > LIMITS.header_line_octets)) {
    return `a line over ${LIMITS.header_line_octets} octets`;
  }
  if (!allows8Bit && value.some((octet) => octet > 127)) return "octets above 127, and the message has no SMTPUTF8";
  return null;
}
