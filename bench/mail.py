"""Mail as it comes, and a client that sends it through a proxy, so that each session has a client's address of its own."""

from __future__ import annotations

import base64
import itertools
import queue
import random
import socket
import threading
import time
from dataclasses import dataclass, field

FIELDS = (
    "Return-Path: <bob@example.net>\r\n"
    "Received: from app.example.net (app.example.net [198.51.100.1])\r\n\tby mx.example.net with ESMTPS id 4711abc;"
    "\r\n\tMon, 30 Nov 2026 06:00:00 +0000\r\n"
    "Date: Mon, 30 Nov 2026 06:00:00 +0000\r\nFrom: =?utf-8?q?Bob_Gr=C3=BCn?= <bob@example.net>\r\n"
    "To: Alice <alice@example.com>\r\nSubject: Minutes of the meeting on Monday\r\n"
    "Message-ID: <4711.abc@example.net>\r\nMIME-Version: 1.0\r\n"
)
WORDS = "the meeting of our team begins at nine and we shall talk about plans costs people machines travel".split()


def _text(octets: int) -> str:
    words = random.Random(1)
    lines, size = [], 0
    while size < octets:
        line = " ".join(words.choice(WORDS) for _ in range(11)) + "\r\n"
        lines.append(line)
        size += len(line)
    return "".join(lines)


def _html(octets: int) -> str:
    part = '<tr><td style="padding:4px"><a href="https://www{n}.example.org/offer?id={n}">Offer {n}</a></td><td>{text}</td></tr>\r\n'
    rows = [part.format(n=number % 8, text=_text(60).strip()) for number in range(octets // 210)]
    return "<html><body><table>\r\n" + "".join(rows) + "</table></body></html>\r\n"


def _multipart(*parts: str) -> bytes:
    body = "".join(f"--part\r\n{part}" for part in parts)
    return f'{FIELDS}Content-Type: multipart/mixed; boundary="part"\r\n\r\n{body}--part--\r\n'.encode()


def _attached(octets: int) -> str:
    content = base64.encodebytes(random.Random(2).randbytes(octets * 3 // 4)).decode().replace("\n", "\r\n")
    return (
        'Content-Type: application/pdf; name="plan.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="plan.pdf"\r\n\r\n{content}'
    )


PLAIN = "Content-Type: text/plain; charset=utf-8\r\n\r\n"
#: By name: a text of 2 kB, HTML of 30 kB with links, and an attachment of 1 MB.
MAIL = {
    "text": f"{FIELDS}{PLAIN}{_text(1_450)}See https://www.example.org/plan\r\n".encode(),
    "html": _multipart(PLAIN + _text(1_500), "Content-Type: text/html; charset=utf-8\r\n\r\n" + _html(28_000)),
    "attachment": _multipart(PLAIN + _text(1_500), _attached(1_000_000)),
}


@dataclass
class Session:
    """What a client says; one message each."""

    message: bytes
    hello: str = "EHLO"
    login: bool = False
    #: How many addresses clients have, 198.51.100.1 and so on; 0: each another one of 198.18.0.0/15, and a sender's
    #: domain of its own as well.
    addresses: int = 50
    #: Whether each message names another domain than example.org.
    names: bool = False
    numbers: itertools.count = field(default_factory=itertools.count)

    def send(self, port: int, strict: bool) -> None:
        """One session. Not `strict`: a refusal ends it, and is no error."""
        number = next(self.numbers)
        sender = "example.net" if self.addresses else f"n{number}.example.net"
        address = f"198.51.100.{1 + number % self.addresses}" if self.addresses else f"198.18.{number // 256 % 256}.{number % 256}"
        message = self.message.replace(b"example.org", b"n%d.org" % number) if self.names else self.message
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as replies:

                def say(octets: bytes, *codes: int) -> None:
                    connection.sendall(octets)
                    line = replies.readline()
                    while line[3:4] == b"-":
                        line = replies.readline()
                    if int(line[:3] or 0) not in codes:
                        raise Refused(f"{octets[:40]!r}: {line!r}")

                try:
                    say(f"PROXY TCP4 {address} 192.0.2.250 4711 25\r\n".encode(), 220)
                    say(f"{self.hello} mail.example.net\r\n".encode(), 250)
                    if self.login:
                        say(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret") + b"\r\n", 235, 535)
                    say(f"MAIL FROM:<bob@{sender}>\r\n".encode(), 250)
                    say(b"RCPT TO:<alice@example.com>\r\n", 250)
                    say(b"DATA\r\n", 354)
                    say(message + b".\r\n", 250)
                    say(b"QUIT\r\n", 221)
                except Refused:
                    if strict:
                        raise


class Refused(RuntimeError):
    """A reply that is not what mail needs."""


def send(port: int, session: Session, messages: int, clients: int, strict: bool = True) -> float:
    """Sends so many messages, `clients` at once; returns the seconds that it took."""
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(messages):
        left.put(number)
    failures: list[BaseException] = []

    def work() -> None:
        while not failures:
            try:
                left.get_nowait()
            except queue.Empty:
                return
            try:
                session.send(port, strict)
            except Exception as error:  # noqa: BLE001 - told to the caller below
                failures.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(clients, messages))]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - began
