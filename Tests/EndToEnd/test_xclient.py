"""XCLIENT and XFORWARD: swaks and nginx as proxies, a Postfix that tells where its mail came from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.clients import run
from harness.gatepost import Gatepost
from harness.peers import Nginx, Postfix
from harness.smtp import Dialogue
from harness.wire import Worker, accepting

KEYWORD = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
MAIL = ("MAIL FROM:<bob@example.net>", "RCPT TO:<alice@example.com>", "DATA")


@pytest.fixture
def trusting(gatepost: Gatepost) -> Gatepost:
    gatepost.listener.update(xclient_networks=["127.0.0.1"], xforward_networks=["127.0.0.1"])
    return gatepost


@contextmanager
def sessions(gatepost: Gatepost) -> Iterator[Worker]:
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(["connect", "ehlo", "mail", "rcpt", "queue"], accepting()) as worker:
        frontend.ready()
        yield worker


def test_the_session_begins_again_with_the_client_that_is_named(trusting: Gatepost) -> None:
    with sessions(trusting) as worker, trusting.connect() as client:
        own = client.socket.getsockname()
        assert KEYWORD in client.ehlo().lines
        client.command("XCLIENT NAME=spike.example ADDR=192.0.2.7 PORT=4711 HELO=x PROTO=ESMTP", 220)
        connect = worker.saw("connect")["session"]
        assert connect["client"] == {"ip": "192.0.2.7", "port": 4711, "name": "spike.example"}
        assert connect["proxy"] == {"ip": own[0], "port": own[1]}
        assert connect["hello"] is None and connect["auth"] is None and connect["relay"] is False
        client.command(MAIL[0], 503)
        client.command("EHLO spike.example", 250)
        # A line is short, so more may be said in further ones, but of another client nothing is kept.
        client.command("XCLIENT DESTADDR=IPV6:2001:db8::25 DESTPORT=26", 220)
        session = worker.saw("connect")["session"]
        assert session["client"] == {"ip": "192.0.2.7", "port": 4711, "name": "spike.example"}
        assert session["server"] == {"ip": "2001:db8::25", "port": 26}
        client.command("XCLIENT ADDR=IPV6:2001:DB8::1 LOGIN=jo+40example", 220)
        session = worker.saw("connect")["session"]
        assert session["client"] == {"ip": "2001:db8::1", "port": 0, "name": None}
        assert session["proxy"] == {"ip": own[0], "port": own[1]}
        assert session["auth"] == {"mechanism": "XCLIENT", "user": "jo@example"}
        assert session["relay"] is True
        client.command("XCLIENT ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]", 220)
        session = worker.saw("connect")["session"]
        assert session["client"] == {"ip": "0.0.0.0", "port": 0, "name": None}
        assert session["auth"] is None and session["relay"] is False
        client.command("EHLO client.example", 250)
        client.quit()
        trusting.programs[0].logged(r"session .*client=0\.0\.0\.0 .*proxy=127\.0\.0\.1")


def test_what_is_not_allowed(trusting: Gatepost) -> None:
    with sessions(trusting) as worker, trusting.connect() as client:
        client.ehlo()
        for wrong in (
            *("", "ADDR", "ADDR=", "ADDR=010.0.0.1", "ADDR=2001:db8::1", "WHO=x", "IDENT=x"),
            *("ADDR=192.0.2.1 ADDR=192.0.2.2",),
        ):
            client.command(f"XCLIENT {wrong}", 501)
        client.command(MAIL[0], 250)
        client.command("XCLIENT ADDR=192.0.2.1", 503)
        client.command("XFORWARD ADDR=192.0.2.1", 503)
        client.command(MAIL[1], 250)
        assert worker.saw("rcpt")["session"]["client"]["ip"] == "127.0.0.1"


def test_strangers_are_refused(trusting: Gatepost) -> None:
    with sessions(trusting) as worker, trusting.connect(source="127.0.0.2") as client:
        lines = client.ehlo().lines
        assert not [line for line in lines if line.startswith(("XCLIENT", "XFORWARD"))]
        client.command("XCLIENT ADDR=192.0.2.1 LOGIN=bob", 550)
        client.command("XFORWARD ADDR=192.0.2.1", 550)
        client.command(MAIL[0], 250)
        session = worker.saw("mail")["session"]
        assert session["client"]["ip"] == "127.0.0.2"
        assert session["relay"] is False and "xforward" not in session


def test_without_networks_there_is_no_such_command(gatepost: Gatepost) -> None:
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("XCLIENT ADDR=192.0.2.1", 500)
        client.command("XFORWARD ADDR=192.0.2.1", 500)


def test_limits_count_the_client_that_is_named(trusting: Gatepost) -> None:
    trusting.limits(max_sessions_per_ip=1)
    with sessions(trusting), trusting.connect() as first, trusting.connect() as second:
        first.ehlo()
        second.ehlo()
        first.command("XCLIENT ADDR=192.0.2.1", 220)
        second.command("XCLIENT ADDR=192.0.2.1", 421)
        second.closed()
        with trusting.connect() as third:
            third.ehlo()
            third.command("XCLIENT ADDR=192.0.2.2", 220)
            # The first leaves its address to the third.
            first.command("XCLIENT ADDR=192.0.2.3", 220)
            third.command("XCLIENT ADDR=192.0.2.1", 220)


def test_swaks(trusting: Gatepost) -> None:
    # A client that logged in at the proxy may relay.
    trusting.run()
    said = run(
        *("swaks", "--server", "127.0.0.1", "--port", trusting.port, "--ehlo", "client.example"),
        *("--from", "bob@example.net", "--to", "carol@elsewhere.example"),
        *("--xclient-addr", "192.0.2.77", "--xclient-name", "spike.example"),
        *("--xclient-login", "jo"),
    )
    assert "XCLIENT " in said
    added = trusting.maildir.only().added
    assert b"(spike.example [192.0.2.77])" in added
    assert b"with ESMTPA" in added


def test_nginx(trusting: Gatepost) -> None:
    with sessions(trusting) as worker, Nginx(trusting.port) as nginx:
        with Dialogue(nginx.port, source="127.0.0.9") as client:
            client.expect(220)
            client.command("EHLO client.example", 250)
            for line, code in zip(MAIL, (250, 250, 354)):
                client.command(line, code)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            client.expect(250)
            client.quit()
        session = worker.saw("mail")["session"]
        assert session["client"]["ip"] == "127.0.0.9"
        assert session["proxy"]["ip"] == "127.0.0.1"
        assert session["hello"] == {"verb": "EHLO", "name": "client.example"}


def test_xforward_is_for_the_next_message_alone(trusting: Gatepost) -> None:
    with sessions(trusting) as worker, trusting.connect() as client:
        client.ehlo()
        client.command("XFORWARD NAME=spike.example ADDR=192.0.2.7 PORT=[UNAVAILABLE]", 250)
        client.command("XFORWARD IDENT=4F+3D1 SOURCE=REMOTE NAME=other.example", 250)
        client.command(MAIL[0], 250)
        session: dict[str, Any] = worker.saw("mail")["session"]
        assert session["xforward"] == {
            **{"name": "other.example", "addr": "192.0.2.7", "port": None},
            **{"ident": "4F=1", "source": "REMOTE"},
        }
        # Nothing follows from it.
        assert session["client"]["ip"] == "127.0.0.1" and session["relay"] is False
        client.command("RSET", 250)
        client.command(MAIL[0], 250)
        assert "xforward" not in worker.saw("mail")["session"]
        client.command("RSET", 250)
        client.command("XFORWARD IDENT=1", 250)
        client.command("EHLO client.example", 250)
        client.command(MAIL[0], 250)
        assert "xforward" not in worker.saw("mail")["session"]
    trusting.programs[0].logged(r"transaction .*xforward=.*ADDR=192\.0\.2\.7")


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
def test_postfix_forwards_what_it_knows(trusting: Gatepost) -> None:
    with sessions(trusting) as worker:
        postfix = Postfix(trusting.port, "smtp_send_xforward_command = yes")
        try:
            postfix.submit(b"Subject: x\n\nx\n", "bob@example.net", "alice@example.com")
            assert "status=sent" in postfix.sent()
        finally:
            postfix.close()
        assert worker.saw("mail")["session"]["xforward"]["source"] == "REMOTE"
