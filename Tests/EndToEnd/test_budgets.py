"""A client has a budget of time for each phase, and a least rate for a message; only its own time counts."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.program import PATIENCE, Program
from harness.smtp import Dialogue
from harness.wire import accepting

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def until_closed(client: Dialogue, command: Callable[[int], str], pause: float, most: int) -> tuple[int, Any]:
    """Sends a command after each pause; how many were answered, and the reply that ended the session."""
    for count in range(most):
        reply = client.command(command(count))
        if reply.code == 421:
            client.closed()
            return count, reply
        time.sleep(pause)
    client.fail(f"{most} commands were answered")
    raise AssertionError


def ended(frontend: Program, key: str) -> None:
    frontend.logged(rf"session .*end=timeout .*limit={key} .*reason=timeout")


def test_commands_that_come_one_by_one(gatepost: Gatepost) -> None:
    """Each comes in time, but no message begins: neither MAIL nor RSET gives the budget back."""
    gatepost.limits(command_timeout_ms=1_000, command_budget_ms=1_500, envelope_budget_ms=1_500)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        count, reply = until_closed(
            client, lambda count: ("MAIL FROM:<b@example.net>", "RSET")[count % 2], pause=0.3, most=40
        )
        assert reply.status == "4.4.2"
        # Without a pause of the machine's own: 1.5 s of both kinds, in pauses of 0.3 s.
        assert count >= 4
    ended(frontend, "(command|envelope)_budget_ms")


def test_recipients_that_come_one_by_one(gatepost: Gatepost) -> None:
    gatepost.limits(command_timeout_ms=1_000, envelope_budget_ms=1_500, command_budget_ms=0)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<b@example.net>", 250)
        _, reply = until_closed(client, lambda count: f"RCPT TO:<a{count}@example.com>", pause=0.3, most=40)
        assert reply.status == "4.4.2"
    ended(frontend, "envelope_budget_ms")


def test_a_handshake_is_the_clients_time(gatepost: Gatepost) -> None:
    """A handshake that takes most of the budget, and then silence, which a timeout alone would allow for longer."""
    certificate = certificates.make(gatepost.folder, "mx", "mx1.example.com")
    gatepost.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    gatepost.listener["tls"] = "implicit"
    gatepost.limits(command_timeout_ms=2_000, command_budget_ms=2_000)
    frontend, _ = gatepost.run()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", gatepost.port), 20) as plain:
        time.sleep(1.5)
        with context.wrap_socket(plain) as client:
            said = b""
            while b"421 " not in said:
                octets = client.recv(4_096)
                assert octets, said
                said += octets
            assert said.startswith(b"220 ") and b"421 4.4.2" in said
    ended(frontend, "command_budget_ms")


@pytest.mark.parametrize(
    ("command", "begin", "octet"),
    [("DATA", b"Subject: ", b"x"), ("DATA", b"Subject: x\r\n\r\n", b"x\r\n"), ("BDAT 10000", b"Subject: ", b"x")],
    ids=["header", "body", "chunk"],
)
def test_a_message_that_comes_octet_by_octet(gatepost: Gatepost, command: str, begin: bytes, octet: bytes) -> None:
    gatepost.limits(data_timeout_ms=1_000)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        if command == "DATA":
            client.command(command, 354)
        else:
            client.send(command.encode() + b"\r\n")
        client.send(begin)
        began = time.monotonic()
        while not client.received:
            assert time.monotonic() - began < PATIENCE, client.describe("never ended")
            client.send(octet)
            client.socket.settimeout(0.1)
            try:
                client.received += client.socket.recv(4_096)
            except TimeoutError:
                pass
        assert client.expect(421).status == "4.4.2"
        client.closed()
    ended(frontend, "data_minimum_rate")
    assert gatepost.maildir.messages() == []


def test_a_message_that_keeps_its_rate_and_takes_too_long(gatepost: Gatepost) -> None:
    gatepost.limits(data_timeout_ms=1_000, data_budget_ms=1_500, data_minimum_rate=1)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(b"Subject: x\r\n\r\n")
        began = time.monotonic()
        while not client.received:
            assert time.monotonic() - began < PATIENCE, client.describe("never ended")
            client.send(b"0123456789\r\n")
            client.socket.settimeout(0.1)
            try:
                client.received += client.socket.recv(4_096)
            except TimeoutError:
                pass
        assert client.expect(421).status == "4.4.2"
    ended(frontend, "data_budget_ms")


def test_a_slow_sender_is_served(gatepost: Gatepost) -> None:
    """Twice the least rate, for three times as long as a client may be slower."""
    gatepost.limits(data_timeout_ms=1_000, data_minimum_rate=500)
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(b"Subject: x\r\n\r\n")
        for _ in range(15):
            client.send(b"x" * 198 + b"\r\n")
            time.sleep(0.2)
        client.command(".", 250)
        client.quit()


@pytest.mark.parametrize("how", ["worker", "delay"])
def test_our_own_time_is_not_the_clients(gatepost: Gatepost, how: str) -> None:
    """A worker that takes its time, and replies that it holds back, each longer than a budget."""
    gatepost.limits(command_timeout_ms=1_000, command_budget_ms=1_000, envelope_budget_ms=1_000, data_budget_ms=1_000,
                    data_timeout_ms=1_000)  # fmt: skip
    granting = accepting()

    def answer(event: dict[str, Any]) -> Any:
        verdict = granting(event)
        if how == "worker":
            time.sleep(1.5)
            return verdict
        return {"verdict": verdict, "actions": [{"op": "reply.delay", "ms": 1_500}]}

    frontend = gatepost.frontend(ready=False)
    hooks = ["ehlo", "mail", "rcpt"] + (["data", "data_post", "queue"] if how == "worker" else [])
    with gatepost.python_worker(hooks, answer):
        frontend.ready()
        with gatepost.connect() as client:
            began = time.monotonic()
            client.ehlo()
            client.envelope()
            if how == "worker":
                assert client.data(MESSAGE).code == 250
            assert time.monotonic() - began > 1.4 * len(hooks), "nothing was held back"
            client.quit()


def test_commands_of_a_session(gatepost: Gatepost) -> None:
    gatepost.limits(max_commands_per_session=6)
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(MESSAGE)
        client.command("RSET", 250)
        client.command("NOOP", 250)
        assert client.command("RSET", 421).status == "4.7.0"
        client.closed()


def test_commands_of_a_second(gatepost: Gatepost) -> None:
    """A thousand recipients are one message; two dozen of other commands at once are too many."""
    gatepost.limits(max_commands_per_second=1)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        recipients = b"".join(b"RCPT TO:<a%d@example.com>\r\n" % number for number in range(1_000))
        client.socket.sendall(b"MAIL FROM:<b@example.net>\r\n" + recipients + b"DATA\r\n")
        for _ in range(1_001):
            client.expect(250, 60)
        client.expect(354, 60)
        client.send(MESSAGE + b".\r\n")
        client.expect(250, 60)
        client.quit()
    with gatepost.connect() as client:
        client.ehlo()
        client.socket.sendall(b"RSET\r\n" * 24)
        replies = [client.reply() for _ in range(25)]
        assert [reply.code for reply in replies] == [250] * 24 + [421]
        assert replies[-1].status == "4.7.0"
        client.closed()
    frontend.logged("session .*end=error .*limit=max_commands_per_second .*reason=too_many_errors")
