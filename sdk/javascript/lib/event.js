// What a handler is asked (protocol/events.md). Text of SMTP is strings without loss: see `octets`.

import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { isDeepStrictEqual } from "node:util";

import { legal } from "./header.js";
import { Verdict } from "./verdict.js";
import { fromOctets, has, isObject, octetsOfField, put, textOfField, toField, toOctets } from "./wire.js";

const optionalText = (value) => (value === null || value === undefined ? null : textOfField(value));

/** A part of the event that was not asked for by `needs`, was left out as too large, or does not belong to the hook. */
export class NotThere extends Error {
  constructor(message) {
    super(message);
    this.name = "NotThere";
  }
}

/** A reverse-path or forward-path. */
export class Address {
  constructor(raw) {
    /** As between `<` and `>`; empty for the null reverse-path. */
    this.address = textOfField(raw.address);
    /** The local part without its quoting. */
    this.local = textOfField(raw.local);
    /** null for `<>` and `<postmaster>`. */
    this.domain = optionalText(raw.domain);
    /** The ESMTP parameters in order, `[KEYWORD, value]`; the value is null without `=`. */
    this.params = raw.params.map(([keyword, value]) => [keyword, optionalText(value)]);
  }

  toString() {
    return this.address;
  }
}

/** A forward-path with the id that stays its own within the transaction. */
export class Recipient extends Address {
  constructor(raw) {
    super(raw);
    this.id = raw.id;
  }
}

/** One header field: leading space and folding are kept. */
export class Header {
  constructor(raw) {
    this.id = raw.id;
    this.name = textOfField(raw.name);
    /** White space between name and colon: obsolete (RFC 5322 §4.5), and mostly empty. */
    this.space = textOfField(raw.space ?? "");
    this.value = textOfField(raw.value);
  }
}

/** The mail transaction as the frontend has it now. */
export class Transaction {
  constructor(raw, missing) {
    this.raw = raw;
    this.missing = missing;
    this.id = raw.id;
    this.recipientCount = raw.recipient_count;
    /** Whether the client hears a reply for each recipient when the message has come (LMTP, PRDR). */
    this.repliesEach = raw.replies_each ?? false;
    /** When the message may be released, in Unix milliseconds (RFC 4865); null: at once. */
    this.holdUntilMs = raw.hold_until_ms ?? null;
  }

  /** The reverse-path; null at `mail`, where nothing is granted yet. */
  get sender() {
    return this.raw.sender === null ? null : new Address(this.raw.sender);
  }

  /** The recipients granted so far. Throws NotThere if not needed, or elided. */
  get recipients() {
    return this.part("recipients").map((raw) => new Recipient(raw));
  }

  /** The header fields as they are now. Throws NotThere if not needed, or elided. */
  get headers() {
    return this.part("headers").map((raw) => new Header(raw));
  }

  /** The spool file: path, size, bodyOffset. Throws NotThere if not needed, or not there yet. */
  get message() {
    const { path, size, body_offset: bodyOffset } = this.part("message");
    return { path, size, bodyOffset };
  }

  part(name) {
    if (!has(this.raw, name)) throw new NotThere(this.missing(name));
    return this.raw[name];
  }
}

/** The SMTP session as the frontend has it now. */
export class Session {
  constructor(raw) {
    this.raw = raw;
    this.id = raw.id;
    this.listener = raw.listener;
    this.startedMs = raw.started_ms;
    this.clientIp = raw.client.ip;
    this.clientPort = raw.client.port;
    /** The client's host name; null until a worker sets it. */
    this.clientName = optionalText(raw.client.name);
    /** `HELO`, `EHLO`, or `LHLO` (LMTP); null before the first. */
    this.helloVerb = raw.hello?.verb ?? null;
    /** What the client calls itself; null before HELO or EHLO. */
    this.helloName = optionalText(raw.hello?.name);
    /** The identity that AUTH proved; null without AUTH. */
    this.user = optionalText(raw.auth?.user);
    /** `version`, `cipher`, `sni`, perhaps `client_certificate`; null without TLS. */
    this.tls = raw.tls ?? null;
    this.relay = raw.relay;
    this.earlyTalker = raw.early_talker;
    this.counters = raw.counters;
    /** How many AUTHs of this session policy refused. */
    this.authFailed = raw.counters?.auth_failed ?? 0;
    /** Where the message came from, as a trusted client said by XFORWARD; empty if none did. */
    this.forwarded = Object.fromEntries(
      Object.entries(raw.xforward ?? {}).map(([name, value]) => [name, optionalText(value)]),
    );
  }
}

/** The merge patch (RFC 7396) that makes `after` out of `before`. */
function patchOf(before, after) {
  const base = isObject(before) ? before : {};
  const patch = {};
  for (const key of Object.keys(base)) if (!has(after, key)) put(patch, key, null);
  for (const [key, value] of Object.entries(after)) {
    const old = has(base, key) ? base[key] : undefined;
    if (value === undefined || value === null) {
      if (old !== undefined && old !== null) put(patch, key, null);
    } else if (!isDeepStrictEqual(old, value)) {
      put(patch, key, isObject(value) ? patchOf(old, value) : value);
    }
  }
  return patch;
}

/** RFC 7396, in place. */
function merge(target, patch) {
  if (!isObject(patch)) throw new TypeError("a notes patch is an object");
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      delete target[key];
    } else if (isObject(value)) {
      if (!has(target, key) || !isObject(target[key])) put(target, key, {});
      merge(target[key], value);
    } else {
      put(target, key, value);
    }
  }
}

/** A question to a handler, or, with `id` null, a notification. */
export class Event {
  #send;
  #began = performance.now();
  #abort = new AbortController();
  #notes = {};
  #extendedMs = 0;

  constructor(raw, { send = () => {}, outFolder = "" } = {}) {
    this.raw = raw;
    this.#send = send;
    this.id = raw.id ?? null;
    this.hook = raw.hook;
    /** Stable over retries: the idempotency key. Empty for notifications. */
    this.key = raw.key ?? "";
    this.attempt = raw.attempt ?? 1;
    this.args = raw.args;
    /** The pool's folder for files that `replaceMessage` names; empty before the welcome. */
    this.outFolder = outFolder;
    /** Why the event was cancelled; null while the session waits for the answer. */
    this.cancelReason = null;
    /** What handlers have asked to be changed so far; the methods below add to it. */
    this.actions = [];
    /** Each plugin's answer so far, in this worker. */
    this.trace = [];
    /** Whether a handler has seen it. */
    this.started = false;
  }

  // What is asked

  /** The session. Throws NotThere at `status`. */
  get session() {
    if (!this.raw.session) throw new NotThere(`there is no session at ${this.hook}`);
    return new Session(this.raw.session);
  }

  /** The mail transaction; null if there is none. */
  get transaction() {
    const { transaction } = this.raw;
    return transaction ? new Transaction(transaction, (part) => this.#missing(part)) : null;
  }

  #missing(part) {
    if (this.elided.includes(part)) return `${part} did not fit into the event`;
    return `no ${part} at ${this.hook}: it has to be in needs, or comes at a later hook`;
  }

  #mail() {
    const { transaction } = this;
    if (!transaction) throw new NotThere(`there is no transaction at ${this.hook}`);
    return transaction;
  }

  /** `args` of what was asked: at `deny` and `ok` those of the hook that ended. */
  get asked() {
    return this.hook === "deny" || this.hook === "ok" ? (this.args.args ?? {}) : this.args;
  }

  /** An argument of type Bytes, such as `name` or `argument`, as text; null if there is none. */
  argument(name) {
    return has(this.asked, name) ? optionalText(this.asked[name]) : null;
  }

  /** At `mail` the reverse-path asked for, later that of the transaction. */
  get sender() {
    return isObject(this.asked.sender) ? new Address(this.asked.sender) : this.#mail().sender;
  }

  /** At `rcpt`, and at `deny` and `ok` after it: the forward-path asked for. */
  get recipient() {
    if (!isObject(this.asked.recipient)) throw new NotThere(`there is no recipient at ${this.hook}`);
    return new Recipient(this.asked.recipient);
  }

  /** The recipients granted so far (needs `recipients`). */
  get recipients() {
    return this.#mail().recipients;
  }

  /** The header fields as they are now (needs `headers`). */
  get headers() {
    return this.#mail().headers;
  }

  /** The first field of this name, compared without case (needs `headers`); null if there is none. */
  header(name) {
    return this.headers.find((field) => field.name.toLowerCase() === name.toLowerCase()) ?? null;
  }

  /** The parts that were left out to fit the line: `headers`, or `headers` and `recipients`. */
  get elided() {
    return [...(this.raw.elided ?? [])];
  }

  /** At `auth`: how many logins failed lately, from the client's `address` and of the `user`. */
  get recentFailures() {
    return this.asked.failed ?? { address: 0, user: 0 };
  }

  /** At `auth`: which message of a login of several steps this is; 0 with other mechanisms. */
  get step() {
    return this.asked.step ?? 0;
  }

  /** At `auth`: what a worker of this pool gave to `challenge` at the step before; empty at the first. */
  get state() {
    return textOfField(this.asked.state ?? "");
  }

  /** The spool file, as it came from the client (needs `message`). */
  get messagePath() {
    return this.#mail().message.path;
  }

  /**
   * The message as it is now, edits of earlier pools included, as one Readable (needs `headers` and `message`).
   * Throws NotThere if the header did not fit into the event: there is no part of a message.
   */
  openMessage() {
    const mail = this.#mail();
    const { path, bodyOffset } = mail.message;
    const fields = mail.part("headers");
    const header = Buffer.concat(
      fields.flatMap((field) => [
        octetsOfField(field.name), octetsOfField(field.space ?? ""), Buffer.from(":"), octetsOfField(field.value), Buffer.from("\r\n"),
      ]),
    );
    return Readable.from(
      (async function* () {
        if (header.length) yield header;
        yield* createReadStream(path, { start: bodyOffset });
      })(),
      { objectMode: false },
    );
  }

  /** The body alone as one Readable, with the empty line before it (needs `message`). */
  openBody() {
    const { path, bodyOffset } = this.#mail().message;
    return createReadStream(path, { start: bodyOffset });
  }

  /** The whole message as a Buffer. */
  async readMessage() {
    const pieces = [];
    for await (const piece of this.openMessage()) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  // Time

  /** Milliseconds until the frontend's deadline; Infinity for notifications. */
  get remainingMs() {
    if (this.raw.deadline_ms === undefined) return Infinity;
    return this.raw.deadline_ms + this.#extendedMs - (performance.now() - this.#began);
  }

  /** How long handlers may take, from now: a little less than the frontend waits. */
  get handlerMs() {
    const allowed = this.raw.deadline_ms + this.#extendedMs;
    return allowed - Math.min(allowed / 20, 250) - (performance.now() - this.#began);
  }

  /** Whether no session waits for the answer any more. */
  get cancelled() {
    return this.#abort.signal.aborted;
  }

  /** Is aborted when the event is cancelled or its time is over: hand it to `fetch` and to timers. */
  get signal() {
    return this.#abort.signal;
  }

  /** Asks for more time, 1 ms or more. */
  progress(extendMs) {
    if (!Number.isSafeInteger(extendMs) || extendMs < 1) throw new RangeError("progress: an integer of 1 or more");
    if (this.id === null) return;
    this.#extendedMs += extendMs;
    this.#send({ type: "progress", id: this.id, extend_ms: extendMs });
  }

  /** @internal */
  cancel(reason) {
    this.cancelReason ??= reason;
    this.#abort.abort();
  }

  // Notes

  #scope(scope) {
    if (!this.#notes[scope]) {
      if (scope === "transaction" && !this.raw.transaction) throw new NotThere("there is no transaction");
      this.#notes[scope] = structuredClone(this.raw.notes?.[scope] ?? {});
    }
    return this.#notes[scope];
  }

  /** What plugins noted about the session. Change it freely: the changes go with the verdict. */
  get sessionNotes() {
    return this.#scope("session");
  }

  /** The same for the transaction. Throws NotThere if there is none. */
  get transactionNotes() {
    return this.#scope("transaction");
  }

  /** @internal What a plugin that declines asked for goes with the verdict of a later one. */
  keep(verdict) {
    this.take(verdict.actions);
    for (const [scope, patch] of Object.entries(verdict.notes)) merge(this.#scope(scope), patch);
  }

  /** @internal */
  notesPatch(verdict) {
    const patches = {};
    for (const [scope, after] of Object.entries(this.#notes)) {
      const patch = patchOf(this.raw.notes?.[scope], after);
      if (Object.keys(patch).length) patches[scope] = patch;
    }
    if (!isObject(verdict.notes)) return verdict.notes;
    for (const [scope, patch] of Object.entries(verdict.notes)) {
      patches[scope] = isObject(patch) && patches[scope] ? { ...patches[scope], ...patch } : patch;
    }
    return patches;
  }

  // Changes (protocol/verdicts.md, Actions)

  #legal(value, name) {
    const sender = this.raw.transaction?.sender;
    const allows8Bit = Boolean(sender?.params.some(([keyword]) => keyword === "SMTPUTF8"));
    return toField(legal(toOctets(value), toOctets(name).length, allows8Bit));
  }

  #nameOf(id) {
    return this.raw.transaction?.headers?.find((field) => field.id === id)?.name;
  }

  get #replaces() {
    return this.actions[0]?.op === "message.replace";
  }

  /** The same for the file of `message.replace`, where the field has an id that this worker does not know yet. */
  #byName(action) {
    if (action?.op !== "header.set" && action?.op !== "header.delete") return [action];
    const name = this.#nameOf(action.id);
    if (name === undefined) return [action];
    const remove = { op: "header.delete_all", name };
    return action.op === "header.set" ? [remove, { op: "header.add", name, value: action.value, at: "top" }] : [remove];
  }

  #editHeader(action) {
    this.actions.push(...(this.#replaces ? this.#byName(action) : [action]));
  }

  /** @internal Adds what a handler answered to what it asked for by the methods here. */
  take(actions) {
    for (const action of actions ?? []) {
      if (action?.op === "message.replace" && typeof action.path === "string" && action.path === basename(action.path)) {
        this.replaceMessage(action.path);
      } else if (action?.op === "header.set" || action?.op === "header.delete") {
        this.#editHeader(action);
      } else {
        this.actions.push(action);
      }
    }
  }

  /**
   * Adds a header field, at the `top` or at the `bottom`.
   *
   * A line over 998 octets is folded, octets above 127 are encoded (RFC 2047) where the message has no SMTPUTF8, and
   * lines of white space alone are unfolded, here and in `setHeader`.
   */
  addHeader(name, value, at = "top") {
    this.actions.push({ op: "header.add", name: toField(name), value: this.#legal(value, name), at });
  }

  /** Gives the field with this id another value. */
  setHeader(id, value) {
    this.#editHeader({ op: "header.set", id, value: this.#legal(value, textOfField(this.#nameOf(id) ?? "")) });
  }

  /** Deletes the field with this id. */
  deleteHeader(id) {
    this.#editHeader({ op: "header.delete", id });
  }

  /** Deletes all fields of this name. */
  deleteHeaders(name) {
    this.actions.push({ op: "header.delete_all", name: toField(name) });
  }

  /** Adds a recipient. */
  addRecipient(address) {
    this.actions.push({ op: "recipient.add", address: toField(address) });
  }

  /** Removes the recipient with this id. */
  removeRecipient(id) {
    this.actions.push({ op: "recipient.remove", id });
  }

  /** Gives the recipient with this id another address. */
  replaceRecipient(id, address) {
    this.actions.push({ op: "recipient.replace", id, address: toField(address) });
  }

  /**
   * Refuses one recipient of a message that has come, with `deny` or `denysoft`; at `data_post` and `queue`.
   * Where the client hears one reply for all (`transaction.repliesEach` is false), the whole message is refused.
   */
  refuseRecipient(id, verdict) {
    if (verdict.word !== "deny" && verdict.word !== "denysoft") {
      throw new TypeError(`a recipient is refused with deny or denysoft, not ${verdict.word}`);
    }
    const { reply } = verdict;
    this.actions.push({ op: "recipient.refuse", id, verdict: verdict.word, ...(reply ? { reply } : {}) });
  }

  /** Gives the transaction another reverse-path; empty for `<>`. */
  replaceSender(address) {
    this.actions.push({ op: "sender.replace", address: toField(address) });
  }

  /** A path in `outFolder` for a file of this event alone; nothing is there yet. */
  newMessagePath() {
    return join(this.outFolder, `${process.pid}-${randomUUID()}`);
  }

  /**
   * Takes this file of `outFolder` as the message. Write it there under a name that no other event uses:
   * `newMessagePath()`. Changes of the header, made before or after, are made to the header of the file; there a field
   * that was known by its id is known by its name.
   */
  replaceMessage(path) {
    const others = this.actions.filter((action) => action?.op !== "message.replace");
    const edits = others.flatMap((action) => this.#byName(action));
    this.actions.splice(0, Infinity, { op: "message.replace", path: basename(path) }, ...edits);
  }

  /** Lets the client relay, or not. */
  setRelay(value = true) {
    this.actions.push({ op: "session.relay", value });
  }

  /** Names the client's host; null: it has no name. */
  setClientName(name) {
    this.actions.push({ op: "session.client_name", value: name === null ? null : toField(name) });
  }

  /** Holds the reply back: a tarpit. */
  delayReply(ms) {
    this.actions.push({ op: "reply.delay", ms });
  }

  /**
   * At `auth`, with a mechanism of several steps: the client is sent `challenge`, 8,192 octets at most. Its answer comes
   * as another event, to any worker of this pool, with `state`, 4,096 octets at most. Return what this returns.
   */
  challenge(challenge, state = "") {
    this.actions.push({ op: "auth.challenge", challenge: toField(challenge), state: toField(state) });
    return new Verdict("done");
  }
}

/** The octets of a text of SMTP. An octet that was no UTF-8 is one lone surrogate, U+DC80 to U+DCFF, in the string. */
export const octets = toOctets;
/** The text of octets, without loss: `octets` gives them back. */
export const text = fromOctets;
