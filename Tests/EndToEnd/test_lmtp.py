"""LMTP as a listener's protocol: raw sockets, smtplib, swaks and Postfix's lmtp client."""

from __future__ import annotations

import os
import smtplib
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.clients import run
from harness.gatepost import Gatepost
from harness.peers import Postfix
from harness.smtp import Dialogue, stuffed
from harness.wire import accepting

MESSAGE = b"From: <bob@example.net>\r\nSubject: local\r\n\r\n.dot\r\nhello\r\n"


@pytest.fixture
def lmtp(gatepost: Gatepost) -> Gatepost:
    gatepost.listener["protocol"] = "lmtp"
    return gatepost


def begin(client: Dialogue, *recipients: str) -> None:
    client.expect(220)
    client.command("LHLO client.example", 250)
    client.command("MAIL FROM:<bob@example.net>", 250)
    for recipient in recipients:
        client.command(f"RCPT TO:<{recipient}>")


def test_one_reply_for_each_recipient(lmtp: Gatepost) -> None:
    lmtp.run()
    with lmtp.connect() as client:
        begin(client, "alice@example.com", "x@elsewhere.example", "carol@example.org")
        client.command("DATA", 354)
        client.send(stuffed(MESSAGE) + b"NOOP\r\n")
        replies = [client.expect(250).text for _ in range(2)]
        assert replies[0] == replies[1] and "queued as" in replies[0]
        client.expect(250)
        # Also behind the last chunk, and if it is the same recipient twice.
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.send(b"BDAT %d LAST\r\n%sQUIT\r\n" % (len(MESSAGE), MESSAGE))
        for code in (250, 250, 221):
            client.expect(code)
    first, second = lmtp.maildir.messages()
    assert first.original == second.original == MESSAGE
    assert b"with LMTP id " in first.added


def test_ehlo_and_helo_are_refused_and_no_recipient_is_503(lmtp: Gatepost) -> None:
    lmtp.run()
    with lmtp.connect() as client:
        assert client.expect(220).text.endswith(" LMTP")
        client.command("EHLO x", 500)
        client.command("HELO x", 500)
        lines = client.command("LHLO x", 250).lines
        assert {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME"} <= set(lines)
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("DATA", 503)
        client.command("RCPT TO:<x@elsewhere.example>", 550)
        client.command("DATA", 503)


def test_what_policy_and_frontend_refuse(lmtp: Gatepost) -> None:
    lmtp.limits(max_message_octets=70_000)
    frontend = lmtp.frontend(ready=False)
    answers = {"deny": "deny", "soft": "denysoft", "close": "deny_disconnect", "fine": "ok"}
    handler = accepting()

    def answer(event):  # type: ignore[no-untyped-def]
        if event["hook"] != "queue":
            return handler(event)
        return answers[event["transaction"]["sender"]["local"]]

    with lmtp.python_worker(["ehlo", "rcpt", "queue"], answer) as worker:
        frontend.ready()
        with lmtp.connect() as client:
            client.expect(220)
            client.command("LHLO client.example", 250)
            assert worker.saw("ehlo")["session"]["hello"]["verb"] == "LHLO"
            for sender, codes in (
                *(("deny", (554, 554)), ("soft", (451, 451)), ("fine", (250, 250))),
                *(("big", (552, 552)), ("close", (554, 554))),
            ):
                client.command(f"MAIL FROM:<{sender}@example.net>", 250)
                for recipient in ("alice", "carol"):
                    client.command(f"RCPT TO:<{recipient}@example.com>", 250)
                client.command("DATA", 354)
                client.send(stuffed(MESSAGE + b"x\r\n" * (30_000 if sender == "big" else 0)))
                for code in codes:
                    client.expect(code)
            client.closed()


def test_smtplib(lmtp: Gatepost) -> None:
    lmtp.run()
    with smtplib.LMTP("127.0.0.1", lmtp.port) as client:
        assert client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE) == {}
    assert lmtp.maildir.only().original == MESSAGE


@pytest.fixture
def local(make_gatepost: Callable[..., Gatepost]) -> tuple[Gatepost, Path]:
    server = make_gatepost()
    path = server.folder / "run" / "lmtp.sock"
    listener = {"name": "lmtp", "address": f"unix:{path}", "protocol": "lmtp", "socket_mode": "0600"}
    server.frontend_toml["listener"].append(listener)
    return server, path


def test_a_unix_socket(local: tuple[Gatepost, Path]) -> None:
    server, path = local
    frontend, _ = server.run()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for _ in range(2):
        with smtplib.LMTP(str(path)) as client:
            assert client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE) == {}
    assert all(b"[127.0.0.1]" in each.added for each in server.maildir.messages())
    # The other listener goes on speaking SMTP.
    with server.connect() as client:
        client.ehlo()
        client.quit()
    frontend.stop()
    assert not path.exists()


def test_a_stale_socket_is_replaced_and_a_file_is_not(local: tuple[Gatepost, Path]) -> None:
    server, path = local
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    frontend, worker = server.run()
    with smtplib.LMTP(str(path)):
        pass
    frontend.stop()
    worker.stop()
    path.write_text("not a socket")
    again = server.frontend(ready=False)
    again.expects_exit = None
    assert again.exit_code() != 0
    assert path.read_text() == "not a socket"
    path.unlink()


def test_swaks(local: tuple[Gatepost, Path]) -> None:
    server, path = local
    server.run()
    said = run(
        *("swaks", "--protocol", "LMTP", "--socket", path, "--ehlo", "client.example"),
        *("--from", "bob@example.net", "--to", "alice@example.com"),
    )
    assert "LHLO client.example" in said
    assert b"with LMTP id " in server.maildir.only().added


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
@pytest.mark.parametrize("kind", ["inet", "unix"])
def test_postfix(local: tuple[Gatepost, Path], kind: str) -> None:
    server, path = local
    server.listener["protocol"] = "lmtp"
    # Postfix's client is another user.
    server.frontend_toml["listener"][1]["socket_mode"] = "0666"
    server.folder.chmod(0o755)
    server.run()
    target = f"unix:{path}" if kind == "unix" else f"inet:127.0.0.1:{server.port}"
    postfix = Postfix(
        server.port,
        "relayhost =",
        f"default_transport = lmtp:{target}",
        services=["lmtp unix - - n - - lmtp"],
    )
    try:
        message = MESSAGE.replace(b"\r\n", b"\n")
        postfix.submit(message, "bob@example.net", "alice@example.com", "carol@example.org")
        assert "status=sent (250 2.0.0" in postfix.sent()
        assert b"with LMTP id " in server.maildir.take(30).added
        log = postfix.log()
        assert log.count("status=sent") == 2, log
    finally:
        postfix.close()
