"""Messages that arrive by BDAT (RFC 3030)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.gatepost import Gatepost
from harness.wire import accepting

HEADER = b"From: <bob@example.net>\r\nSubject: chunks\r\n\r\n"
ENVELOPE = b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.com>\r\n"


def chunk(octets: bytes, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets


def pipelined(server: Gatepost, octets: bytes, replies: int) -> list[int]:
    """Sends EHLO, then all `octets` in one write; returns the codes of so many replies."""
    with server.connect() as client:
        client.ehlo()
        client.send(octets)
        return [client.reply().code for _ in range(replies)]


def test_a_pipelined_message_in_chunks(serving: Gatepost) -> None:
    serving.maildir.clear()
    body = b".\r\n..\r\nQUIT\r\n.\r\nend\r\n"
    codes = pipelined(
        serving, ENVELOPE + chunk(HEADER[:20]) + chunk(HEADER[20:] + body) + chunk(b"", True), 5
    )
    assert codes == [250] * 5
    assert serving.maildir.only().original == HEADER + body


def test_a_large_message_in_small_and_in_large_chunks(serving: Gatepost) -> None:
    """More than memory is meant for: the file has every octet once, in order."""
    serving.maildir.clear()
    body = b"".join(b"line %d of the message\r\n" % number for number in range(100_000))
    whole = HEADER + body
    for size in (4_096, 1_000_000):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        with serving.connect() as client:
            client.ehlo()
            client.envelope()
            for octets in chunks[:-1]:
                client.send(chunk(octets))
                client.expect(250)
            client.send(chunk(chunks[-1], True))
            client.expect(250)
        assert serving.maildir.only().original == whole
        serving.maildir.clear()


def test_hooks_see_a_message_in_chunks_as_any_other(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend(ready=False)
    hooks = ["rcpt", "data", "data_headers_end", "data_post", "queue"]
    with gatepost.python_worker(hooks, accepting()) as worker:
        frontend.ready()
        codes = pipelined(gatepost, ENVELOPE + chunk(HEADER[:20]) + chunk(HEADER[20:], True), 4)
        assert codes == [250] * 4
        assert [event["hook"] for event in worker.events] == hooks


def test_what_the_data_hook_refuses_is_dropped(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend(ready=False)

    def answer(event: dict) -> str:
        return "deny" if event["hook"] == "data" else "ok"

    with gatepost.python_worker(["rcpt", "data"], answer):
        frontend.ready()
        commands = b"MAIL FROM:<evil@example.net>\r\n"
        codes = pipelined(
            gatepost, ENVELOPE + chunk(commands) + chunk(commands) + chunk(b"", True) + ENVELOPE, 7
        )
        assert codes == [250, 250, 554, 503, 503, 250, 250]


def test_chunks_over_the_limit(make_gatepost: Callable[..., Gatepost]) -> None:
    server = make_gatepost()
    server.frontend_toml.setdefault("limits", {})["max_message_octets"] = 65_536
    server.run()
    commands = b"MAIL FROM:<evil@example.net>\r\n" * 3_000
    with server.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(chunk(commands))
        assert client.reply().status == "5.3.4"
        client.envelope()
        # More than twice the limit is not read.
        client.send(b"BDAT 131073\r\n")
        client.expect(552)
        client.closed()
    assert not server.maildir.files()


@pytest.mark.parametrize("how", ["half", "close", "reset"])
def test_the_client_leaves_in_a_chunk_and_between_chunks(gatepost: Gatepost, how: str) -> None:
    frontend, _ = gatepost.run()
    for octets in (chunk(HEADER), chunk(HEADER + b"text", True)[:-2]):
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            client.send(octets)
            if octets.endswith(HEADER):
                client.expect(250)
            {"half": client.end_input, "close": client.close, "reset": client.reset}[how]()
    frontend.logged("end=client_gone")
    gatepost.spool_is_empty()
    assert not gatepost.maildir.files()


def test_commands_between_chunks_and_rset(serving: Gatepost) -> None:
    serving.maildir.clear()
    with serving.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(chunk(HEADER + b"first\r\n"))
        client.expect(250)
        client.command("NOOP", 250)
        client.command("VRFY alice@example.com", 252)
        client.command("DATA", 503)
        client.command("RCPT TO:<carol@example.com>", 503)
        client.command("RSET", 250)
        client.envelope()
        client.send(chunk(HEADER + b"second\r\n", True))
        client.expect(250)
    assert serving.maildir.only().original == HEADER + b"second\r\n"


def test_a_body_in_binary(make_gatepost: Callable[..., Gatepost]) -> None:
    """Kept as it is, and only for a listener that offers it."""
    server = make_gatepost()
    server.listener["extensions"] = ["PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"]
    server.run()
    body = bytes(range(256)) + b"\r\r\n\n\0.\r"
    with server.connect() as client:
        assert "BINARYMIME" in client.ehlo().lines
        client.command("MAIL FROM:<bob@example.net> BODY=BINARYMIME", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.command("DATA", 503)
        client.send(chunk(HEADER + body, True))
        client.expect(250)
    assert server.maildir.only().octets.endswith(HEADER[-4:] + body)


def test_nul(make_gatepost: Callable[..., Gatepost]) -> None:
    """Refused by default, by DATA and by BDAT; `allow_nul` takes it."""
    message = HEADER + b"a\0b\r\n"
    for allowed in (False, True):
        server = make_gatepost(allow_nul=True) if allowed else make_gatepost()
        server.run()
        with server.connect() as client:
            client.ehlo()
            for octets in (message + b".\r\n", chunk(message, True)):
                client.envelope()
                if not octets.startswith(b"BDAT"):
                    client.command("DATA", 354)
                client.send(octets)
                reply = client.reply()
                expected = (250, "2.0.0") if allowed else (554, "5.6.0")
                assert (reply.code, reply.status) == expected
        assert [m.original for m in server.maildir.messages()] == [message] * 2 * allowed
