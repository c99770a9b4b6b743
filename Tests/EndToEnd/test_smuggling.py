r"""SMTP smuggling: only CRLF ends a line, only CRLF.CRLF ends a message.

Each variant of an end of data is followed by commands of a second transaction. A server that takes
it for the end delivers the second message; this one must not, wherever the octets are cut.

The table has every sequence of three public testers, and more: SMTP-Smuggling-Tools of SEC Consult's finder (inbound
and outbound), smtpsmug and smtp_smuggling_checker. From Postfix's answers to the attack come LF.CRLF
(`smtpd_forbid_bare_newline`), any other CR or LF alone, in the header too (`cleanup_replace_stray_cr_lf`), and dots at the places
where a server cuts a long line (`line_length_limit`).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.gatepost import Gatepost

#: Name, and the octets in the place of CRLF.CRLF.
VARIANTS = {
    "lf-dot-lf": b"\n.\n",
    "lf-dot-crlf": b"\n.\r\n",
    "lf-dot-cr": b"\n.\r",
    "lf-dot-crcrlf": b"\n.\r\r\n",
    "lf-dot-lfcr": b"\n.\n\r",
    "cr-dot-cr": b"\r.\r",
    "cr-dot-lf": b"\r.\n",
    "cr-dot-crlf": b"\r.\r\n",
    "crcr-dot-crcr": b"\r\r.\r\r",
    "crcrlf-dot-cr": b"\r\r\n.\r",
    "crlf-cr-dot-crlf": b"\r\n\r.\r\n",
    "crlf-lf-dot-crlf": b"\r\n\n.\r\n",
    "crlf-dot": b"\r\n.",
    "crlf-dot-lf-crlf": b"\r\n.\n\r\n",
    "crlf-dot-lfcr": b"\r\n.\n\r",
    "crlf-dot-lf": b"\r\n.\n",
    "crlf-dot-cr": b"\r\n.\r",
    "crlf-dot-crcr": b"\r\n.\r\r",
    "crlf-dot-crcrlf": b"\r\n.\r\r\n",
    "crcrlf-dot-crlf": b"\r\r\n.\r\r\n",
    "crlf-dot-nul-crlf": b"\r\n.\0\r\n",
    "crlf-nul-dot-crlf": b"\r\n\0.\r\n",
    "crlf-nul-dot-cr": b"\r\n\0.\r",
    "crlf-nul-dot-lf": b"\r\n\0.\n",
    "cr-nul-lf-dot-crlf": b"\r\0\n.\r\n",
    "lf-dot-nul-lf": b"\n.\0\n",
    "nul-dot-nul": b"\0.\0",
    "crlf-dot-cr-nul-lf": b"\r\n.\r\0\n",
    "crlf-dot-space-crlf": b"\r\n. \r\n",
    "crlf-space-dot-crlf": b"\r\n .\r\n",
    "crlf-dot-tab-crlf": b"\r\n.\t\r\n",
    "crlf-dotdot-crlf": b"\r\n..\r\n",
    "crcrlf-dot-lf": b"\r\r\n.\n",
    "crcr-dot-crlf": b"\r\r.\r\n",
    "cr-dot-crcrlf": b"\r.\r\r\n",
    "cr-dot-lfcr": b"\r.\n\r",
    "lflf-dot-lflf": b"\n\n.\n\n",
    "lflf-dot-crlf": b"\n\n.\r\n",
    "lfcr-dot-lfcr": b"\n\r.\n\r",
    "vt-dot-vt": b"\x0b.\x0b",
    "ff-dot-ff": b"\x0c.\x0c",
    "nel-dot-nel": b"\xc2\x85.\xc2\x85",
    "ls-dot-ls": b"\xe2\x80\xa8.\xe2\x80\xa8",
    "eightbit-crlf": b"\x8d\x8a.\x8d\x8a",
}
#: Variants that are ordinary text: they do not hold a bare CR or LF, nor a NUL.
TEXT = {
    "crlf-dot",
    *("crlf-dot-space-crlf", "crlf-space-dot-crlf", "crlf-dot-tab-crlf", "crlf-dotdot-crlf"),
    *("vt-dot-vt", "ff-dot-ff", "nel-dot-nel", "ls-dot-ls", "eightbit-crlf"),
}
#: What stands before the variant.
PLACES = {
    "after-text": b"Subject: first\r\n\r\nfirst",
    "at-start": b"",
    "in-header": b"Subject: first",
}
SMUGGLED = (
    b"MAIL FROM:<smuggler@example.net>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nsmuggled\r\n"
)


def session(server: Gatepost, body: bytes, whole: bool) -> list[int]:
    """Sends an envelope, then `body` and QUIT; returns the codes of the replies after 354."""
    with server.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        if whole:
            client.send(body + b"QUIT\r\n")
        else:
            client.pieces(*(body[at : at + 1] for at in range(len(body))), pause=0.0003)
            client.send(b"QUIT\r\n")
        codes = []
        try:
            while not codes or codes[-1] not in (221, 421):
                codes.append(client.reply().code)
        except AssertionError:
            if not codes:
                raise
        return codes


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "octet-wise"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", VARIANTS)
def test_no_second_message(serving: Gatepost, name: str, place: str, whole: bool) -> None:
    serving.maildir.clear()
    text = PLACES[place]
    codes = session(serving, text + VARIANTS[name] + SMUGGLED + b".\r\n", whole)
    messages = serving.maildir.messages()
    assert len(messages) <= 1, f"{name}: two messages, replies {codes}"
    assert not any(b"<smuggler@" in message.added for message in messages), codes
    if name in TEXT:
        assert codes == [250, 221], codes
        assert b"MAIL FROM:<smuggler@example.net>\r\n" in messages[0].original
    elif b"\0" in VARIANTS[name] and not _has_bare(VARIANTS[name]):
        assert codes in ([250, 221], [554, 221], [550, 221], [552, 221]), codes
    else:
        assert codes[0] in (550, 554), codes
        assert codes[1:] in ([], [221], [421]), codes
        assert not messages


@pytest.mark.parametrize("count", [998, 1_000, 2_048, 4_096, 8_192, 16_384])
def test_a_dot_behind_a_long_line_ends_nothing(serving: Gatepost, count: int) -> None:
    """Servers cut long lines at such places, Postfix after 2,048 octets: a dot there does not begin a line."""
    serving.maildir.clear()
    text = b"Subject: first\r\n\r\n" + b"x" * count + b".\r\n"
    assert session(serving, text + SMUGGLED + b".\r\n", whole=True) == [250, 221]
    assert serving.maildir.only().original == text + SMUGGLED


def _has_bare(octets: bytes) -> bool:
    rest = octets.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest


@pytest.mark.parametrize("name", ["lf", "cr", "crcrlf", "lfcr"])
def test_a_bare_line_end_anywhere_refuses_the_message(serving: Gatepost, name: str) -> None:
    """`bare_newline = "reject"`, the default: 554 5.5.2."""
    end = {"lf": b"\n", "cr": b"\r", "crcrlf": b"\r\r\n", "lfcr": b"\n\r"}[name]
    serving.maildir.clear()
    for message in (b"Subject: x" + end + b"\r\ny\r\n", b"Subject: x\r\n\r\na" + end + b"b\r\n"):
        with serving.connect() as client:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
            client.send(message + b".\r\n")
            reply = client.reply()
            assert (reply.code, reply.status) == (554, "5.5.2"), client.describe(str(reply))
    assert not serving.maildir.files()


def test_normalize(make_gatepost: Callable[..., Gatepost]) -> None:
    """`bare_newline = "normalize"`: a bare LF or CR becomes CRLF; neither ends a message."""
    server = make_gatepost(bare_newline="normalize")
    server.run()
    codes = session(server, b"Subject: x\r\n\r\na\nb\rc\r\nd\n.\ne" + b"\r\n.\r\n", True)
    assert codes == [250, 221]
    delivered = server.maildir.only().original
    assert delivered.startswith(b"Subject: x\r\n\r\na\r\nb\r\nc\r\nd\r\n.\r\ne\r\n"), delivered
    rest = delivered.replace(b"\r\n", b"")
    assert b"\r" not in rest and b"\n" not in rest
