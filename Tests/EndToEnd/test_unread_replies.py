"""Replies that the client does not read: they are bounded, complete and in order."""

from __future__ import annotations

import socket

import pytest

from harness.gatepost import EXTRA_OCTETS, Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until

#: What the frontend may grow by, however many commands were sent.
GROWTH_OCTETS = (16 << 20) + EXTRA_OCTETS


def send_until_blocked(client: Dialogue, command: bytes, most: int) -> int:
    """Writes `command` again and again until the socket takes no more; returns the octets sent."""
    block = command * 1_000
    sent = 0
    client.socket.settimeout(1)
    try:
        while sent < most:
            sent += client.socket.send(block[sent % len(command) :])
    except TimeoutError:
        pass
    client.socket.settimeout(client.seconds)
    return sent


@pytest.mark.parametrize("command", [b"HELP\r\n", b"RCPT TO:<a@b>\r\n"], ids=["help", "rcpt"])
def test_a_client_that_never_reads_costs_no_memory(gatepost: Gatepost, command: bytes) -> None:
    gatepost.limits(max_errors=0, max_refused_recipients=0, max_commands_without_message=0)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        before = frontend.resident_octets()
        most = 64 << 20
        sent = send_until_blocked(client, command, most)
        assert sent < most, "the client was never stopped"
        assert frontend.resident_octets() < before + GROWTH_OCTETS
        with gatepost.connect() as other:
            other.ehlo()
            other.quit()


@pytest.mark.parametrize("ends", [False, True], ids=["goes-on", "half-closed"])
def test_every_reply_arrives_when_the_client_reads_at_last(
    gatepost: Gatepost, ends: bool
) -> None:
    """The client gets each reply, octet for octet, and does not count as an early talker."""
    gatepost.limits(max_commands_without_message=0)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        # HELP may stand anywhere in a group (RFC 2920 §3.1), and its reply is long.
        command = b"HELP " + b"x" * 500 + b"\r\n"
        sent = send_until_blocked(client, command, 64 << 20)
        count, rest = sent // len(command), sent % len(command)
        file = client.socket.makefile("rb")
        # The rest of the last command goes out while replies are read.
        client.socket.settimeout(30)
        read = 0
        while read < count // 2:
            assert file.readline().startswith(b"214-"), read
            assert file.readline().startswith(b"214 "), read
            read += 1
        if rest:
            client.socket.sendall(command[rest:])
            count += 1
        client.socket.sendall(b"NOOP\r\n")
        if ends:
            client.socket.shutdown(socket.SHUT_WR)
        while read < count:
            assert file.readline().startswith(b"214-"), read
            assert file.readline().startswith(b"214 "), read
            read += 1
        assert file.readline().startswith(b"250 ")
        if ends:
            assert file.readline() == b""
        else:
            client.socket.sendall(b"QUIT\r\n")
            assert file.readline().startswith(b"221 ")
    assert "early_talker" not in frontend.logged("end=")


def test_a_client_that_takes_no_replies_is_closed(gatepost: Gatepost) -> None:
    gatepost.limits(reply_timeout_ms=1_000, max_commands_without_message=0)
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        descriptors = len(frontend.descriptors())
        send_until_blocked(client, b"HELP\r\n", 64 << 20)
        frontend.logged("end=timeout", 15)
        wait_until(lambda: len(frontend.descriptors()) < descriptors, 5, "the socket is closed")
