// Values of header fields that may stand in a message (RFC 5322 §2.1.1, RFC 2047, RFC 6532).
// Octets are handled as strings of one character an octet.

import { LIMITS } from "./constants.js";

const LONGEST_LINE = LIMITS.header_line_octets;
/** Where long lines are folded if they can be (RFC 5322 §2.1.1). */
const PREFERRED_LINE = 78;
/** Octets of an encoded word with its delimiters (RFC 2047 §2). */
const LONGEST_WORD = 75;

const FOLD = /\r\n(?=[ \t])/;
const ABOVE = /[\x80-\xff]/;

/**
 * What may follow the colon of a field whose name has `nameOctets`, as a Buffer.
 *
 * NUL is left out, and so are CR and LF that fold nothing. Lines of white space alone are unfolded. Octets above 127
 * become encoded words where the message has no SMTPUTF8. A line over 998 octets is folded at its white space, and
 * within a word that is longer than that.
 */
export function legal(octets, nameOctets, allows8Bit) {
  let value = octets.toString("latin1");
  if (/[\r\n\0]/.test(value)) {
    const lines = value.split(FOLD).map((line) => line.replace(/[\r\n\0]/g, ""));
    value = lines.map((line, index) => (index === 0 || !/[^ \t]/.test(line) ? line : "\r\n" + line)).join("");
  }
  if (!allows8Bit && ABOVE.test(value)) value = encoded(value);
  // A value that begins without white space gets a space in front.
  const first = nameOctets + 1 + (/^[ \t\r]/.test(value) ? 0 : 1);
  if (first + value.length > LONGEST_LINE) {
    value = value.split(FOLD).map((line, index) => folded(line, index ? 0 : first)).join("\r\n");
  }
  return Buffer.from(value, "latin1");
}

/**
 * Each run of words with octets above 127 as encoded words.
 *
 * White space between two encoded words is not shown (RFC 2047 §6.2), so what stands between such words goes into them.
 */
function encoded(value) {
  const pieces = value.split(/([ \t\r\n]+)/); // words and gaps by turns, a word first
  const result = [];
  let run = [];
  let gap = "";
  pieces.forEach((piece, index) => {
    if (index % 2) {
      gap = piece;
    } else if (piece && ABOVE.test(piece)) {
      if (run.length) {
        run.push(gap.replace(/[\r\n]/g, ""), piece);
      } else {
        result.push(gap);
        run = [piece];
      }
      gap = "";
    } else if (piece) {
      result.push(words(run.join("")), gap, piece);
      run = [];
      gap = "";
    }
  });
  return [...result, words(run.join("")), gap].join("");
}

/** Text as encoded words of whole characters, folded between them. */
function words(text) {
  if (!text) return "";
  let characters, start;
  try {
    const decoded = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(text, "latin1"));
    characters = [...decoded].map((character) => Buffer.from(character).toString("latin1"));
    start = "=?UTF-8?Q?";
  } catch {
    characters = [...text];
    start = "=?unknown-8bit?Q?";
  }
  const result = [start];
  for (const character of characters) {
    const quoted = [...character].map(quote).join("");
    if (result[result.length - 1].length + quoted.length + 2 > LONGEST_WORD) result.push(start);
    result[result.length - 1] += quoted;
  }
  return result.map((word) => word + "?=").join("\r\n ");
}

/** RFC 2047 §4.2, with the octets that may stand in a phrase (§5, 3). */
function quote(octet) {
  if (/[0-9A-Za-z]/.test(octet)) return octet;
  if (octet === " ") return "_";
  return "=" + octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0");
}

/** `before` octets stand before the line. */
function folded(line, before) {
  if (before + line.length <= LONGEST_LINE) return line;
  const lines = [];
  let current = "";
  let end = line.length;
  while (end > 0 && (line[end - 1] === " " || line[end - 1] === "\t")) end -= 1;
  for (const match of line.slice(0, end).matchAll(/([ \t]*)([^ \t]+)/g)) {
    let space = match[1].slice(0, PREFERRED_LINE);
    const rest = match[2];
    const taken = lines.length ? 0 : before;
    if (current && taken + current.length + space.length + rest.length > PREFERRED_LINE) {
      lines.push(current);
      current = "";
    }
    let start = 0;
    for (;;) {
      const room = LONGEST_LINE - (lines.length ? 0 : before) - current.length;
      if (space.length + rest.length - start <= room) break;
      const stop = start + Math.max(0, room - space.length);
      lines.push(stop > start ? current + space + rest.slice(start, stop) : current);
      if (stop > start || !space) space = " ";
      start = stop;
      current = "";
    }
    current += space + rest.slice(start);
  }
  return [...lines, current].join("\r\n");
}
