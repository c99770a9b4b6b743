"""The fenced blocks of the documents, and how each is tested.

The words after the three backticks say it:

  sh                   run in the repository's root, in order; must end with 0
  sh background        started there; the next block waits for its `ready` line; ended by SIGTERM
  sh installed         run with $DESTDIR, and with the programs of Tests/Documentation/bin first in PATH
  sh elsewhere="..."   not run here; the text says by what it is
  toml frontend        a whole frontend.toml: `gatepost check` takes it
  toml worker          a whole worker.toml: the same
  plugins              a whole config/plugins: the same
  LANGUAGE file=PATH   stands word for word in that file, which other tests build and run
  text                 nothing to run
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(.*)$")


@dataclasses.dataclass
class Block:
    file: str
    line: int
    words: str
    text: str

    @property
    def language(self):
        return self.words.split()[0] if self.words else ""

    @property
    def place(self):
        return f"{self.file}:{self.line}"


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path):
    found, start, words, lines = [], None, "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = FENCE.match(line)
        if match and start is None:
            start, words, lines = number, match.group(1).strip(), []
        elif match:
            found.append(Block(str(path.relative_to(ROOT)), start, words, "\n".join(lines) + "\n"))
            start = None
        elif start is not None:
            lines.append(line)
    assert start is None, f"{path}:{start}: the block is not closed"
    return found


ALL = {path: blocks(path) for path in documents()}
