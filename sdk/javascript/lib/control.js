// Control files, read live: comments, `$include`, and the last good content if one cannot be read any more.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";

/** How deep `$include` may nest. */
const DEEPEST = 16;

function stampOf(path) {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
  } catch {
    return null;
  }
}

/** Reads one file with everything that it includes. */
class Reader {
  constructor(folders) {
    this.folders = folders;
    this.stamps = new Map();
    this.lines = [];
    this.open = [];
  }

  find(name) {
    const paths = isAbsolute(name) ? [name] : this.folders.map((folder) => join(folder, name));
    for (const path of paths) {
      this.stamps.set(path, stampOf(path));
      if (this.stamps.get(path) !== null) return path;
    }
    return null;
  }

  read(path) {
    const { dev, ino } = statSync(path);
    const id = `${dev}:${ino}`;
    if (this.open.includes(id)) throw new Error(`${path} includes itself: remove this $include`);
    if (this.open.length >= DEEPEST) throw new Error(`${path}: includes nest over ${DEEPEST}: remove this $include`);
    this.open.push(id);
    let text;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
    } catch (error) {
      throw new Error(`${path}: ${error.code ? error.message : "not UTF-8: save the file as UTF-8"}`);
    }
    text.split("\n").forEach((raw, index) => {
      const line = raw.replace(/^[ \t\v\f\r]+|[ \t\v\f\r]+$/g, "");
      if (line === "" || line.startsWith("#")) return;
      const [word, ...rest] = line.split(/[ \t]+/);
      if (word === "$include") this.include(rest.join(" "), `${path}:${index + 1}`);
      else this.lines.push(line);
    });
    this.open.pop();
  }

  include(name, place) {
    if (name === "") throw new Error(`${place}: $include without a name: name a control file`);
    if (name.split("/").includes("..")) throw new Error(`${place}: $include ${name} has .. in it: name a control file, or an absolute path`);
    const path = this.find(name);
    if (path === null) throw new Error(`${place}: $include ${name}: no such file: make the file, or remove the line`);
    if (!statSync(path).isDirectory()) {
      this.read(path);
      return;
    }
    const names = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name);
    for (const file of names.sort()) {
      this.stamps.set(join(path, file), stampOf(join(path, file)));
      this.read(join(path, file));
    }
  }
}

/**
 * A control file such as `badmailfrom`, read again when it changes.
 *
 * Empty lines and lines that begin with `#` are left out, white space at both ends is trimmed, and `$include NAME`
 * stands for the lines of another file, or of the files of a folder in order of their names. A file that is not there
 * has no lines. A file that cannot be read or parsed any more keeps its last good content, and `onError` is told once.
 */
export class ControlFile {
  #stamps = null;
  #value;
  #lines = [];
  #isPresent = false;
  #reported = null;

  constructor(name, { folder = "config", parse = (lines) => lines, onError = (error) => process.stderr.write(`ERROR gatepost: ${error.message}\n`) } = {}) {
    if (name.split("/").includes("..")) throw new TypeError(`a control file's name has no ..: ${JSON.stringify(name)}`);
    this.name = name;
    this.folders = Array.isArray(folder) ? folder : [folder];
    this.parse = parse;
    this.onError = onError;
    this.#value = parse([]);
    const error = this.#look();
    if (error) throw error; // at the start a file that is wrong is an error; later its last good content counts
  }

  /** What `parse` made of the lines; without `parse`, the lines. */
  get value() {
    this.#refresh();
    return this.#value;
  }

  /** The lines of the file as it is now. */
  get lines() {
    this.#refresh();
    return this.#lines;
  }

  /** The first line, for files of one value; null if there is none. */
  get first() {
    return this.lines[0] ?? null;
  }

  /** Whether there is such a file. */
  get isPresent() {
    this.#refresh();
    return this.#isPresent;
  }

  /** The first words of the lines. */
  get words() {
    return this.lines.map((line) => line.split(/[ \t]+/)[0]);
  }

  /** Whether a line begins with this word, compared without case. */
  has(word) {
    const wanted = word.toLowerCase();
    return this.words.some((found) => found.toLowerCase() === wanted);
  }

  #refresh() {
    const error = this.#look();
    if (error && error.message !== this.#reported) {
      this.#reported = error.message;
      this.onError(error);
    }
  }

  /** Reads the file if it changed; the error if that failed. */
  #look() {
    if (this.#stamps && [...this.#stamps].every(([path, stamp]) => stampOf(path) === stamp)) return null;
    const reader = new Reader(this.folders);
    try {
      const path = reader.find(this.name);
      if (path !== null) reader.read(path);
      const value = this.parse(reader.lines);
      this.#value = value;
      this.#lines = reader.lines;
      this.#isPresent = path !== null;
      this.#reported = null;
      return null;
    } catch (error) {
      return error;
    } finally {
      this.#stamps = reader.stamps;
    }
  }
}
