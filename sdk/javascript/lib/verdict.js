// What a handler answers (protocol/verdicts.md).

/** A verdict with its reply, notes and actions. The functions of this module make them. */
export class Verdict {
  constructor(word, { text = [], code, status, notes = {}, actions = [], plugin } = {}) {
    this.word = word;
    /** What the client is told, a line each; empty for the frontend's own text. */
    this.text = text;
    /** Reply code, and enhanced status code; null for those of the hook. */
    this.code = code ?? null;
    this.status = status ?? null;
    /** A merge patch (RFC 7396) for each scope, `session` and `transaction`; null deletes. */
    this.notes = notes;
    this.actions = actions;
    /** The plugin that decided, in what a TestSession returns; else null. */
    this.plugin = plugin ?? null;
  }

  /** The reply as it stands in the message; null if nothing of it is given. */
  get reply() {
    const reply = {};
    if (this.code !== null) reply.code = this.code;
    if (this.status !== null) reply.status = this.status;
    if (this.text.length) reply.text = [...this.text];
    return Object.keys(reply).length ? reply : null;
  }

  toString() {
    return [this.word, this.code, this.status, ...this.text].filter((part) => part !== null).join(" ");
  }
}

/** Text first, a string each line, then the options. */
function make(word, parts, code) {
  const last = parts[parts.length - 1];
  const options = typeof last === "object" && last !== null ? last : {};
  const given = typeof last === "object" && last !== null ? parts.slice(0, -1) : parts;
  const text = [];
  for (const part of given) {
    if (part === undefined) continue;
    if (typeof part !== "string") throw new TypeError(`the text of ${word} is strings, not ${typeof part}`);
    text.push(...part.replace(/\r\n/g, "\n").split("\n").filter((line) => line));
  }
  return new Verdict(word, { ...(code === undefined ? {} : { code }), ...options, text });
}

/** Nothing to say: the next plugin is asked, then the next pool. Returning nothing says the same. */
export const declined = (options = {}) => make("declined", [options]);
/** Decided: allowed, and no other plugin is asked. */
export const ok = (...parts) => make("ok", parts);
/** Refused for good: a 5yz reply. */
export const deny = (...parts) => make("deny", parts);
/** Refused for now: a 4yz reply. */
export const denysoft = (...parts) => make("denysoft", parts);
/** As `deny`, then the connection is closed. */
export const denyDisconnect = (...parts) => make("deny_disconnect", parts);
/** As `denysoft`, then the connection is closed. */
export const denysoftDisconnect = (...parts) => make("denysoft_disconnect", parts);
/** Exactly this reply is sent, nothing else is done, and no other plugin is asked. */
export const done = (code, ...parts) => make("done", parts, code);
