"""Clients that behave well and badly at the same time: broken dialogues, resets, half-closes, floods, slow octets."""

from __future__ import annotations

import collections
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .program import Program
from .smtp import Dialogue

MESSAGE = b"From: <bob@example.net>\r\nSubject: mixed\r\n\r\n" + b"a line of text\r\n" * 20

#: What a client says in an ordinary transaction, the groups that it sends at once.
DIALOGUE = (
    b"EHLO client.example\r\n",
    b"MAIL FROM:<bob@example.net>\r\n",
    b"RCPT TO:<alice@example.com>\r\nRCPT TO:<none@elsewhere.example>\r\n",
    b"DATA\r\n",
    MESSAGE + b".\r\n",
    b"QUIT\r\n",
)

#: Octets that mean something to SMTP, to TLS or to a parser.
ODD = (b"\r", b"\n", b"\0", b"\r\n.\r\n", b"\n.\n", b"..", b"<>", b":", b"\xff\xfe", b"\x16\x03\x01\x02\0", b"STARTTLS\r\n",
       b"AUTH PLAIN ", b"BDAT 5 LAST\r\n", b"RSET\r\n", b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 1.2.3.4 ", b" " * 600)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What the frontend held at one moment."""

    seconds: float
    octets: int
    descriptors: int
    sessions: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:7.1f} s  {self.octets / 1048576:7.1f} MiB  {self.descriptors:5} descriptors"
            f"  {self.sessions:8} sessions so far"
        )


class MixedTraffic:
    """Some threads that each play one client after the other, of a kind drawn at random."""

    def __init__(self, port: int, seed: int = 1, threads: int = 6) -> None:
        self.port = port
        self.counts: collections.Counter[str] = collections.Counter()
        self.accepted = 0
        self.problems: list[str] = []
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}-{number}"),), daemon=True)
            for number in range(threads)
        ]

    KINDS: tuple[tuple[str, int], ...] = (
        ("honest", 4), ("fuzzed", 6), ("noise", 2), ("reset", 4), ("half_closed", 3), ("flood", 1), ("unread", 1),
        ("slow", 1), ("handshake", 2),
    )  # fmt: skip

    def run(self, frontend: Program, seconds: float, interval: float) -> list[Sample]:
        """Plays for so long, and looks at the frontend after each interval."""
        began = time.monotonic()
        samples = []
        for thread in self.threads:
            thread.start()
        while time.monotonic() - began < seconds:
            time.sleep(min(interval, max(0.0, began + seconds - time.monotonic())))
            sample = Sample(
                time.monotonic() - began,
                frontend.resident_octets(),
                len(frontend.descriptors()),
                sum(self.counts.values()),
            )
            samples.append(sample)
            print(sample, flush=True)
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        return samples

    def _run(self, draw: random.Random) -> None:
        kinds, weights = zip(*self.KINDS, strict=True)
        while not self.over.is_set():
            kind = draw.choices(kinds, weights)[0]
            client: Callable[[random.Random], None] = getattr(self, f"_{kind}")
            try:
                client(draw)
            except OSError:
                # A server may refuse and reset such a client; an honest client is told otherwise.
                pass
            except AssertionError as error:
                with self.lock:
                    self.problems.append(f"{kind}: {error}")
            with self.lock:
                self.counts[kind] += 1

    # Kinds

    def _honest(self, draw: random.Random) -> None:
        """A whole session, which nothing around it may hurt."""
        try:
            with Dialogue(self.port, seconds=60) as client:
                client.ehlo()
                for _ in range(draw.randint(1, 3)):
                    client.deliver(MESSAGE)
                    with self.lock:
                        self.accepted += 1
                client.quit()
        except OSError as error:
            raise AssertionError(f"an honest client lost its connection: {error}") from error

    def _fuzzed(self, draw: random.Random) -> None:
        """A transaction in which octets are missing, doubled, changed or foreign."""
        with self._connected() as client:
            for group in DIALOGUE:
                octets = bytearray(group)
                for _ in range(draw.choice((0, 0, 1, 1, 2, 5))):
                    at = draw.randrange(len(octets) + 1)
                    how = draw.randrange(4)
                    if how == 0:
                        octets[at:at] = draw.choice(ODD)
                    elif how == 1:
                        del octets[at : at + draw.randint(1, 8)]
                    elif how == 2 and at < len(octets):
                        octets[at] = draw.randrange(256)
                    else:
                        octets[at:at] = octets[max(0, at - 20) : at]
                client.sendall(octets)
                self._read(client, 0.02)

    def _noise(self, draw: random.Random) -> None:
        with self._connected() as client:
            for _ in range(draw.randint(1, 5)):
                client.sendall(draw.randbytes(draw.choice((1, 100, 5_000))))
                self._read(client, 0.02)

    def _reset(self, draw: random.Random) -> None:
        """A client that dies in the middle."""
        with self._connected() as client:
            for group in DIALOGUE[: draw.randint(0, len(DIALOGUE))]:
                client.sendall(group)
                if draw.random() < 0.7:
                    self._read(client, 0.02)
            client.sendall(DIALOGUE[-2][: draw.randrange(len(DIALOGUE[-2]))])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _half_closed(self, draw: random.Random) -> None:
        """A client that ends its input and goes on reading."""
        with self._connected() as client:
            octets = b"".join(DIALOGUE)
            client.sendall(octets[: draw.randrange(len(octets))])
            client.shutdown(socket.SHUT_WR)
            while client.recv(65_536):
                pass

    def _flood(self, draw: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(draw.randint(10, 60)):
                stack.enter_context(self._connected())
            time.sleep(draw.random() * 0.1)

    def _unread(self, draw: random.Random) -> None:
        """Thousands of commands from a client that reads no reply."""
        with self._connected() as client:
            client.settimeout(0.3)
            client.sendall(b"EHLO client.example\r\n" + draw.choice((b"HELP\r\n", b"VRFY a\r\n", b"RSET\r\n")) * 5_000)

    def _slow(self, draw: random.Random) -> None:
        with self._connected() as client:
            octets = b"".join(DIALOGUE)[: draw.randint(10, 60)]
            for octet in octets:
                client.sendall(bytes([octet]))
                time.sleep(0.02)

    def _handshake(self, draw: random.Random) -> None:
        """STARTTLS, and then no handshake, half a one, or none at all."""
        with self._connected() as client:
            client.sendall(b"EHLO client.example\r\n")
            self._read(client, 0.02)
            client.sendall(b"STARTTLS\r\n")
            self._read(client, 0.02)
            client.sendall(draw.choice((b"", b"EHLO x\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc", draw.randbytes(300))))
            self._read(client, 0.02)

    # Parts

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    @staticmethod
    def _read(client: socket.socket, seconds: float) -> None:
        """What comes within so long."""
        client.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            client.recv(65_536)
        client.settimeout(20)
