"""What a message costs grows with its size and not faster, in the frontend and in a worker's plugins."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.gatepost import Gatepost
from harness.program import Program
from harness.smtp import stuffed

#: A doubling may cost this many times as much; work that is square costs four times as much.
MOST_FOR_A_DOUBLING = 3


class Spamd(socketserver.StreamRequestHandler):
    """Answers each request as a spamd that found nothing."""

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.wfile.write(
            b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.1 / 5.0\r\n\r\nX-Spam-Status: No, score=0.1\r\n\r\n"
        )


@contextmanager
def spamd() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Spamd) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def cpu_seconds(program: Program) -> float:
    """What all threads of the process have used: its CPU clock, as clock_getcpuclockid(3) names it."""
    return time.clock_gettime((~program.pid << 3) | 2)


def fields(name: str, value: str, count: int) -> bytes:
    return f"{name}: {value}\r\n".encode() * count


#: For each kind of size: the smallest, and the recipients and the header of a message of a size.
KINDS = {
    "recipients": (250, lambda size: (size, b"")),
    "fields of one letter": (2_000, lambda size: (1, fields("a", "b", size))),
    "fields of spamassassin": (2_000, lambda size: (1, fields("X-Spam-A", "b", size))),
    "Received": (2_000, lambda size: (1, fields("Received", "x; y", size))),
    "fields that may stand once": (2_000, lambda size: (1, fields("Subject", "x", size))),
    "one field of many lines": (8_000, lambda size: (1, b"X-A:" + b" x\r\n" * size)),
    "lines": (20_000, lambda size: (1, b"\r\n" + b".x\r\n" * size)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_twice_the_size_costs_about_twice_as_much(gatepost: Gatepost, kind: str) -> None:
    gatepost.limits(
        max_recipients=10_000, max_header_fields=100_000, max_received=10_000, max_transactions=100
    )
    with spamd() as port:
        gatepost.plugins(
            "badmailfrom",
            "badrcptto",
            "rcpt_ok",
            "headers reject 0",
            "loop 10000",
            f"spamassassin spamd_socket 127.0.0.1:{port} munge_subject_threshold 0",
            "queue/maildir {mail}",
        )
        programs = gatepost.run()
        smallest, message = KINDS[kind]
        with gatepost.connect() as client:
            client.ehlo()

            def cost(size: int) -> list[float]:
                """CPU seconds of frontend and worker for one message."""
                recipients, header = message(size)
                began = [cpu_seconds(program) for program in programs]
                client.command("MAIL FROM:<bob@example.net>", 250)
                commands = (f"RCPT TO:<r{index}@example.com>\r\n" for index in range(recipients))
                client.send("".join(commands).encode())
                for _ in range(recipients):
                    client.expect(250)
                client.command("DATA", 354)
                client.send(stuffed(b"From: bob@example.net\r\nDate: x\r\n" + header + b"\r\n"))
                client.expect(250)
                return [cpu_seconds(program) - before for program, before in zip(programs, began)]

            cost(smallest)
            table = {
                size: [min(each) for each in zip(*(cost(size) for _ in range(3)))]
                for size in (smallest, 2 * smallest, 4 * smallest)
            }
    text = ", ".join(
        f"{size}: {frontend * 1e3:.0f} + {worker * 1e3:.0f} ms"
        for size, (frontend, worker) in table.items()
    )
    print(f"{kind}: {text}")
    for small, large in zip(table[smallest], table[4 * smallest]):
        assert large < MOST_FOR_A_DOUBLING**2 * max(small, 0.001), text
