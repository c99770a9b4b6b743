"""A body in binary on its way through two installations: by BDAT from the client to the first, and from there to the next."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.peers import PostfixServer
from harness.smtp import Reply
from harness.waiting import wait_until
from test_chunking import chunk

HEADER = b"Subject: x\r\nContent-Type: application/octet-stream\r\n\r\n"
EXTENSIONS = ["PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "BINARYMIME"]
PLUGINS = ["queue/smtp-forward", "queue/smtp-proxy"]
#: What would be a second message to a hop that takes a lone LF for the end of a line.
SMUGGLED = b"\n.\nMAIL FROM:<smuggler@example.net>\nRCPT TO:<alice@example.com>\nDATA\nx\n.\n"
BODIES = {
    "nothing": b"",
    "no-line-end": b"x",
    "bare": b"\0a\rb\nc\r\r\n.\r\n\n.\n\r.\r\xff",
    "final-dot": b"a\r\n.\r\nMAIL FROM:<smuggler@example.net>\r\n",
    "smuggled": SMUGGLED,
    "large": random.Random(3).randbytes(3_000_000),
}


def sent(server: Gatepost, message: bytes) -> Reply:
    with server.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net> BODY=BINARYMIME", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.send(chunk(message, True))
        return client.reply()


def relay(gatepost: Gatepost, plugin: str, port: int) -> None:
    gatepost.listener["extensions"] = EXTENSIONS
    gatepost.plugins("rcpt_ok", f"{plugin} 127.0.0.1:{port}")
    gatepost.run()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_body_in_binary_goes_on_octet_for_octet(
    make_gatepost: Callable[..., Gatepost], plugin: str
) -> None:
    hop, first = make_gatepost(), make_gatepost()
    hop.listener["extensions"] = EXTENSIONS
    hop.run()
    relay(first, plugin, hop.port)
    for name, body in BODIES.items():
        reply = sent(first, HEADER + body)
        assert reply.code == 250, (name, reply)
        delivered = hop.maildir.only()
        assert delivered.original.endswith(HEADER + body), name
        assert b"<smuggler@" not in delivered.added, name
        hop.maildir.clear()
    # Lines go by DATA on the same connection.
    with first.connect() as client:
        client.ehlo()
        client.envelope()
        assert client.data(b"Subject: x\r\n\r\n.\r\n").code == 250
    assert hop.maildir.only().original.endswith(b"Subject: x\r\n\r\n.\r\n")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_the_next_hop_refuses_of_a_chunk_is_refused(
    make_gatepost: Callable[..., Gatepost], plugin: str
) -> None:
    """What is larger than the hop takes, which it says nothing of before; the connection lives."""
    hop, first = make_gatepost(), make_gatepost()
    hop.listener["extensions"] = [*EXTENSIONS[:1], *EXTENSIONS[2:]]
    hop.limits(max_message_octets=100_000)
    hop.run()
    relay(first, plugin, hop.port)
    assert sent(first, HEADER + bytes(200_000)).code == 552
    assert sent(first, HEADER + bytes(1_000)).code == 250
    assert len(hop.maildir.messages()) == 1


@pytest.mark.parametrize("keywords", [["CHUNKING"], ["BINARYMIME"], ["8BITMIME"]])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_hop_that_does_not_take_it_gets_nothing(
    gatepost: Gatepost, plugin: str, keywords: list[str]
) -> None:
    hop = RecordingHop(["PIPELINING", *keywords])
    relay(gatepost, plugin, hop.port)
    with gatepost.connect() as client:
        client.ehlo()
        reply = client.command("MAIL FROM:<bob@example.net> BODY=BINARYMIME")
        if reply.code == 250:
            client.command("RCPT TO:<alice@example.com>", 250)
            client.send(chunk(HEADER + SMUGGLED, True))
            reply = client.reply()
        assert (reply.code, reply.status) == (554, "5.6.3")
    assert not [line for line in hop.commands if not line.startswith(b"EHLO")]
    hop.close()


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
def test_postfix_takes_chunks_and_gets_no_body_in_binary(gatepost: Gatepost) -> None:
    """It offers CHUNKING without BINARYMIME. A message of lines goes there by DATA."""
    certificate = certificates.make(gatepost.folder, "hop", "hop.example")
    gatepost.listener["extensions"] = EXTENSIONS
    with PostfixServer(certificate) as postfix:
        gatepost.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{postfix.port} tls encrypt")
        gatepost.run()
        assert sent(gatepost, HEADER + b"\0").status == "5.6.3"
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            assert client.data(b"Subject: lines\r\n\r\n.\r\n").code == 250
        [message] = wait_until(postfix.delivered, 60, postfix.log)
        assert b"Subject: lines" in message
