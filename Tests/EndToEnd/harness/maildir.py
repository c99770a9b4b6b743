"""Reading what `queue/maildir` delivered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .waiting import wait_until

#: One header field, folded lines included.
_FIELD = rb"[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*\r?\n"


@dataclass(frozen=True)
class Delivered:
    """One file in `new`."""

    path: Path
    octets: bytes

    @property
    def added(self) -> bytes:
        """Gatepost's own lines at the top: Return-Path, Delivered-To, and one Received."""
        return self.octets[: self._border()]

    @property
    def original(self) -> bytes:
        """What follows Gatepost's own lines: the message as the client sent it."""
        return self.octets[self._border() :]

    def _border(self) -> int:
        position, has_received = 0, False
        pattern = re.compile(rb"(Return-Path|Delivered-To|Received):" + _FIELD)
        while match := pattern.match(self.octets, position):
            if match[1] == b"Received":
                if has_received:
                    break
                has_received = True
            elif has_received:
                break
            position = match.end()
        if not has_received:
            raise AssertionError(f"no Received on top of {self.path}: {self.octets[:300]!r}")
        return position

    def header(self, name: str) -> list[bytes]:
        """The values of a field, in order, folding kept, without the line end."""
        section = re.split(rb"\r?\n\r?\n", self.octets, maxsplit=1)[0] + b"\r\n"
        found = re.findall(
            rb"^" + name.encode() + rb":[ \t]?(" + _FIELD + rb")",
            section,
            re.MULTILINE | re.IGNORECASE,
        )
        return [value.rstrip(b"\r\n") for value in found]


class Maildir:
    """A folder with `tmp`, `new` and `cur`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        """Everything in `new`, oldest name first."""
        try:
            return sorted(path for path in (self.path / "new").iterdir())
        except FileNotFoundError:
            return []

    def unfinished(self) -> list[Path]:
        """The files in `tmp`; there are none while no delivery is under way."""
        try:
            return sorted((self.path / "tmp").iterdir())
        except FileNotFoundError:
            return []

    def __len__(self) -> int:
        return len(self.files())

    def messages(self) -> list[Delivered]:
        return [Delivered(path, path.read_bytes()) for path in self.files()]

    def only(self) -> Delivered:
        """The one message in it. It is there as soon as the client got 250, so this does not wait."""
        messages = self.messages()
        if len(messages) != 1:
            raise AssertionError(f"{len(messages)} messages in {self.path}, not one")
        return messages[0]

    def take(self, seconds: float = 10) -> Delivered:
        """Waits for one message and removes it: for clients that do not tell when they are done."""
        wait_until(self.files, seconds, f"a message in {self.path}")
        message = self.only()
        message.path.unlink()
        return message

    def clear(self) -> None:
        for path in self.files():
            path.unlink()
