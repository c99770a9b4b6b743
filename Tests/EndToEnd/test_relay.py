"""What a relay must leave alone, and what it adds (RFC 5321 §3.6.3, §4.4, §7.2): what the next hop gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop

MESSAGE = (
    b"Return-Path: <x@example.net>\r\nReceived: from b by c\r\nReceived: from a by b\r\n"
    b"Subject: x\r\nBcc: carol@example.net\r\n\r\n.body \t\r\n"
)


@pytest.fixture(scope="module")
def hop() -> Iterator[RecordingHop]:
    hop = RecordingHop(["PIPELINING"])
    yield hop
    hop.close()


@pytest.fixture(scope="module")
def relay(make_gatepost: Callable[..., Gatepost], hop: RecordingHop) -> Gatepost:
    server = make_gatepost()
    server.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{hop.port}")
    server.run()
    return server


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", b""),
        ("Bob.Smith@Example.NET", b"Bob.Smith@Example.NET"),
        ('"a \\" b"@example.net', b'"a \\" b"@example.net'),
        ("@one.example,@two.example:bob@example.net", b"bob@example.net"),
    ],
)
def test_addresses_pass_as_they_are(
    relay: Gatepost, hop: RecordingHop, path: str, sent: bytes
) -> None:
    """The null reverse-path, letter case and quotes stay; a source route goes."""
    hop.clear()
    recipient = (path or "alice@example.net").replace("example.net", "example.com").replace(
        "Example.NET", "Example.COM"
    )
    with relay.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\nx\r\n", path, recipient)
    mail, rcpt = (line for line in hop.commands if line[:4] in (b"MAIL", b"RCPT"))
    assert mail.split(b" BODY")[0] == b"MAIL FROM:<" + sent + b">"
    expected = recipient.rpartition(":")[2].encode()
    assert rcpt == b"RCPT TO:<" + expected + b">"


def test_a_message_gets_one_field_on_top(relay: Gatepost, hop: RecordingHop) -> None:
    """Everything else is octet for octet the client's, its own trace fields too."""
    hop.clear()
    with relay.connect() as client:
        client.ehlo("client.example")
        client.deliver(MESSAGE)
    [message] = hop.messages
    field, rest = message[: -len(MESSAGE) - 1], message[-len(MESSAGE) - 1 :]
    assert rest == MESSAGE.replace(b"\r\n.body", b"\r\n..body")
    stamp = (
        rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n\tby mx1\.example\.com with ESMTP id \S+\r\n"
        rb"\tfor <alice@example\.com>;\r\n"
        rb"\t(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
    )
    assert re.fullmatch(stamp, field), field


def test_several_recipients_are_not_named(relay: Gatepost, hop: RecordingHop) -> None:
    """Some of them may be blind copies."""
    hop.clear()
    with relay.connect() as client:
        client.ehlo()
        client.deliver(MESSAGE, "bob@example.net", "alice@example.com", "dave@example.com")
    [message] = hop.messages
    assert b"alice" not in message and b"dave" not in message


@pytest.mark.parametrize(
    ("parameters", "recipient", "message", "status"),
    [
        (" BODY=8BITMIME", "a@example.com", "Subject: x\r\n\r\nü\r\n", "5.6.3"),
        (" SMTPUTF8", "ü@example.com", "Subject: x\r\n\r\nx\r\n", "5.6.7"),
        (" SMTPUTF8", "a@example.com", "Subject: ü\r\n\r\nx\r\n", "5.6.9"),
    ],
)
def test_what_the_hop_does_not_offer_is_refused(
    relay: Gatepost,
    hop: RecordingHop,
    parameters: str,
    recipient: str,
    message: str,
    status: str,
) -> None:
    hop.clear()
    with relay.connect() as client:
        client.ehlo()
        client.command(f"MAIL FROM:<bob@example.net>{parameters}", 250)
        client.command(f"RCPT TO:<{recipient}>", 250)
        reply = client.data(message.encode())
        assert (reply.code // 100, reply.status) == (5, status)
    assert not hop.messages
    assert not any(line.startswith(b"MAIL") for line in hop.commands)
