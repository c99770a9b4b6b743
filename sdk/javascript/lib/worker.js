// A policy worker: handlers, and the connections to every frontend of a pool.

import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

import { Connection } from "./connection.js";
import { HOOKS, LIMITS, NEEDS } from "./constants.js";
import { declined, Verdict } from "./verdict.js";

/** Notifications that may wait for their handlers; further ones are dropped with a count. */
const LARGEST_BACKLOG = 1024;
const SHORTEST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 2000;
/** How long the frontend may take for its `welcome`, and for closing after a `bye`. */
const WELCOME_MS = 5000;
const CLOSE_MS = 2000;

const stderr = (level) => (message) => process.stderr.write(`${level} gatepost: ${message}\n`);
const LOGGER = { info: stderr("INFO"), warn: stderr("WARNING"), error: stderr("ERROR") };

/** Serves the hooks that its handlers name, for every frontend that has the pool. */
export class Worker {
  #registrations = new Map();
  #links = new Set();
  #dialling = new Map();
  #backlog = [];
  #telling = null;
  #stop = () => {};

  constructor(name, options = {}) {
    const { pool = "policy", concurrency = 16, maxFrame = LIMITS.sdk_max_frame } = options;
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) throw new TypeError(`a worker's name is [A-Za-z0-9._-]{1,64}, not ${JSON.stringify(name)}`);
    if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(pool)) throw new TypeError(`a pool's name is [a-z0-9][a-z0-9_-]{0,63}, not ${JSON.stringify(pool)}`);
    if (!Number.isSafeInteger(concurrency) || concurrency < 0 || concurrency > LIMITS.concurrency) {
      throw new RangeError(`concurrency is 0 to ${LIMITS.concurrency}`);
    }
    if (!Number.isSafeInteger(maxFrame) || maxFrame < LIMITS.least_max_frame || maxFrame > LIMITS.most_max_frame) {
      throw new RangeError(`maxFrame is ${LIMITS.least_max_frame} to ${LIMITS.most_max_frame}`);
    }
    this.name = name;
    this.pool = pool;
    this.concurrency = concurrency;
    this.maxFrame = maxFrame;
    this.version = options.version;
    this.instance = options.instance;
    const base = options.runtimeDirectory ?? (process.env.GATEPOST_RUNTIME_DIRECTORY || "var/run");
    this.folder = options.folder ?? join(base, "pools", pool);
    this.logger = options.logger ?? LOGGER;
    this.lookEveryMs = options.lookEveryMs ?? 1000;
    this.drainTimeoutMs = options.drainTimeoutMs ?? 60_000;
    /** Called with each frontend's `welcome`. */
    this.onWelcome = null;
    /** Notifications that were dropped because their handlers are slow. */
    this.droppedNotifications = 0;
  }

  /** Registers a handler of a hook: `hook(name, handler)`, or `hook(name, options, handler)`. */
  hook(hook, ...rest) {
    const handler = rest.pop();
    const { needs = [], observe = false, idempotent = false, extensions = [], plugin } = rest[0] ?? {};
    if (!Object.prototype.hasOwnProperty.call(HOOKS, hook)) throw new TypeError(`there is no hook ${JSON.stringify(hook)}`);
    if (typeof handler !== "function") throw new TypeError(`a handler of ${hook} is a function`);
    const unknown = needs.find((need) => !NEEDS.includes(need));
    if (unknown !== undefined) throw new TypeError(`there is no need ${JSON.stringify(unknown)}; there are ${NEEDS.join(", ")}`);
    if (extensions.length && (hook !== "queue" || observe)) {
      throw new TypeError("extensions are for a handler that is asked at queue");
    }
    const others = this.#registrations.get(hook) ?? [];
    if (others.some((other) => other.observe !== observe)) {
      throw new TypeError(`the hook ${hook} is either observed or decided by one worker`);
    }
    const label = [...(plugin ?? (handler.name || hook))].slice(0, LIMITS.short_text).join("");
    this.#registrations.set(hook, [...others, { handler, plugin: label, needs, observe, idempotent, extensions }]);
    return this;
  }

  /** What this worker says about itself. */
  hello() {
    const hooks = {};
    const plugins = new Set();
    for (const [hook, entries] of this.#registrations) {
      const said = {};
      const needs = NEEDS.filter((need) => entries.some((entry) => entry.needs.includes(need)));
      if (needs.length) said.needs = needs;
      if (entries[0].observe) said.observe = true;
      if (entries.every((entry) => entry.idempotent)) said.idempotent = true;
      hooks[hook] = said;
      for (const entry of entries) plugins.add(entry.plugin);
    }
    const queue = this.#registrations.get("queue") ?? [];
    const extensions = (queue[0]?.extensions ?? []).filter((word) => queue.every((entry) => entry.extensions.includes(word)));
    const about = { name: this.name, sdk: "gatepost-javascript/0.1.0", pid: process.pid };
    if (this.version !== undefined) about.version = this.version;
    if (this.instance !== undefined) about.instance = this.instance;
    return {
      protocol: [1, 1],
      pool: this.pool,
      worker: about,
      concurrency: this.concurrency,
      max_frame: this.maxFrame,
      plugins: [...plugins],
      ...(extensions.length ? { extensions } : {}),
      violations: true,
      hooks,
    };
  }

  // Life

  /** Serves until SIGTERM or SIGINT, then drains. A second signal ends at once. */
  async run() {
    let isFirst = true;
    const onSignal = (_, number) => {
      if (!isFirst) process.exit(128 + number);
      isFirst = false;
      this.stop();
    };
    const told = this.onWelcome;
    this.onWelcome = (welcome) => {
      this.onWelcome = told;
      process.stdout.write(`ready: worker ${this.name}, pool ${this.pool}, frontend ${welcome.frontend?.id ?? "?"}\n`);
      told?.(welcome);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    try {
      await this.serve();
    } finally {
      process.off("SIGTERM", onSignal);
      process.off("SIGINT", onSignal);
    }
  }

  /** Drains, and lets `serve` and `run` end. */
  stop() {
    this.#stop();
  }

  /** Dials every socket of the folder, looks for new ones every `lookEveryMs`, until `stop`. */
  async serve() {
    const ac = new AbortController();
    this.#stop = () => ac.abort();
    const { signal } = ac;
    while (!signal.aborted) {
      for (const path of await this.#sockets()) {
        if (signal.aborted || this.#dialling.has(path)) continue;
        const kept = this.#keep(path, signal).finally(() => this.#dialling.delete(path));
        this.#dialling.set(path, kept);
      }
      await sleep(this.lookEveryMs, signal);
    }
    this.logger.info("draining");
    for (const link of this.#links) link.drain();
    const overdue = setTimeout(() => {
      for (const link of this.#links) link.abort();
    }, this.drainTimeoutMs);
    await Promise.all([...this.#dialling.values()]);
    clearTimeout(overdue);
  }

  async #sockets() {
    try {
      return (await readdir(this.folder)).filter((name) => name.endsWith(".sock")).map((name) => join(this.folder, name));
    } catch {
      return []; // no frontend yet
    }
  }

  /** Keeps a connection to this socket for as long as there is such a file. */
  async #keep(path, signal) {
    let backoff = SHORTEST_BACKOFF_MS;
    while (!signal.aborted) {
      let atLeast = 0;
      const link = new Link(this);
      this.#links.add(link);
      const why = await link.dial(path);
      this.#links.delete(link);
      if (why?.code === "ENOENT") return;
      if (link.core.welcome) backoff = SHORTEST_BACKOFF_MS;
      const retry = link.core.rejected?.retry_ms;
      if (Number.isSafeInteger(retry) && retry > 0) atLeast = Math.min(retry, 3_600_000);
      if (!why && !signal.aborted) this.logger.warn(`${path}: connection lost (${link.core.closeReason}); dialling again`);
      await sleep(Math.max(atLeast, Math.random() * backoff), signal);
      backoff = Math.min(2 * backoff, LONGEST_BACKOFF_MS);
    }
  }

  // Events

  /** @internal What handlers of `queue` need and did not get: they must not store a message without it. */
  missing(event) {
    if (event.hook !== "queue") return [];
    const entries = this.#registrations.get(event.hook);
    return event.elided.filter((part) => entries.some((entry) => entry.needs.includes(part)));
  }

  /** @internal The plugin that has the event now. */
  atWork(event) {
    const entries = this.#registrations.get(event.hook);
    return entries[Math.min(event.trace.length, entries.length - 1)].plugin;
  }

  /** @internal Asks the handlers in order; the answer of the first that does not decline. */
  async ask(event) {
    for (const entry of this.#registrations.get(event.hook)) {
      if (event.cancelled) break;
      const began = performance.now();
      event.started = true;
      const verdict = (await entry.handler(event)) ?? declined();
      if (!(verdict instanceof Verdict)) {
        throw new TypeError(`a handler returns a verdict or nothing, not ${typeof verdict}`);
      }
      event.trace.push({ plugin: entry.plugin, verdict: verdict.word, us: Math.round((performance.now() - began) * 1000) });
      if (verdict.word !== "declined" || verdict.reply) return verdict;
      event.keep(verdict); // a later plugin decides; what this one changes goes with it
    }
    return declined();
  }

  // Notifications: in order, one at a time, and never in the way of events

  /** @internal */
  notify(event) {
    if (this.#backlog.length >= LARGEST_BACKLOG) {
      this.droppedNotifications += 1;
      return;
    }
    this.#backlog.push(event);
    if (!this.#telling) this.#telling = this.#tell();
  }

  /** @internal Resolves when no notification waits for its handlers. */
  async toldAll() {
    await this.#telling;
  }

  async #tell() {
    while (this.#backlog.length) {
      const event = this.#backlog.shift();
      for (const entry of this.#registrations.get(event.hook) ?? []) {
        try {
          await entry.handler(event);
        } catch (error) {
          this.logger.error(`${entry.plugin}: a handler of ${event.hook} failed: ${error?.stack ?? error}`);
        }
      }
    }
    this.#telling = null;
  }
}

for (const hook of Object.keys(HOOKS)) {
  const method = hook.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  Worker.prototype[method] = function (...rest) {
    return this.hook(hook, ...rest);
  };
}

/** A connection with its socket: runs what the core hands out, writes what it says. */
export class Link {
  #socket = null;
  #timers = new Map();
  #flushing = false;
  #welcomeTimer;

  constructor(worker) {
    this.worker = worker;
    this.core = new Connection(worker.hello());
    this.core.onOutgoing = () => this.flushSoon();
    this.core.onViolation = (message) => {
      const plugin = message.plugin ? `${message.plugin} at ` : "";
      worker.logger.error(`the frontend found a verdict invalid: ${plugin}${message.hook}: ${message.violation}: ${message.message ?? ""}`);
    };
    /** Called with an event and what its handler threw. */
    this.onFailure = () => {};
  }

  /** Serves the frontend at this socket until the connection is over; the error if there was no connection. */
  dial(path) {
    return new Promise((resolve) => {
      const socket = connect({ path });
      let failure = null;
      let isConnected = false;
      socket.on("connect", () => {
        isConnected = true;
        this.attach(socket);
      });
      socket.on("data", (octets) => this.received(octets));
      socket.on("drain", () => socket.resume());
      socket.on("error", (error) => {
        failure = error;
      });
      socket.on("close", () => {
        this.lost(failure?.message ?? "end of file");
        resolve(isConnected ? null : failure);
      });
      this.#socket = socket;
    });
  }

  /** Writes the hello to the socket, or to what has `write`, `end`, `destroy` and `pause` as a socket has. */
  attach(socket) {
    this.#socket = socket;
    this.#welcomeTimer = setTimeout(() => {
      if (this.core.welcome || this.core.closed) return;
      this.core.leave("timeout");
      this.flush();
    }, WELCOME_MS);
    this.flush();
  }

  /** Octets of the frontend have come. */
  received(octets) {
    const greeted = this.core.welcome !== null;
    for (const event of this.core.receive(octets)) {
      if (event.id === null) this.worker.notify(event);
      else this.#start(event);
    }
    if (!greeted && this.core.welcome) {
      clearTimeout(this.#welcomeTimer);
      this.worker.logger.info(`serving frontend ${this.core.welcome.frontend?.id ?? "?"}`);
      this.worker.onWelcome?.(this.core.welcome);
    }
    this.flush();
  }

  /** The connection is over. */
  lost(reason) {
    clearTimeout(this.#welcomeTimer);
    this.core.lost();
    this.core.closeReason ??= reason;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Takes no further events, answers the events that it has, and leaves. */
  drain() {
    if (this.#socket?.connecting) this.#socket.destroy();
    this.core.drain();
    this.flush();
  }

  /** Leaves at once. */
  abort() {
    this.core.leave();
    this.flush();
    this.#socket?.destroySoon?.();
  }

  #start(event) {
    if (event.cancelled) {
      this.core.fail(event, "cancelled", false, event.cancelReason ?? "");
      return;
    }
    const missing = this.worker.missing(event);
    if (missing.length) {
      const text = `${missing.join(" and ")} did not fit into the event`;
      this.worker.logger.error(`queue ${event.key}: ${text}`);
      this.core.fail(event, "incomplete_event", false, text);
      return;
    }
    event.signal.addEventListener("abort", () => {
      if (this.core.fail(event, "cancelled", event.started, event.cancelReason ?? "")) this.#over(event);
    });
    this.#timers.set(event, setTimeout(() => this.#lookAtTime(event), Math.min(Math.max(0, event.handlerMs), 2 ** 31 - 1)));
    this.worker.ask(event).then(
      (verdict) => {
        const problem = this.core.answer(event, verdict);
        if (problem) this.worker.logger.error(`an invalid verdict: ${problem.message}`);
        this.#over(event);
      },
      (error) => {
        if (!this.core.waits(event)) return;
        const plugin = this.worker.atWork(event);
        this.worker.logger.error(`${plugin}: failed at ${event.hook} ${event.key}: ${error?.stack ?? error}`);
        this.onFailure(event, error);
        this.core.fail(event, "exception", true, error?.message || String(error), plugin);
        this.#over(event);
      },
    );
  }

  #over(event) {
    clearTimeout(this.#timers.get(event));
    this.#timers.delete(event);
    this.flushSoon();
  }

  /** Ends an event whose time is over, unless `progress` has moved that. */
  #lookAtTime(event) {
    const left = event.handlerMs;
    if (left > 0) {
      this.#timers.set(event, setTimeout(() => this.#lookAtTime(event), Math.min(left, 2 ** 31 - 1)));
      return;
    }
    const text = `${event.hook} took longer than its deadline`;
    this.core.fail(event, "deadline", true, text, this.worker.atWork(event));
    event.cancel("deadline");
    this.#over(event);
  }

  // Writing: one write for all that was said in a turn of the loop

  flushSoon() {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.flush());
  }

  flush() {
    this.#flushing = false;
    const socket = this.#socket;
    if (!socket || socket.connecting || socket.destroyed || socket.writableEnded) return;
    const octets = this.core.take();
    // The frontend does not take our answers: nothing is read that would make more of them.
    if (octets.length && !socket.write(octets)) socket.pause();
    if (this.core.closed) {
      socket.end();
      setTimeout(() => socket.destroy(), CLOSE_MS).unref();
    }
  }
}

/** Waits for so long, or until the signal is aborted. */
function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(over, ms);
    signal.addEventListener("abort", over, { once: true });
    function over() {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    }
  });
}
