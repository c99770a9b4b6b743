// Lines and octets: strict reading and writing of messages (protocol/README.md §1).

import { LIMITS } from "./constants.js";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** With the flag u a surrogate matches only where it stands alone. */
const LONE = /[\ud800-\udfff]/u;
const NUMBER = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y;

/** The peer broke the protocol: the connection ends with `bye` and this code. */
export class ProtocolError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ProtocolError";
    this.code = code;
  }
}

const bad = (message) => new ProtocolError("bad_frame", message);

/** Sets a member, also one of the name `__proto__`. */
export function put(object, key, value) {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
export const isInteger = (value, lowest) => Number.isSafeInteger(value) && value >= lowest;
/** Whether the object has the member itself. */
export const has = (object, key) => Object.prototype.hasOwnProperty.call(object, key);

/**
 * Looks at what JSON.parse hides, in a text that it takes: keys twice, U+0000 in a key, lone surrogates, depth, and
 * how numbers are spelled. Returns the paths of whole numbers that are spelled with a fraction or an exponent.
 */
function inspect(text) {
  const escapes = text.includes("\\u");
  const open = []; // of each container that is open: its keys so far, or null for a list
  const path = []; // the key or index within each
  const inexact = [];
  let isKey = false;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      let end = text.indexOf('"', at + 1);
      let last = end - 1;
      while (text.charCodeAt(last) === 0x5c) {
        let count = 0;
        while (text.charCodeAt(last - count) === 0x5c) count += 1;
        if (count % 2 === 0) break;
        end = text.indexOf('"', end + 1);
        last = end - 1;
      }
      const raw = text.slice(at + 1, end);
      const string = raw.includes("\\") ? (isKey || escapes ? JSON.parse(text.slice(at, end + 1)) : raw) : raw;
      if (escapes && LONE.test(string)) throw bad("a lone surrogate");
      if (isKey) {
        const keys = open[open.length - 1];
        if (string.includes("\0")) throw bad("U+0000 in a key");
        if (keys.has(string)) throw bad("a key twice in one object");
        keys.add(string);
        path[path.length - 1] = string;
        isKey = false;
      }
      at = end + 1;
    } else if (code === 0x7b || code === 0x5b) {
      if (open.length === LIMITS.nesting) throw bad(`nesting over ${LIMITS.nesting}`);
      isKey = code === 0x7b;
      open.push(isKey ? new Set() : null);
      path.push(isKey ? "" : 0);
      at += 1;
    } else if (code === 0x7d || code === 0x5d) {
      open.pop();
      path.pop();
      isKey = false;
      at += 1;
    } else if (code === 0x2c) {
      if (open[open.length - 1] === null) path[path.length - 1] += 1;
      else isKey = true;
      at += 1;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      NUMBER.lastIndex = at;
      const found = NUMBER.exec(text);
      const value = Number(found[0]);
      if (found[1] === undefined && found[2] === undefined) {
        if (!Number.isSafeInteger(value)) throw bad("an integer beyond 2^53-1");
      } else {
        if (!Number.isFinite(value)) throw bad("a number that is no finite double");
        if (Number.isInteger(value)) inexact.push([...path]);
      }
      at += found[0].length;
    } else {
      at += 1;
    }
  }
  return inexact;
}

/**
 * The message on this line, with or without its LF.
 *
 * A number that is spelled `1.0` is no integer: outside of `notes` it is a `Number` object, for which
 * `Number.isInteger` is false. Throws ProtocolError if the line is no message.
 */
export function parseLine(line) {
  let text, message, inexact;
  try {
    text = strict.decode(line);
  } catch {
    throw bad("not UTF-8");
  }
  try {
    message = JSON.parse(text);
  } catch (error) {
    throw bad(`not JSON: ${error.message}`);
  }
  inexact = inspect(text);
  if (!isObject(message)) throw bad("not an object");
  for (const path of inexact) {
    if (path[0] === "notes") continue;
    const key = path.pop();
    const inner = path.reduce((value, step) => value[step], message);
    put(inner, key, new Number(inner[key]));
  }
  return message;
}

/** Throws if JSON would leave this value out or make another of it, or if it nests too deep. */
function admit(value, depth, where) {
  switch (typeof value) {
    case "boolean":
      return;
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`${where}: ${value} is not JSON`);
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        throw new TypeError(`${where}: ${value} is beyond 2^53-1`);
      }
      return;
    case "string":
      if (LONE.test(value)) throw new TypeError(`${where}: a lone surrogate`);
      return;
    case "object": {
      if (value === null) return;
      if (depth > LIMITS.nesting) throw new TypeError(`${where}: nesting over ${LIMITS.nesting}`);
      if (Array.isArray(value)) {
        for (let index = 0; index < value.length; index += 1) admit(value[index], depth + 1, `${where}[${index}]`);
        return;
      }
      const prototype = Object.getPrototypeOf(value);
      if ((prototype !== null && prototype !== Object.prototype) || typeof value.toJSON === "function") {
        throw new TypeError(`${where}: no plain object`);
      }
      for (const [key, item] of Object.entries(value)) {
        if (key.includes("\0")) throw new TypeError(`${where}: U+0000 in a key`);
        if (LONE.test(key)) throw new TypeError(`${where}: a lone surrogate in a key`);
        admit(item, depth + 1, where ? `${where}.${key}` : key);
      }
      return;
    }
    default:
      throw new TypeError(`${where}: ${typeof value} is not JSON`);
  }
}

/** The line that says this message, LF included. `check` it if people's own values are in it: then it may throw TypeError. */
export function encodeLine(message, check = false) {
  if (check) admit(message, 1, "");
  return Buffer.from(JSON.stringify(message) + "\n");
}

/** Text of octets without loss: an octet that is no UTF-8 becomes one lone surrogate, U+DC80 to U+DCFF. */
export function fromOctets(octets) {
  try {
    return strict.decode(octets);
  } catch {
    let text = "";
    for (let at = 0; at < octets.length; ) {
      const first = octets[at];
      const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
      let character;
      try {
        character = length ? strict.decode(octets.subarray(at, at + length)) : undefined;
      } catch {
        character = undefined;
      }
      text += character ?? String.fromCharCode(0xdc00 + first);
      at += character === undefined ? 1 : length;
    }
    return text;
  }
}

/** The octets of a text, U+DC80 to U+DCFF alone as the octets that they stand for; throws TypeError for others. */
export function toOctets(text) {
  if (text instanceof Uint8Array) return Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  if (typeof text !== "string") throw new TypeError(`a string, a Buffer or a Uint8Array, not ${typeof text}`);
  if (!LONE.test(text)) return Buffer.from(text);
  const pieces = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) pieces.push(Buffer.of(code - 0xdc00));
    else if (code >= 0xd800 && code <= 0xdfff) throw new TypeError("a lone surrogate that stands for no octet");
    else pieces.push(Buffer.from(character));
  }
  return Buffer.concat(pieces);
}

/** The octets of a field of type Bytes, in either form; throws TypeError if it is none. */
export function octetsOfField(value) {
  if (typeof value === "string") return toOctets(value);
  if (isObject(value) && typeof value.b64 === "string" && Object.keys(value).length === 1) {
    const octets = Buffer.from(value.b64, "base64");
    if (octets.toString("base64") !== value.b64) throw new TypeError("bad base64");
    return octets;
  }
  throw new TypeError("neither a string nor b64");
}

/** A field of type Bytes as text without loss. */
export const textOfField = (value) => (typeof value === "string" ? value : fromOctets(octetsOfField(value)));

/** A field of type Bytes: a string if and only if the octets are valid UTF-8 without NUL. */
export function toField(text) {
  if (typeof text === "string" && !LONE.test(text) && !text.includes("\0")) return text;
  const octets = toOctets(text);
  if (!octets.includes(0)) {
    try {
      return strict.decode(octets);
    } catch {
      // not UTF-8
    }
  }
  return { b64: octets.toString("base64") };
}

/** Octets in, in any pieces; whole lines out, none longer than `maxFrame`. */
export class FrameDecoder {
  constructor(maxFrame) {
    this.maxFrame = maxFrame;
    /** Set once a line was too long: what comes after it is not read. */
    this.broken = null;
    this.pieces = [];
    this.held = 0;
  }

  /** The lines that these octets complete, up to one that is too long. */
  feed(octets) {
    const lines = [];
    if (this.broken) return lines;
    let start = 0;
    for (;;) {
      const end = octets.indexOf(0x0a, start);
      const piece = octets.subarray(start, end < 0 ? octets.length : end);
      if (this.held + piece.length >= this.maxFrame) {
        this.pieces = [];
        this.broken = new ProtocolError("frame_too_long", `a line of over ${this.maxFrame} octets`);
        return lines;
      }
      if (end < 0) {
        if (piece.length) this.pieces.push(Buffer.from(piece));
        this.held += piece.length;
        return lines;
      }
      lines.push(this.pieces.length ? Buffer.concat([...this.pieces, piece]) : piece);
      this.pieces = [];
      this.held = 0;
      start = end + 1;
    }
  }
}
