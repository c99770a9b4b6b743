"""Many SMTP sessions at once, every message with a token of its own, every reply remembered.

It is one selector loop, cheap enough that the server is measured and not the client.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A session that gets no octet for so long is a session that hangs.
STALL_SECONDS = 30.0
#: How often a client tries one message, and how long it waits longer before each try.
TRIES, PAUSE_SECONDS = 40, 0.01


@dataclass
class Result:
    """What became of each token: the codes of its tries, in order."""

    accepted: set[str] = field(default_factory=set)
    #: Tokens whose end of data was answered with 4yz at least once.
    deferred: set[str] = field(default_factory=set)
    #: Tokens that were refused with 4yz so often that their client gave up.
    given_up: set[str] = field(default_factory=set)
    replies: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        return (
            f"{len(self.accepted)} accepted in {self.seconds:.1f} s, {len(self.deferred)} deferred"
            f" at least once, {len(self.given_up)} given up,"
            f" replies {dict(sorted(self.replies.items()))}"
        )


class _Session:
    """One client that sends its messages one after the other, each until it is accepted.

    Each client has an address, a name and senders of its own, as in life.
    """

    def __init__(self, port: int, number: int, tokens: Iterator[str], size: int, result: Result, may_end: bool):
        self.port, self.size, self.result, self.may_end = port, size, result, may_end
        self.number = number
        self.tokens = tokens
        self.tries = 0
        #: When to go on after a refusal.
        self.resumes: float | None = None
        self.token: str | None = next(tokens, None)
        self.connect()

    def connect(self) -> None:
        source = (f"127.0.{1 + self.number // 200}.{1 + self.number % 200}", 0)
        self.socket = socket.create_connection(("127.0.0.1", self.port), 10, source)
        self.socket.setblocking(False)
        self.buffer = b""
        self.expects: list[str] = ["banner"]
        self.seen: list[int] = []
        self.heard = time.monotonic()

    def again(self) -> None:
        """Tries the same message once more, a little later each time; gives up in the end."""
        self.tries += 1
        if self.tries >= TRIES and self.token is not None:
            self.result.given_up.add(self.token)
            self.next()
        self.resumes = time.monotonic() + PAUSE_SECONDS * self.tries

    def next(self) -> None:
        self.tries = 0
        self.token = next(self.tokens, None)

    def readable(self) -> str:
        """Reads and goes on; `over` once there is nothing more to do, `again` to connect again."""
        try:
            octets = self.socket.recv(65_536)
        except (BlockingIOError, InterruptedError):
            return "on"
        except ConnectionResetError:
            octets = b""
        if not octets:
            waiting = f"{self.expects} was expected, {self.token}"
            self.result.problems.append(f"closed without a reply while {waiting}")
            return "over"
        self.heard = time.monotonic()
        self.buffer += octets
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            if line[3:4] != b"-":
                state = self.replied(int(line[:3]), line)
                if state != "on":
                    return state
        return "on"

    def replied(self, code: int, line: bytes) -> str:
        self.result.replies[code] = self.result.replies.get(code, 0) + 1
        if not self.expects:
            self.result.problems.append(f"a reply to nothing: {line!r}")
            return "over"
        if code == 421:
            if self.may_end:
                if self.expects[0] == "end" and self.token:
                    self.result.deferred.add(self.token)
                self.again()
                return "again" if self.token is not None else "over"
            self.result.problems.append(f"the session was ended: {line!r}")
            return "over"
        what = self.expects.pop(0)
        self.seen.append(code)
        if what == "banner":
            self.hello()
        elif what == "ehlo":
            if code >= 400:
                self.again()
            else:
                self.begin()
        elif what == "data":
            self.data(code)
        elif what == "end":
            self.ended(code, line)
        elif what == "rset":
            self.again()
        return "over" if what == "quit" else "on"

    def hello(self) -> None:
        self.is_greeted = False
        self.say(f"EHLO storm{self.number}.example\r\n".encode(), "ehlo")

    def go_on(self) -> None:
        """After a pause."""
        self.resumes = None
        self.begin() if self.is_greeted else self.hello()

    def begin(self) -> None:
        """The next envelope in one write (RFC 2920), or QUIT."""
        self.is_greeted = True
        if self.token is None:
            self.say(b"QUIT\r\n", "quit")
            return
        self.seen = []
        envelope = f"MAIL FROM:<{self.token}@example.net>\r\nRCPT TO:<{self.token}@example.com>\r\n"
        self.say(envelope.encode() + b"DATA\r\n", "mail", "rcpt", "data")

    def data(self, code: int) -> None:
        if code == 354:
            text = f"Subject: {self.token}\r\n\r\n".encode()
            self.say(text + (b"y" * 70 + b"\r\n") * (self.size // 72) + b".\r\n", "end")
        elif any(400 <= each < 500 for each in self.seen):
            self.say(b"RSET\r\n", "rset")
        else:
            self.result.problems.append(f"replies {self.seen} to an envelope")
            self.token = None
            self.say(b"QUIT\r\n", "quit")

    def ended(self, code: int, line: bytes) -> None:
        assert self.token is not None
        if code == 250:
            self.result.accepted.add(self.token)
            self.next()
        elif 400 <= code < 500:
            self.result.deferred.add(self.token)
            self.again()
            return
        else:
            self.result.problems.append(f"{line!r} at the end of {self.token}")
            self.next()
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
    messages: int | float,
    size: int = 2_000,
    prefix: str = "token",
    seconds: float = 120,
    may_end: bool = False,
    result: Result | None = None,
) -> Result:
    """Sends mail on so many connections at the same time.

    `messages` is how many on each connection, as an int, or for how many seconds, as a float. A
    message that is answered 4yz is sent again until it is accepted. With `may_end` a 421 is an
    answer like another, and the client connects again. Nothing is raised: what went wrong is in the
    result. Another thread may look at `result` meanwhile.
    """
    result = result or Result()
    began = time.monotonic()

    def tokens(session: int) -> Iterator[str]:
        for index in itertools.count():
            if isinstance(messages, int) and index >= messages:
                return
            if isinstance(messages, float) and time.monotonic() - began > messages:
                return
            yield f"{prefix}-{session}-{index}"

    selector = selectors.DefaultSelector()
    for number in range(sessions):
        session = _Session(port, number, tokens(number), size, result, may_end)
        selector.register(session.socket, selectors.EVENT_READ, session)
    waiting: list[_Session] = []
    while selector.get_map() or waiting:
        for key, _ in selector.select(0.02 if waiting else 0.2):
            state = key.data.readable()
            if state == "on":
                continue
            selector.unregister(key.fileobj)
            key.data.socket.close()
            if state == "again":
                waiting.append(key.data)
        now = time.monotonic()
        for session in [each for each in waiting if now >= (each.resumes or 0)]:
            waiting.remove(session)
            session.resumes = None
            session.connect()
            selector.register(session.socket, selectors.EVENT_READ, session)
        for key in list(selector.get_map().values()):
            session = key.data
            if session.resumes is not None:
                if now >= session.resumes:
                    session.heard = now
                    session.go_on()
            elif now - session.heard > STALL_SECONDS or now - began > seconds:
                result.problems.append(f"no reply to {session.expects} for {session.token}")
                selector.unregister(key.fileobj)
                session.socket.close()
        if now - began > seconds:
            break
    selector.close()
    result.seconds = time.monotonic() - began
    return result
