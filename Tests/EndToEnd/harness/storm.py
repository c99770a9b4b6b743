"""Many SMTP sessions at once, every message with a token of its own, every reply remembered.

One selector loop: cheap enough that the client is not what is measured.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field

#: A session that gets no octet for so long is a session that hangs.
STALL_SECONDS = 30.0


@dataclass
class Result:
    """What became of each token: the codes of its tries, in order."""

    accepted: set[str] = field(default_factory=set)
    #: Tokens whose end of data was answered with 4yz at least once.
    deferred: set[str] = field(default_factory=set)
    replies: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        return (
            f"{len(self.accepted)} accepted in {self.seconds:.1f} s, {len(self.deferred)} deferred"
            f" at least once, replies {dict(sorted(self.replies.items()))}"
        )


class _Session:
    """One connection that sends its messages one after the other, each until it is accepted."""

    def __init__(self, port: int, tokens: list[str], size: int, result: Result) -> None:
        self.port, self.size, self.result = port, size, result
        self.tokens = tokens[::-1]
        self.expects: list[str] = []
        self.seen: list[int] = []
        self.buffer = b""
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), 10)
        self.socket.setblocking(False)
        self.buffer = b""
        self.expects, self.seen = ["banner"], []
        self.heard = time.monotonic()

    @property
    def token(self) -> str:
        return self.tokens[-1]

    def readable(self) -> bool:
        """Reads and goes on; false once there is nothing more to do."""
        try:
            octets = self.socket.recv(65_536)
        except (BlockingIOError, InterruptedError):
            return True
        except ConnectionResetError:
            octets = b""
        if not octets:
            if self.tokens:
                self.result.problems.append(
                    f"closed without a reply while {self.expects} was expected, {self.token}"
                )
            return False
        self.heard = time.monotonic()
        self.buffer += octets
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            if line[3:4] != b"-" and not self.replied(int(line[:3]), line):
                return False
        return True

    def replied(self, code: int, line: bytes) -> bool:
        self.result.replies[code] = self.result.replies.get(code, 0) + 1
        if not self.expects:
            self.result.problems.append(f"a reply to nothing: {line!r}")
            return False
        if code == 421:
            self.result.problems.append(f"the session was ended: {line!r}")
            return False
        what = self.expects.pop(0)
        self.seen.append(code)
        if what == "banner":
            self.say(b"EHLO storm.example\r\n", "ehlo")
        elif what == "ehlo":
            if code >= 400:
                self.say(b"EHLO storm.example\r\n", "ehlo")
            else:
                self.begin()
        elif what == "data":
            self.data(code)
        elif what == "end":
            self.ended(code, line)
        elif what == "rset":
            self.begin()
        return what != "quit"

    def begin(self) -> None:
        """The next envelope in one write (RFC 2920), or QUIT."""
        if not self.tokens:
            self.say(b"QUIT\r\n", "quit")
            return
        self.seen = []
        self.say(
            b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n",
            *("mail", "rcpt", "data"),
        )

    def data(self, code: int) -> None:
        if code == 354:
            text = f"Subject: {self.token}\r\n\r\n".encode()
            self.say(text + b"x" * 70 + b"\r\n" * 1 + self.filler() + b".\r\n", "end")
        elif any(400 <= each < 500 for each in self.seen):
            self.say(b"RSET\r\n", "rset")
        else:
            self.result.problems.append(f"replies {self.seen} to an envelope")
            self.tokens.clear()
            self.say(b"QUIT\r\n", "quit")

    def filler(self) -> bytes:
        return (b"y" * 70 + b"\r\n") * (self.size // 72)

    def ended(self, code: int, line: bytes) -> None:
        if code == 250:
            self.result.accepted.add(self.tokens.pop())
        elif 400 <= code < 500:
            self.result.deferred.add(self.token)
        else:
            self.result.problems.append(f"{line!r} at the end of {self.token}")
            self.tokens.pop()
        self.begin()

    def say(self, octets: bytes, *expects: str) -> None:
        self.expects += expects
        view = memoryview(octets)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                return


def storm(
    port: int,
    sessions: int,
    messages: int,
    size: int = 2_000,
    prefix: str = "token",
    seconds: float = 120,
) -> Result:
    """Sends `messages` messages on each of `sessions` connections, all at the same time.

    A message that is answered 4yz is sent again until it is accepted. Nothing is raised: what went
    wrong is in the result.
    """
    result = Result()
    began = time.monotonic()
    selector = selectors.DefaultSelector()
    for number in range(sessions):
        tokens = [f"{prefix}-{number}-{index}" for index in range(messages)]
        session = _Session(port, tokens, size, result)
        selector.register(session.socket, selectors.EVENT_READ, session)
    while selector.get_map():
        for key, _ in selector.select(1):
            if not key.data.readable():
                selector.unregister(key.fileobj)
                key.data.socket.close()
        now = time.monotonic()
        for key in list(selector.get_map().values()):
            if now - key.data.heard > STALL_SECONDS or now - began > seconds:
                result.problems.append(f"no reply to {key.data.expects} for {key.data.token}")
                selector.unregister(key.fileobj)
                key.data.socket.close()
    selector.close()
    result.seconds = time.monotonic() - began
    return result
