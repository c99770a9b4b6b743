"""An SMTP client that sends exactly the octets it is told to, and reads replies strictly."""

from __future__ import annotations

import re
import socket
import struct
import time
from dataclasses import dataclass, field

#: How long a reply may take unless a test says otherwise.
REPLY_SECONDS = 20.0


@dataclass(frozen=True)
class Reply:
    """One reply: its code, and its lines without code and line end."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def status(self) -> str | None:
        """The enhanced status code, if the text starts with one (RFC 2034)."""
        match = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)", self.lines[0])
        return match[0] if match else None

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400

    def __str__(self) -> str:
        last = len(self.lines) - 1
        return "\n".join(
            f"{self.code}{' ' if index == last else '-'}{line}"
            for index, line in enumerate(self.lines)
        )


class ConnectionClosed(AssertionError):
    """The server closed the connection where a reply was expected."""


def stuffed(message: bytes) -> bytes:
    """`message` as it travels after 354: dots doubled, the end of data behind it.

    RFC 5321 §4.5.2. A last line without CRLF gets one, because the line with the dot needs it.
    """
    if message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@dataclass
class Dialogue:
    """One connection, with everything said on it kept for messages about failure."""

    port: int
    host: str = "127.0.0.1"
    source: str | None = None
    seconds: float = REPLY_SECONDS
    transcript: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.received = bytearray()
        self.began = time.monotonic()
        source = (self.source, 0) if self.source else None
        self.socket = socket.create_connection((self.host, self.port), self.seconds, source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Closes so that the server sees a reset, as if the client had died."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # Sending

    def send(self, octets: bytes) -> None:
        """Writes `octets` as they are."""
        self._note("C", octets)
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError) as error:
            self._note("!", str(error).encode())

    def pieces(self, *pieces: bytes, pause: float = 0.02) -> None:
        """Writes each piece on its own, so that the server reads them one by one."""
        for piece in pieces:
            self.send(piece)
            time.sleep(pause)

    def end_input(self) -> None:
        """Half-closes: the server sees EOF and can still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    # Receiving

    def reply(self, seconds: float | None = None) -> Reply:
        """The next complete reply; its form is checked (RFC 5321 §4.2)."""
        code, lines = None, []
        deadline = time.monotonic() + (self.seconds if seconds is None else seconds)
        while True:
            line = self._line(deadline)
            match = re.fullmatch(rb"(\d{3})([ -])?([^\r\n\0]*)", line)
            if match is None or (code is not None and match[1] != code):
                self.fail(f"{line!r} is not a reply line")
            assert match is not None
            if len(line) > 510:
                self.fail(f"a reply line of {len(line)} octets without its CRLF")
            code = match[1]
            lines.append(match[3].decode("utf-8", "backslashreplace"))
            if match[2] != b"-":
                return Reply(int(code), tuple(lines))

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self.received:
            if not self._receive(deadline):
                what = "a part of a line" if self.received else "nothing"
                message = f"closed by the server after {what}, where a reply was expected"
                raise ConnectionClosed(self.describe(message))
        end = self.received.index(b"\n")
        line = bytes(self.received[: end + 1])
        del self.received[: end + 1]
        self._note("S", line)
        if not line.endswith(b"\r\n"):
            self.fail(f"{line!r} does not end with CRLF")
        return line[:-2]

    def _receive(self, deadline: float) -> bool:
        """Reads what there is; false at EOF."""
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            octets = self.socket.recv(65_536)
        except TimeoutError:
            self.fail("no reply")
        except ConnectionResetError:
            return False
        self.received += octets
        return bool(octets)

    def silence(self, seconds: float) -> None:
        """Asserts that the server says nothing for so long."""
        self.socket.settimeout(seconds)
        try:
            octets = self.socket.recv(65_536) if not self.received else b""
        except TimeoutError:
            return
        self.received += octets
        self.fail(f"said {bytes(self.received)!r} where it should have waited")

    def closed(self, seconds: float | None = None) -> None:
        """Asserts that the server closes without saying anything more."""
        deadline = time.monotonic() + (self.seconds if seconds is None else seconds)
        if self.received or self._receive(deadline):
            self.fail(f"said {bytes(self.received)!r} where it should have closed")
        self._note("S", b"(closed)")

    def drain(self, seconds: float = REPLY_SECONDS) -> bytes:
        """Everything until the server closes."""
        deadline = time.monotonic() + seconds
        while self._receive(deadline):
            pass
        octets = bytes(self.received)
        self.received.clear()
        self._note("S", octets)
        return octets

    # Speaking

    def command(self, line: str | bytes, expect: int | None = None) -> Reply:
        """Sends `line` and CRLF and returns the reply, which must have the code `expect`."""
        octets = line.encode() if isinstance(line, str) else line
        self.send(octets + b"\r\n")
        return self.expect(expect) if expect else self.reply()

    def expect(self, code: int, seconds: float | None = None) -> Reply:
        reply = self.reply(seconds)
        if reply.code != code:
            self.fail(f"{reply.code} where {code} was expected")
        return reply

    def ehlo(self, name: str = "client.example") -> Reply:
        """Reads the banner and says EHLO."""
        self.expect(220)
        return self.command(f"EHLO {name}", 250)

    def envelope(self, sender: str = "bob@example.net", *recipients: str) -> None:
        self.command(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients or ("alice@example.com",):
            self.command(f"RCPT TO:<{recipient}>", 250)

    def data(self, message: bytes, seconds: float | None = None) -> Reply:
        """DATA with `message`, octet for octet."""
        self.command("DATA", 354)
        self.send(stuffed(message))
        return self.reply(seconds)

    def deliver(
        self, message: bytes, sender: str = "bob@example.net", *recipients: str
    ) -> Reply:
        """A transaction that must come to 250."""
        self.envelope(sender, *recipients)
        reply = self.data(message)
        if reply.code != 250:
            self.fail(f"{reply.code} where 250 was expected")
        return reply

    def quit(self) -> None:
        self.command("QUIT", 221)
        self.closed()

    # Failing

    def fail(self, message: str) -> None:
        raise AssertionError(self.describe(message))

    def describe(self, message: str) -> str:
        last = self.transcript[-60:]
        left_out = len(self.transcript) - len(last)
        lines = ([f"    … {left_out} lines before"] if left_out else []) + last
        return "\n".join([message, f"  dialogue with {self.host}:{self.port}:", *lines])

    def _note(self, who: str, octets: bytes) -> None:
        moment = f"{time.monotonic() - self.began:7.3f}"
        lines = octets[:400].splitlines(keepends=True)[:8] or [b""]
        shown = sum(len(line) for line in lines)
        for line in lines:
            text = line.removesuffix(b"\r\n") if line.endswith(b"\r\n") else line
            mark = "" if line.endswith(b"\r\n") or who != "C" else " (no CRLF)"
            escaped = text.decode("latin-1").encode("unicode_escape").decode()
            self.transcript.append(f"    {moment} {who}: {escaped[:300]}{mark}")
        if shown < len(octets):
            self.transcript.append(f"    {moment} {who}: … {len(octets) - shown} octets more")
