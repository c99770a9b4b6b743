r"""Dialogues: readable `*.smtp` files, played against a server octet by octet.

A file opens with a comment that says which behaviour it shows and where that is written. Then:

    @ limits.max_errors = 3     a key of frontend.toml; `listener.` and `pool.` are the first ones
    @ plugin earlytalker        a line of config/plugins, above the ones that deliver
    @ messages = 1              how many messages are in the Maildir afterwards; default 0

    C: EHLO client.example      the client sends this line and CRLF
    C~ hello\n.\r\n{a*998}      the client sends exactly these octets; \r \n \t \0 \xHH \\ \{ and
                                {octets*count} are understood
    C1 MAIL FROM:<a@b>\r\n      the same, each octet in a write of its own
    C|                          the client closes its half of the connection
    S: 250 2.1.0 Ok             the server's reply is this, line for line
    S~ 5[0-9][0-9]              the server's reply starts with what matches this expression
    S.                          the server closes, having said nothing more
    S? 0.3                      the server says nothing for 0.3 s
    W 0.3                       the client waits 0.3 s
    M~ Subject: x\r\n\r\n       the only message in the Maildir, without Gatepost's own lines, is
                                this; several of these lines are one message
"""

from __future__ import annotations

import ast
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .gatepost import DELIVERING, Gatepost
from .smtp import Dialogue


@dataclass
class Script:
    """One dialogue file."""

    path: Path
    settings: list[tuple[str, Any]] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    messages: int = 0
    steps: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def configuration(self) -> str:
        """Equal for scripts that one server can play."""
        return repr((self.settings, self.plugins))

    def configure(self, gatepost: Gatepost) -> None:
        gatepost.plugins(*self.plugins, *DELIVERING)
        for key, value in self.settings:
            *path, last = key.split(".")
            table = gatepost.frontend_toml
            for word in path:
                table = table.setdefault(word, {})
                table = table[0] if isinstance(table, list) else table
            table[last] = value

    def play(self, gatepost: Gatepost) -> None:
        """Plays the dialogue; the Maildir is emptied before."""
        gatepost.maildir.clear()
        expected: bytes | None = None
        number = 0
        with Dialogue(gatepost.port) as client:
            try:
                for number, step, text in self.steps:
                    if step == "M~":
                        expected = (expected or b"") + octets(text)
                    else:
                        _PLAY[step](client, text)
                self._check(client, gatepost, expected)
            except AssertionError as error:
                raise AssertionError(f"{self.path.name}:{number}: {error}") from None

    def _check(self, client: Dialogue, gatepost: Gatepost, expected: bytes | None) -> None:
        if len(gatepost.maildir) != self.messages:
            client.fail(f"{len(gatepost.maildir)} messages delivered, not {self.messages}")
        if expected is not None:
            delivered = gatepost.maildir.only().original
            if delivered != expected:
                client.fail(f"delivered {delivered!r}, expected {expected!r}")


def read(path: Path) -> Script:
    """Reads a dialogue file; a line it does not understand is an error."""
    script = Script(path)
    lines = path.read_text("utf-8").splitlines()
    if not lines or not lines[0].startswith("#"):
        raise ValueError(f"{path}:1: a dialogue opens with a comment that says what it shows")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@"):
            _setting(script, line[1:].strip(), number)
            continue
        step, _, text = line.partition(" ")
        if step not in _PLAY and step != "M~":
            raise ValueError(f"{path}:{number}: {step!r} is no step of a dialogue")
        previous = script.steps[-1] if script.steps else None
        if step == "S:" and previous and previous[1] == "S:":
            if re.search(r"^\d{3}-[^\n]*\Z", previous[2], re.MULTILINE):
                script.steps[-1] = (previous[0], step, previous[2] + "\n" + text)
                continue
        script.steps.append((number, step, text))
    return script


def _setting(script: Script, text: str, number: int) -> None:
    if text.startswith("plugin "):
        script.plugins.append(text.removeprefix("plugin ").strip())
        return
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"{script.path}:{number}: neither `@ key = value` nor `@ plugin line`")
    parsed = {"true": True, "false": False}.get(value)
    parsed = ast.literal_eval(value) if parsed is None else parsed
    if key == "messages":
        script.messages = parsed
    else:
        script.settings.append((key, parsed))


_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "{": b"{"}
_TOKEN = re.compile(
    r"\\x(?P<hex>[0-9A-Fa-f]{2})|\\(?P<escape>.)|\{(?P<what>(?:\\.|[^{}\\])+)\*(?P<count>\d+)\}"
)


def octets(text: str) -> bytes:
    r"""The octets that `text` stands for, as `C~` reads them."""
    result, position = b"", 0
    for match in _TOKEN.finditer(text):
        result += text[position : match.start()].encode()
        position = match.end()
        if match["hex"]:
            result += bytes([int(match["hex"], 16)])
        elif match["escape"]:
            result += _ESCAPES[match["escape"]]
        else:
            result += octets(match["what"]) * int(match["count"])
    return result + text[position:].encode()


def _exactly(client: Dialogue, text: str) -> None:
    reply = client.reply()
    if str(reply) != text:
        client.fail(f"replied {str(reply)!r}, expected {text!r}")


def _matching(client: Dialogue, text: str) -> None:
    reply = client.reply()
    if not re.match(text, str(reply)):
        client.fail(f"replied {str(reply)!r}, expected what matches /{text}/")


_PLAY = {
    "C:": lambda client, text: client.send(text.encode() + b"\r\n"),
    "C~": lambda client, text: client.send(octets(text)),
    "C1": lambda client, text: client.pieces(*(bytes([o]) for o in octets(text)), pause=0.002),
    "C|": lambda client, text: client.end_input(),
    "S:": _exactly,
    "S~": _matching,
    "S.": lambda client, text: client.closed(),
    "S?": lambda client, text: client.silence(float(text)),
    "W": lambda client, text: time.sleep(float(text)),
}
