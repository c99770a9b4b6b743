"""Messages real and nasty come out of the Maildir octet for octet, below Gatepost's own lines."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from harness.gatepost import EXTRA_OCTETS, Gatepost
from harness.smtp import stuffed

SAMPLES = Path("/usr/share/doc/spamassassin/examples")


def sample(name: str) -> bytes:
    """One of SpamAssassin's messages, with the line ends of SMTP."""
    return (SAMPLES / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def large(octets: int) -> bytes:
    """A message of nearly this size whose body looks like base64, with a dot here and there."""
    randomness = random.Random(1).randbytes(49_152)
    lines = [b"Subject: large\r\n\r\n"]
    block = b"".join(
        (b"." if index % 7 == 0 else b"") + randomness[index : index + 38].hex().encode() + b"\r\n"
        for index in range(0, len(randomness), 38)
    )
    lines += [block] * ((octets - 100) // len(block))
    return b"".join(lines)


EIGHT_BIT = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")

CORPUS = {
    "spam": lambda: sample("sample-spam.txt"),
    "nonspam": lambda: sample("sample-nonspam.txt"),
    "utf8": lambda: "Subject: Grüße 日本語\r\n\r\nпривет\r\n".encode(),
    "every-octet": lambda: b"Subject: 8 bit\r\n\r\n" + EIGHT_BIT + b"\r\n" + EIGHT_BIT[::-1] + b"\r\n",
    "latin1-header": lambda: "Subject: Grüße\r\n\r\n".encode("latin-1") + b"\xff\xfe\r\n",
    "998-octet-lines": lambda: b"Subject: x\r\n\r\n" + (b"a" * 998 + b"\r\n") * 50,
    "998-octet-header": lambda: b"X: " + b"h" * 995 + b"\r\n\r\nbody\r\n",
    "65534-octet-line": lambda: b"Subject: x\r\n\r\n" + b"a" * 65_534 + b"\r\n",
    "leading-dots": lambda: b".\r\n..\r\n.Subject: x\r\n\r\n.\r\n..\r\n...a\r\n.b.\r\n",
    "only-dots": lambda: b".\r\n" * 1_000,
    "empty": lambda: b"",
    "one-crlf": lambda: b"\r\n",
    "header-only": lambda: b"Subject: header only\r\nX-Last: line\r\n",
    "header-and-empty-line": lambda: b"Subject: no body\r\n\r\n",
    "body-only": lambda: b"\r\nno header at all\r\n",
    "no-header-form": lambda: b"this is no header line\r\nneither is this\r\n\r\nbody\r\n",
    "header-breaks-off": lambda: b"Subject: x\r\nthis is no header line\r\n\r\nbody\r\n",
    "folded": lambda: b"Subject: a\r\n b\r\n\tc\r\n \r\nX:\r\n\r\nbody\r\n",
    "no-space-after-colon": lambda: b"Subject:x\r\nX-Odd :y\r\n\r\nbody\r\n",
    "own-trace-fields": lambda: (
        b"Return-Path: <x@example.net>\r\nDelivered-To: y@example.net\r\n"
        b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: x\r\n\r\nbody\r\n"
    ),
    "mbox-from": lambda: b"From bob@example.net Mon Jan  1\r\nSubject: x\r\n\r\nFrom here\r\n",
    "white-space-kept": lambda: b"Subject: x \t\r\n\r\n \t \r\ntrailing   \r\n\r\n\r\n\r\n",
    "many-fields": lambda: b"".join(b"X-%d: value\r\n" % n for n in range(1_000)) + b"\r\nbody\r\n",
    "256-kib": lambda: large(1 << 18),
}

# Whose header and body get a border that every reader sees (protocol/events.md, The message): how the message starts then.
MENDED = {
    "leading-dots": (b"", b"\r\n"),
    "only-dots": (b"", b"\r\n"),
    "no-header-form": (b"", b"\r\n"),
    "header-breaks-off": (b"Subject: x\r\n", b"\r\n"),
    "mbox-from": (b"", b"X-Mailbox-Line: "),
}


@pytest.mark.parametrize("name", CORPUS)
def test_octet_for_octet(serving: Gatepost, name: str) -> None:
    message = CORPUS[name]()
    serving.maildir.clear()
    with serving.connect() as client:
        client.ehlo()
        client.deliver(message)
        client.quit()
    start, added = MENDED.get(name, (b"", b""))
    assert message.startswith(start)
    assert_same(serving.maildir.only().original, start + added + message[len(start) :])


@pytest.mark.parametrize("size", [100, 300_000])
@pytest.mark.parametrize("first", [b" folded from nowhere", b"\tX", b" ", b" \r\nReceived: from forged"])
def test_white_space_at_the_start_goes_on_with_no_field_of_ours(
    serving: Gatepost, first: bytes, size: int
) -> None:
    """No header section, so an empty line follows our own (protocol/events.md, The message)."""
    message = first + b"\r\nSubject: x\r\n\r\n" + b"body\r\n" * (size // 6)
    serving.maildir.clear()
    with serving.connect() as client:
        client.ehlo()
        client.deliver(message)
        client.quit()
    assert_same(serving.maildir.only().original, b"\r\n" + message)


def test_25_mb(serving: Gatepost) -> None:
    """Close to the default limit, and no dearer in memory than a small one."""
    message = large(25_000_000)
    serving.maildir.clear()
    frontend = serving.programs[0]
    before = frontend.resident_octets()
    with serving.connect(seconds=120) as client:
        client.ehlo()
        client.deliver(message)
        client.quit()
    grown = frontend.resident_octets() - before
    assert_same(serving.maildir.only().original, message)
    assert grown < 8_000_000 + EXTRA_OCTETS, f"the frontend holds {grown} octets more than before"


@pytest.mark.parametrize("name", ["no-crlf-before-the-dot", "dot-without-crlf"])
def test_without_a_final_line_end(serving: Gatepost, name: str) -> None:
    """The CRLF before the final dot belongs to the message (RFC 5321 §4.1.1.4)."""
    serving.maildir.clear()
    message = b"Subject: x\r\n\r\nno line end" + (b"\r\n." if name.startswith("dot") else b"")
    with serving.connect() as client:
        client.ehlo()
        client.deliver(message)
        client.quit()
    assert_same(serving.maildir.only().original, message + b"\r\n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1460])
def test_in_pieces(serving: Gatepost, size: int) -> None:
    """However the octets arrive, the same message comes out."""
    message = b".\r\n..x\r\nSubject: pieces\r\n\r\n.\r\n\r\n..\r\n" + EIGHT_BIT * 3 + b"\r\n.end\r\n"
    octets = stuffed(message)
    serving.maildir.clear()
    with serving.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
        client.pieces(*pieces, pause=0.0005)
        client.expect(250)
        client.quit()
    assert_same(serving.maildir.only().original, b"\r\n" + message)


def test_gatepost_adds_its_own_lines_and_no_others(serving: Gatepost) -> None:
    """Return-Path, Delivered-To and one Received of RFC 5321 §4.4 form."""
    serving.maildir.clear()
    with serving.connect() as client:
        client.ehlo("client.example")
        client.deliver(b"Subject: x\r\n\r\ny\r\n")
        client.quit()
    added = serving.maildir.only().added
    assert added.startswith(b"Return-Path: <bob@example.net>\r\n"), added
    assert b"\r\nReceived: from client.example (" in added, added
    assert b"127.0.0.1" in added and b"by mx1.example.com" in added, added
    assert b"with ESMTP id " in added, added
    assert b"for <alice@example.com>" in added, added
    assert b"\r\n\r\n" not in added, added


def assert_same(delivered: bytes, sent: bytes) -> None:
    """Compares without printing megabytes."""
    if delivered == sent:
        return
    pairs = enumerate(zip(delivered, sent))
    at = next((i for i, (a, b) in pairs if a != b), min(len(delivered), len(sent)))
    around = slice(max(0, at - 60), at + 60)
    raise AssertionError(
        f"{len(delivered)} octets delivered, {len(sent)} sent; they differ at {at}:\n"
        f"  delivered {delivered[around]!r}\n  sent      {sent[around]!r}\n"
        f"  sha256 {hashlib.sha256(sent).hexdigest()} was sent"
    )
