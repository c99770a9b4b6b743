"""SMTP smuggling: what a next hop gets of each variant, by DATA and by BDAT, in both modes.

The next hop must see one message and one envelope, whatever it takes for the end of a line: in what
it gets only CRLF ends a line, and no line is a dot alone but the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from test_smuggling import SMUGGLED, TEXT, VARIANTS, _has_bare

HEADER = b"Subject: first\r\n\r\n"
ENVELOPE = b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.com>\r\n"


class Installation:
    """A frontend that passes mail on to a hop which records it."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.hop = RecordingHop()
        self.gatepost = gatepost
        gatepost.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{self.hop.port}")
        gatepost.run()


@pytest.fixture(scope="module", params=["reject", "normalize"])
def installation(
    request: pytest.FixtureRequest, make_gatepost: Callable[..., Gatepost]
) -> Iterator[Installation]:
    made = Installation(make_gatepost(bare_newline=request.param))
    yield made
    made.hop.close()


def played(server: Gatepost, first: bytes, *rest: bytes) -> None:
    """Sends EHLO and `first`, waits for its reply, then each piece on its own, and reads to the end.

    `first` is the envelope, and DATA unless chunks follow.
    """
    with server.connect() as client:
        client.ehlo()
        client.send(first)
        for _ in range(first.count(b"\r\n")):
            client.reply()
        client.pieces(*rest, b"QUIT\r\n", pause=0.002)
        client.drain()


def check(installation: Installation, expected: bytes | None, what: str) -> None:
    """The hop got one message at most, of the client's own envelope, and harmless.

    `expected` is how the body begins behind the header, as the hop sees it; None is nothing at all.
    """
    hop = installation.hop
    mails = [line for line in hop.commands if line[:4].upper() == b"MAIL"]
    assert all(line.startswith(b"MAIL FROM:<bob@example.net>") for line in mails), what
    if expected is None:
        assert not mails and not hop.messages, what
    else:
        assert len(mails) == len(hop.messages) == 1, (what, hop.commands)
        message = hop.messages[0]
        assert not _has_bare(message), (what, message)
        # A line that begins with a dot is doubled: a hop takes one away, and none is the end.
        assert not re.search(rb"(^|\r\n)\.(\r\n|[^.])", message), (what, message)
        body = message.partition(b"\r\n\r\n")[2]
        assert body.startswith(expected), (what, body)
        # What was to be a second transaction is text of the first.
        assert b"MAIL FROM:<smuggler@example.net>\r\n" in body, what
    hop.clear()


def normalized(octets: bytes) -> bytes:
    """Every CR, LF or CRLF ends a line, and the CRs before a CRLF go."""
    octets = re.sub(rb"\r+\n", b"\n", octets)
    return re.sub(rb"[\r\n]", b"\r\n", octets)


def stuffed(text: bytes) -> bytes:
    return re.sub(rb"(^|\r\n)\.", rb"\1..", text)


@pytest.mark.parametrize("name", VARIANTS)
def test_by_data(installation: Installation, name: str) -> None:
    server = installation.gatepost
    variant = VARIANTS[name]
    body = b"first" + variant + SMUGGLED + b"\r\n.\r\n"
    mode = server.frontend_toml["bare_newline"]
    is_refused = b"\0" in variant or (_has_bare(variant) and mode == "reject")
    start = len(b"first")
    cuts = [0, *range(start, start + len(variant) + 1)]
    for cut in cuts:
        played(server, ENVELOPE + b"DATA\r\n", HEADER + body[:cut], body[cut:])
        if is_refused:
            expected = None
        elif name in TEXT:
            # The first dot of a line goes, for a client doubles it; one is added for the hop.
            expected = stuffed(re.sub(rb"\r\n\.", b"\r\n", b"first" + variant))
        else:
            expected = b"first"
        check(installation, expected, f"{name}, {mode}, cut at {cut}")


@pytest.mark.parametrize("name", ["crlf-dot-crlf", *VARIANTS])
def test_by_bdat(installation: Installation, name: str) -> None:
    """In chunks every octet is content: even CRLF.CRLF is text, wherever the chunks are cut."""
    server = installation.gatepost
    variant = VARIANTS.get(name, b"\r\n.\r\n")
    message = HEADER + b"first" + variant + SMUGGLED
    mode = server.frontend_toml["bare_newline"]
    is_refused = b"\0" in variant or (_has_bare(variant) and mode == "reject")
    start = len(HEADER + b"first")
    for cut in range(start, start + len(variant) + 1):
        pieces = (message[:cut], message[cut:])
        chunks = b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (
            *(len(pieces[0]), pieces[0]),
            *(len(pieces[1]), pieces[1]),
        )
        played(server, ENVELOPE, chunks)
        text = stuffed(normalized(b"first" + variant + SMUGGLED))
        check(installation, None if is_refused else text, f"{name}, {mode}, cut at {cut}")


@pytest.mark.parametrize("count", [998, 2_048, 8_192])
def test_a_long_line_goes_on_whole(installation: Installation, count: int) -> None:
    """No line is cut on its way, so no dot comes to stand at the start of one."""
    line = b"x" * count + b".\r\n" + SMUGGLED
    played(installation.gatepost, ENVELOPE + b"DATA\r\n", HEADER + line + b".\r\n")
    check(installation, line, f"{count} octets before the dot")


@pytest.mark.parametrize("name", [name for name in VARIANTS if b"\0" in VARIANTS[name]])
@pytest.mark.parametrize("way", ["data", "bdat"])
def test_a_nul_that_is_allowed_hides_no_end(
    tolerant: Installation, way: str, name: str
) -> None:
    """With `allow_nul`: whatever the hop drops or ignores of what it gets, no line becomes a dot alone."""
    body = b"first" + VARIANTS[name] + SMUGGLED
    if way == "data":
        played(tolerant.gatepost, ENVELOPE + b"DATA\r\n", HEADER + body + b"\r\n.\r\n")
    else:
        message = HEADER + body
        played(tolerant.gatepost, ENVELOPE, b"BDAT %d LAST\r\n%s" % (len(message), message))
    hop = tolerant.hop
    assert len(hop.messages) <= 1
    for message in hop.messages:
        assert not _has_bare(message)
        assert b"\r\n.\r\n" not in message.replace(b"\0", b""), (name, message)
    mails = [line for line in hop.commands if line[:4].upper() == b"MAIL"]
    assert all(line.startswith(b"MAIL FROM:<bob@example.net>") for line in mails), name
    hop.clear()


@pytest.fixture(scope="module")
def tolerant(make_gatepost: Callable[..., Gatepost]) -> Iterator[Installation]:
    made = Installation(make_gatepost(allow_nul=True))
    yield made
    made.hop.close()


def test_a_chunk_that_is_refused_hides_no_commands(installation: Installation) -> None:
    """BDAT before RCPT, after a refusal, without a size, and DATA inside: nothing in them is read."""
    evil = ENVELOPE.replace(b"bob", b"smuggler") + b"DATA\r\n" + SMUGGLED + b".\r\n"
    chunk = b"BDAT %d LAST\r\n%s" % (len(evil), evil)
    for first, rest in (
        (b"NOOP\r\n", chunk),
        (b"MAIL FROM:<bob@example.net>\r\n", chunk),
        (ENVELOPE, b"BDAT 9\r\nx\0y\r\n\r\n\r\n" + chunk),
        (ENVELOPE, b"BDAT\r\n" + evil),
        (ENVELOPE, b"BDAT %d LASTLY\r\n%s" % (len(evil), evil)),
        (ENVELOPE, b"BDAT 99999999999999999999\r\n" + evil),
    ):
        played(installation.gatepost, first, rest)
        check(installation, None, repr(rest[:20]))
