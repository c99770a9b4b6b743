// One connection to a frontend without its socket: octets in; events to run, and octets to write, out.

import { check } from "./check.js";
import { LIMITS, MESSAGES } from "./constants.js";
import { Event } from "./event.js";
import { encodeLine, FrameDecoder, has, isInteger, isObject, parseLine, ProtocolError } from "./wire.js";

const forPeople = (text) => [...Buffer.from(String(text)).toString()].slice(0, LIMITS.free_text).join("");

/** The worker's half of the protocol: handshake, ids, drain, bye, and exactly one answer for each event. */
export class Connection {
  #frames;
  #hello;
  #outgoing = [];
  #outstanding = new Map();
  #drainSent = false;
  #drainReceived = false;
  #peerMaxFrame = LIMITS.handshake_frame;
  #concurrency;
  #outFolder = "";

  constructor(hello) {
    this.#hello = hello;
    this.#frames = new FrameDecoder(hello.max_frame);
    this.#concurrency = hello.concurrency;
    /** The frontend's `welcome`; null before. */
    this.welcome = null;
    /** The frontend's `reject`, if that was its answer. */
    this.rejected = null;
    /** The connection is over: write what is left of `take()`, then close. */
    this.closed = false;
    /** Why, for the log. */
    this.closeReason = null;
    /** Called with each `violation` of the frontend: an answer of this worker that was invalid. */
    this.onViolation = () => {};
    /** Called when `progress` has been put into the octets to write. */
    this.onOutgoing = () => {};
    this.#put({ type: "hello", ...hello });
  }

  /** How many events wait for an answer. */
  get outstanding() {
    return this.#outstanding.size;
  }

  /** The octets to write now. */
  take() {
    const octets = Buffer.concat(this.#outgoing);
    this.#outgoing = [];
    return octets;
  }

  /** The events and notifications (`id` null) to be run now, in order. */
  receive(octets) {
    const events = [];
    if (this.closed) return events;
    try {
      for (const line of this.#frames.feed(octets)) {
        const event = this.#message(parseLine(line));
        if (event) events.push(event);
        if (this.closed) return events;
      }
      if (this.#frames.broken) throw this.#frames.broken;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#close(error.code, error.message);
    }
    return events;
  }

  /** The socket is closed: no answer is awaited any more. */
  lost() {
    this.closed = true;
    for (const event of this.#outstanding.values()) event.cancel("disconnected");
    this.#outstanding.clear();
  }

  /** We are told to stop: no further events, then bye. */
  drain(reason = "stopping") {
    if (!this.welcome) {
      this.#close("stopping");
    } else if (!this.#drainSent) {
      this.#drainSent = true;
      this.#put({ type: "drain", reason });
      this.#leaveIfDone();
    }
  }

  /** Leaves at once. */
  leave(code = "stopping") {
    this.#close(code);
  }

  // Answers: for each event one, whatever is called how often.

  /** Whether the event waits for its answer. */
  waits(event) {
    return event.id !== null && this.#outstanding.get(event.id) === event;
  }

  /**
   * Sends the verdict, or, if it breaks a rule, `error` with code `invalid_verdict`.
   *
   * Returns null, or what is wrong with it: the violation's id, and a message that names plugin, hook, field and value.
   */
  answer(event, verdict) {
    if (!this.waits(event)) return null;
    const plugin = event.trace.length ? event.trace[event.trace.length - 1].plugin : undefined;
    let problem = null;
    let line;
    try {
      event.take(verdict.actions);
      const notes = event.notesPatch(verdict);
      const { reply } = verdict;
      const message = { type: "verdict", id: event.id, verdict: verdict.word };
      if (verdict.word !== "declined" && plugin !== undefined) message.plugin = plugin;
      if (reply) message.reply = reply;
      if (!isObject(notes) || Object.keys(notes).length) message.notes = notes;
      if (event.actions.length) message.actions = event.actions;
      if (event.trace.length) message.trace = event.trace;
      problem = check(event.raw, message);
      if (!problem) {
        line = encodeLine(message, Boolean(message.notes || message.actions || reply));
        if (line.length > this.#peerMaxFrame) {
          throw new RangeError(`the verdict has ${line.length} octets, the frontend takes ${this.#peerMaxFrame}`);
        }
      }
    } catch (error) {
      problem = { violation: null, message: error.message };
    }
    if (problem) {
      const rule = problem.violation ? `${problem.violation}: ` : "";
      const text = `${plugin ?? "a handler"} at ${event.hook}: ${rule}${problem.message}`;
      this.fail(event, "invalid_verdict", true, text, plugin);
      return { violation: problem.violation, message: text };
    }
    this.#outstanding.delete(event.id);
    this.#outgoing.push(line);
    this.#leaveIfDone();
    return null;
  }

  /** Sends `error`. False if the event has had its answer. */
  fail(event, code, started, message = "", plugin = undefined) {
    if (!this.waits(event)) return false;
    this.#outstanding.delete(event.id);
    this.#error(event.id, code, started, message, plugin);
    this.#leaveIfDone();
    return true;
  }

  // Messages

  #put(message) {
    this.#outgoing.push(encodeLine(message));
  }

  #error(id, code, started, message, plugin) {
    const error = { type: "error", id, code, started };
    if (plugin) error.plugin = plugin;
    if (message) error.message = forPeople(message);
    this.#put(error);
  }

  #close(code, message = "") {
    if (this.closed) return;
    this.closed = true;
    this.closeReason = message ? `${code}: ${message}` : code;
    this.#put({ type: "bye", code, ...(message ? { message: forPeople(message) } : {}) });
  }

  #leaveIfDone() {
    if (this.#drainSent && this.#drainReceived && !this.#outstanding.size) this.#close("drained");
  }

  #message(message) {
    const { type } = message;
    if (typeof type !== "string" || (!has(MESSAGES, type) && type !== "violation")) {
      throw new ProtocolError("unknown_type", `type ${JSON.stringify(type)}`.slice(0, 80));
    }
    if (MESSAGES[type] === "worker") throw new ProtocolError("unexpected_message", `${type} from a frontend`);
    if (type === "bye") {
      this.closed = true;
      this.closeReason = `the frontend said bye: ${message.code}: ${message.message}`;
      return null;
    }
    if (!this.welcome) return this.#handshake(type, message);
    switch (type) {
      case "event":
        return this.#event(message);
      case "notify":
        return this.#notify(message);
      case "cancel":
        if (!isInteger(message.id, 1)) throw new ProtocolError("bad_message", "cancel without an id");
        this.#outstanding.get(message.id)?.cancel(String(message.reason ?? ""));
        return null;
      case "ping":
        if (!Number.isSafeInteger(message.n)) throw new ProtocolError("bad_message", "ping without n");
        this.#put({ type: "pong", n: message.n });
        return null;
      case "drain":
        this.#drainReceived = true;
        this.drain(typeof message.reason === "string" ? message.reason : "draining");
        this.#leaveIfDone();
        return null;
      case "violation":
        this.onViolation(message);
        return null;
      case "pong":
        return null;
      default:
        throw new ProtocolError("unexpected_message", `${type} after the welcome`);
    }
  }

  #handshake(type, message) {
    if (type === "welcome") {
      if (message.protocol !== 1 || !isInteger(message.max_frame, LIMITS.least_max_frame)) {
        throw new ProtocolError("bad_message", "welcome without protocol 1 or max_frame");
      }
      this.welcome = message;
      this.#peerMaxFrame = message.max_frame;
      if (isInteger(message.concurrency, 0)) this.#concurrency = message.concurrency;
      if (typeof message.spool === "string") this.#outFolder = `${message.spool}/out/${this.#hello.pool}`;
    } else if (type === "reject") {
      this.rejected = message;
      this.closed = true;
      this.closeReason = `rejected: ${message.code}: ${message.message}`;
    } else {
      throw new ProtocolError("unexpected_message", `${type} before the welcome`);
    }
    return null;
  }

  #notify(message) {
    const isGood = has(this.#hello.hooks, message.hook) && isObject(message.args);
    return isGood ? new Event({ ...message, id: undefined }) : null;
  }

  #event(message) {
    const { id, hook } = message;
    if (!isInteger(id, 1) || typeof hook !== "string") {
      throw new ProtocolError("bad_message", "an event without an id or a hook");
    }
    if (this.#outstanding.has(id)) throw new ProtocolError("bad_message", `the id ${id} twice`);
    if (this.#outstanding.size >= this.#concurrency) {
      this.#error(id, "overloaded", false, `more than ${this.#concurrency} events`);
      return null;
    }
    if (!has(this.#hello.hooks, hook)) {
      this.#error(id, "not_subscribed", false, hook);
      return null;
    }
    if (![message.session, message.args, message.notes].every(isObject) || !isInteger(message.deadline_ms, 0)) {
      this.#error(id, "bad_event", true, "session, args, notes or deadline_ms");
      return null;
    }
    const event = new Event(message, {
      outFolder: this.#outFolder,
      send: (progress) => {
        if (!this.waits(event)) return;
        this.#put(progress);
        this.onOutgoing();
      },
    });
    this.#outstanding.set(id, event);
    return event;
  }
}
