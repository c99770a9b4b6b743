// Handlers without a server: a session that asks a worker as a frontend would, and keeps what it changed.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { merged } from "./check.js";
import { Header, Recipient } from "./event.js";
import { Verdict } from "./verdict.js";
import { encodeLine, fromOctets, octetsOfField, parseLine, textOfField, toField, toOctets } from "./wire.js";
import { Link } from "./worker.js";

/** A handler answered no valid verdict. `code` is that of the `error` on the wire, `cause` what the handler threw. */
export class TestFailure extends Error {
  constructor(code, message, plugin, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "TestFailure";
    this.code = code;
    this.plugin = plugin ?? null;
  }
}

/** Address parts as they stand in an event. */
function addressOf(address, parameters = []) {
  const text = typeof address === "string" ? address : fromOctets(toOctets(address));
  const at = text.lastIndexOf("@");
  const written = at < 0 ? text : text.slice(0, at);
  const local = /^".*"$/s.test(written) ? written.slice(1, -1).replace(/\\(.)/gs, "$1") : written;
  const params = parameters.map((parameter) => {
    const [keyword, ...value] = parameter.split("=");
    return [keyword.toUpperCase(), value.length ? toField(value.join("=")) : null];
  });
  return { address: toField(text), local: toField(local), domain: at < 0 ? null : toField(text.slice(at + 1)), params };
}

/** The fields of the header section, and where it ends (protocol/events.md). */
function cut(message) {
  const text = message.toString("latin1");
  const fields = [];
  let at = 0;
  while (at < text.length) {
    const found = text.indexOf("\r\n", at);
    const end = found < 0 ? text.length : found;
    const line = text.slice(at, end);
    const match = /^([!-9;-~]+)([ \t]*):(.*)$/s.exec(line);
    if (match) fields.push({ name: match[1], space: match[2], value: match[3] });
    else if (fields.length && /^[ \t]/.test(line)) fields[fields.length - 1].value += `\r\n${line}`;
    else break;
    at = Math.min(end + 2, text.length);
  }
  const isOpen = text.slice(at, at + 2) !== "\r\n" && at < text.length;
  const octets = isOpen ? Buffer.concat([message.subarray(0, at), Buffer.from("\r\n"), message.subarray(at)]) : message;
  return { fields, octets, bodyOffset: at };
}

const latin = (string) => toField(Buffer.from(string, "latin1"));

/**
 * An SMTP session without a frontend. Each method asks the worker's handlers, returns the verdict, and does to the
 * session what a frontend does with it. It throws TestFailure if a handler fails or answers an invalid verdict.
 */
export class TestSession {
  #worker;
  #link;
  #answers = new Map();
  #written = [];
  #cause;
  #id = 0;
  #folder;
  #transaction = null;
  #transactions = 0;
  #recipientId = 0;
  #headerId = 0;
  #trace = [];
  #hello = null;

  constructor(worker, { clientIp = "192.0.2.1", clientName = null, tls = null, deadlineMs = 60_000, keepLog = false } = {}) {
    this.#worker = worker;
    this.clientIp = clientIp;
    this.clientName = clientName;
    this.tls = tls;
    /** How long a handler may take. */
    this.deadlineMs = deadlineMs;
    /** Whether the session may relay. */
    this.relay = false;
    /** Whether the client spoke too early. */
    this.earlyTalker = false;
    /** Who the client proved to be; null until `auth` was answered `ok`. */
    this.user = null;
    /** Notes of both scopes, as plugins left them. Set them as if another plugin had. */
    this.notes = { session: {}, transaction: {} };
    /** What the last question was answered; null before the first. */
    this.lastVerdict = null;
    /** How long the last reply was to be delayed, in milliseconds; null: not at all. */
    this.delayMs = null;
    /** What the last login was answered with, `{challenge, state}` as text; null if no challenge. */
    this.challenge = null;
    /** Recipients that were refused when the message had come: `{recipient, verdict}`. */
    this.refusedRecipients = [];
    this.#folder = mkdtempSync(join(tmpdir(), "gatepost-"));
    mkdirSync(join(this.#folder, "out", worker.pool), { recursive: true });
    const logger = worker.logger;
    const quiet = { info() {}, warn() {}, error() {} };
    this.#link = new Link(Object.create(worker, { logger: { value: keepLog ? logger : quiet }, onWelcome: { value: null },
      ...Object.fromEntries(["missing", "atWork", "ask", "notify", "hello"].map((name) => [name, { value: worker[name].bind(worker) }])) }));
    this.#link.onFailure = (_, error) => {
      this.#cause = error;
    };
    this.#link.attach({
      write: (octets) => {
        this.#written.push(octets);
        this.#read();
        return true;
      },
      end() {},
      destroy() {},
      pause() {},
    });
    this.#say({
      type: "welcome", protocol: 1, frontend: { id: "test", version: "0", hostname: "test.example" }, connection: "w1",
      max_frame: 16_777_216, concurrency: 65_535, spool: this.#folder, limits: { notes_octets: 65_536, actions: 256, reply_lines: 20 },
    });
  }

  /** Removes the session's files. */
  close() {
    this.#link.lost("closed");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The reverse-path as text; null outside a transaction. */
  get sender() {
    return this.#transaction ? textOfField(this.#transaction.sender.address) : null;
  }

  /** The recipients so far. */
  get recipients() {
    return (this.#transaction?.recipients ?? []).map((raw) => new Recipient(raw));
  }

  /** The header fields of the message, as plugins left them. */
  get headers() {
    return (this.#transaction?.headers ?? []).map((raw) => new Header(raw));
  }

  /** The value of the first field of this name without the white space at its ends; null if there is none. */
  header(name) {
    const field = this.headers.find((each) => each.name.toLowerCase() === name.toLowerCase());
    return field ? field.value.trim() : null;
  }

  // What the client does

  /** The client connects. */
  connect() {
    return this.ask("connect");
  }

  /** The client says HELO. */
  helo(name = "client.example") {
    return this.#greet("HELO", name);
  }

  /** The client says EHLO. */
  ehlo(name = "client.example") {
    return this.#greet("EHLO", name);
  }

  #greet(verb, name) {
    this.resetTransaction();
    this.#hello = { verb, name: toField(name) };
    return this.ask(verb.toLowerCase(), { name: toField(name) });
  }

  /**
   * The client says AUTH. `proof` is a password, or `{password}`, `{challenge, response}`, or `{step, response, state}`,
   * with `mechanism` if it is another than PLAIN, CRAM-MD5 or SCRAM-SHA-256.
   */
  async auth(user, proof) {
    const { mechanism, ...rest } = typeof proof === "string" ? { password: proof } : proof;
    const usual = "password" in rest ? "PLAIN" : "challenge" in rest ? "CRAM-MD5" : "SCRAM-SHA-256";
    const args = { mechanism: mechanism ?? usual, user: toField(user) };
    for (const [name, value] of Object.entries(rest)) args[name] = typeof value === "number" ? value : toField(value);
    this.challenge = null;
    const verdict = await this.ask("auth", args);
    if (verdict.word === "ok") {
      this.user = user;
      this.relay = true;
      this.mechanism = args.mechanism;
    }
    return verdict;
  }

  /** The client says MAIL; `""` is the null reverse-path. `parameters` as the client writes them: `BODY=8BITMIME`. */
  async mail(from, parameters = []) {
    this.resetTransaction();
    this.#transactions += 1;
    this.#transaction = { sender: null, recipients: [], headers: null, message: null };
    const sender = addressOf(from, parameters);
    this.#transaction.asked = sender;
    const verdict = await this.ask("mail", { sender });
    if (isRefusal(verdict)) {
      this.resetTransaction();
    } else {
      this.#transaction.sender ??= sender;
    }
    return verdict;
  }

  /** The client says RCPT. The recipient stays in the envelope if no handler refuses: another pool may accept it. */
  async rcpt(to, parameters = []) {
    this.#need("mail");
    this.#recipientId += 1;
    const candidate = { id: this.#recipientId, ...addressOf(to, parameters) };
    const verdict = await this.ask("rcpt", { recipient: candidate }, candidate);
    if (!isRefusal(verdict)) this.#transaction.recipients.push(candidate);
    this.#settle();
    return verdict;
  }

  /** The client says DATA. */
  data() {
    this.#need("mail");
    return this.ask("data");
  }

  /**
   * The message arrives: text or octets, lines with CRLF; lines with LF alone get their CR. The hooks from
   * `data_headers_end` to `queue_pre` are asked that the worker has, until one refuses or is answered `done`.
   */
  async message(octets) {
    this.#need("mail");
    const whole = typeof octets === "string" ? toOctets(octets.replace(/\r?\n/g, "\r\n")) : toOctets(octets);
    this.#take(whole);
    let last = new Verdict("declined");
    for (const hook of ["data_headers_end", "received_line", "data_post_headers", "data_post", "queue_pre"]) {
      if (!this.#asks(hook)) continue;
      const verdict = await this.ask(hook, hook === "received_line" ? { value: " from test", queue_id: "test" } : {});
      if (verdict.word !== "declined") last = verdict;
      if (isRefusal(verdict) || verdict.word === "done") break;
    }
    this.lastVerdict = last;
    return last;
  }

  /** The message is to be stored. */
  queue() {
    this.#need("mail");
    return this.ask("queue", { queue_id: `TEST.${this.#transactions}` });
  }

  /** The client says VRFY, HELP, NOOP, or what is no command. */
  vrfy(argument = "") {
    return this.ask("vrfy", { argument: toField(argument) });
  }
  help(argument = "") {
    return this.ask("help", { argument: toField(argument) });
  }
  noop(argument = "") {
    return this.ask("noop", { argument: toField(argument) });
  }
  unrecognizedCommand(line) {
    return this.ask("unrecognized_command", { command: toField(line.split(" ")[0]), line: toField(line) });
  }

  /** The client says QUIT. */
  quit() {
    return this.ask("quit");
  }

  /** The session ends: `disconnect` is told. */
  async disconnect(reason = "quit") {
    if (this.#transaction) await this.notify("reset_transaction", { reason: "disconnect" });
    this.resetTransaction();
    await this.notify("disconnect", { reason, duration_ms: 1 });
  }

  /** The transaction ends: its notes, sender, recipients and message are gone. */
  resetTransaction() {
    this.#transaction = null;
    this.#recipientId = 0;
    this.#headerId = 0;
    this.notes.transaction = {};
  }

  /** Tells `queue_post`, `reset_transaction`, `deny`, `ok`, `disconnect` or `status`, and waits until it is handled. */
  async notify(hook, args = {}) {
    const said = this.#worker.hello().hooks[hook];
    if (!said) return;
    this.#say({ type: "notify", ...this.#picture(hook, args, said) });
    await new Promise((resolve) => setImmediate(resolve));
    await this.#worker.toldAll();
  }

  #asks(hook) {
    const said = this.#worker.hello().hooks[hook];
    return Boolean(said) && !said.observe;
  }

  #need(command) {
    if (!this.#transaction) throw new TestFailure("sequence", `there is no transaction: call ${command} first`);
  }

  /** Asks about any hook with these `args`; declined if the worker has no handler of it. */
  async ask(hook, args = {}, candidate = null) {
    this.delayMs = null;
    const said = this.#worker.hello().hooks[hook];
    if (!said) return this.#answered(new Verdict("declined"));
    if (said.observe) {
      await this.notify(hook, args);
      return this.#answered(new Verdict("declined"));
    }
    this.#id += 1;
    const id = this.#id;
    this.#cause = undefined;
    const answer = new Promise((resolve) => this.#answers.set(id, resolve));
    this.#say({ type: "event", id, key: `test.${id}`, attempt: 1, deadline_ms: this.deadlineMs, ...this.#picture(hook, args, said) });
    const message = await answer;
    if (message.type === "error") throw new TestFailure(message.code, message.message ?? message.code, message.plugin, this.#cause);
    this.#apply(message, candidate);
    const { code, status, text } = message.reply ?? {};
    return this.#answered(
      new Verdict(message.verdict, { code, status, text: text ?? [], notes: message.notes ?? {}, actions: message.actions ?? [], plugin: message.plugin }),
    );
  }

  #answered(verdict) {
    this.lastVerdict = verdict;
    return verdict;
  }

  // The wire

  #say(message) {
    this.#link.received(encodeLine(message));
  }

  #read() {
    const lines = Buffer.concat(this.#written);
    let start = 0;
    for (let end = lines.indexOf(10); end >= 0; end = lines.indexOf(10, start)) {
      const message = parseLine(lines.subarray(start, end));
      start = end + 1;
      if (message.type === "verdict" || message.type === "error") this.#answers.get(message.id)?.(message);
    }
    this.#written = [lines.subarray(start)];
  }

  #picture(hook, args, said) {
    const needs = said.needs ?? [];
    const picture = { hook, args };
    if (hook === "status") return picture;
    picture.session = {
      id: "TEST", listener: "test", started_ms: 1_732_322_669_123,
      client: { ip: this.clientIp, port: 51_512, name: this.clientName === null ? null : toField(this.clientName) },
      server: { ip: "198.51.100.25", port: 25 }, proxy: null, hello: this.#hello, tls: this.tls,
      auth: this.user === null ? null : { mechanism: this.mechanism, user: toField(this.user) },
      relay: this.relay, early_talker: this.earlyTalker,
      counters: { commands: this.#id, errors: 0, unrecognized: 0, transactions: this.#transactions, rcpt_ok: 0, rcpt_denied: 0 },
    };
    picture.notes = { session: this.notes.session };
    if (this.#transaction) {
      const { sender, recipients, headers, message } = this.#transaction;
      picture.transaction = { id: `TEST.${this.#transactions}`, sender, recipient_count: recipients.length };
      if (needs.includes("recipients")) picture.transaction.recipients = recipients;
      if (needs.includes("headers") && headers) picture.transaction.headers = headers;
      if (needs.includes("message") && message && hook !== "data_headers_end") picture.transaction.message = message;
      picture.notes.transaction = this.notes.transaction;
    }
    if (needs.includes("trace")) picture.trace = this.#trace;
    return picture;
  }

  // What a frontend does with a verdict

  #take(message) {
    const { fields, octets, bodyOffset } = cut(message);
    const path = join(this.#folder, "message");
    writeFileSync(path, octets);
    this.#transaction.message = { path, size: octets.length, body_offset: bodyOffset };
    this.#transaction.headers = fields.map(({ name, space, value }) => {
      this.#headerId += 1;
      return { id: this.#headerId, name: latin(name), ...(space ? { space: latin(space) } : {}), value: latin(value) };
    });
  }

  #apply(message, candidate) {
    for (const scope of ["session", "transaction"]) {
      if (message.notes?.[scope]) this.notes[scope] = merged(this.notes[scope], message.notes[scope]);
    }
    for (const action of message.actions ?? []) this.#act(action, candidate);
    if (this.#transaction) this.#settle();
  }

  #act(action, candidate) {
    const transaction = this.#transaction;
    const name = (value) => octetsOfField(value).toString("latin1").toLowerCase();
    const recipient = () => {
      const found = [...(candidate ? [candidate] : []), ...transaction.recipients].find((each) => each.id === action.id);
      if (!found) throw new TestFailure("invalid_verdict", `unknown_recipient: ${action.op}: no recipient has the id ${action.id}`);
      return found;
    };
    switch (action.op) {
      case "header.add": {
        this.#headerId += 1;
        const field = { id: this.#headerId, name: action.name, value: this.#spaced(action.value) };
        transaction.headers[action.at === "bottom" ? "push" : "unshift"](field);
        break;
      }
      case "header.set":
      case "header.delete": {
        const index = transaction.headers.findIndex((field) => field.id === action.id);
        if (index < 0) throw new TestFailure("invalid_verdict", `unknown_header: ${action.op}: no field has the id ${action.id}`);
        if (action.op === "header.delete") transaction.headers.splice(index, 1);
        else transaction.headers[index] = { id: action.id, name: transaction.headers[index].name, value: this.#spaced(action.value) };
        break;
      }
      case "header.delete_all":
        transaction.headers = transaction.headers.filter((field) => name(field.name) !== name(action.name));
        break;
      case "recipient.add":
        this.#recipientId += 1;
        transaction.recipients.push({ id: this.#recipientId, ...addressOf(textOfField(action.address)) });
        break;
      case "recipient.remove":
        transaction.recipients.splice(transaction.recipients.indexOf(recipient()), 1);
        break;
      case "recipient.replace":
        Object.assign(recipient(), addressOf(textOfField(action.address)));
        break;
      case "recipient.refuse": {
        const refused = recipient();
        const { code, status, text = [] } = action.reply ?? {};
        this.refusedRecipients.push({ recipient: new Recipient(refused), verdict: new Verdict(action.verdict, { code, status, text }) });
        transaction.recipients.splice(transaction.recipients.indexOf(refused), 1);
        break;
      }
      case "sender.replace":
        transaction.sender = { ...addressOf(textOfField(action.address)), params: (transaction.sender ?? transaction.asked).params };
        break;
      case "message.replace":
        this.#replace(action.path);
        break;
      case "session.relay":
        this.relay = action.value;
        break;
      case "session.client_name":
        this.clientName = action.value === null ? null : textOfField(action.value);
        break;
      case "reply.delay":
        this.delayMs = Math.max(this.delayMs ?? 0, action.ms);
        break;
      case "auth.challenge":
        this.challenge = { challenge: textOfField(action.challenge), state: textOfField(action.state) };
        break;
    }
  }

  #replace(path) {
    let octets;
    try {
      octets = readFileSync(join(this.#folder, "out", this.#worker.pool, path));
    } catch (error) {
      throw new TestFailure("invalid_verdict", `file_refused: ${path}: ${error.message}`);
    }
    if (/(^|[^\r])\n|\r(?!\n)/.test(octets.toString("latin1"))) {
      throw new TestFailure("invalid_verdict", `file_refused: ${path}: a bare CR or LF`);
    }
    this.#take(octets);
  }

  #spaced(value) {
    const octets = octetsOfField(value);
    return octets.length && ![0x20, 0x09, 0x0d].includes(octets[0]) ? toField(Buffer.concat([Buffer.from(" "), octets])) : value;
  }

  /** A recipient is there once: one local part, and one domain, whose letter case does not count. */
  #settle() {
    const seen = new Set();
    this.#transaction.recipients = this.#transaction.recipients.filter(({ local, domain }) => {
      const key = JSON.stringify([textOfField(local), domain === null ? null : textOfField(domain).toLowerCase()]);
      return !seen.has(key) && seen.add(key);
    });
  }
}

const isRefusal = (verdict) => verdict.word.startsWith("deny");
