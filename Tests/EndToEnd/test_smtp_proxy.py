"""queue/smtp-proxy: the next hop is asked at MAIL and RCPT, and its replies are the client's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.peers import PostfixServer
from harness.scripted_hop import ScriptedHop
from harness.smtp import Dialogue
from harness.waiting import wait_until

MESSAGE = b"From: <bob@example.net>\r\nSubject: step by step\r\n\r\n.hello\r\n"


def started(server: Gatepost, hop: ScriptedHop, arguments: str = "accept hop", workers: int = 1) -> None:
    server.plugins(f"queue/smtp-proxy {hop.address} tls none {arguments}", "rcpt_ok")
    frontend = server.frontend(ready=False)
    for _ in range(workers):
        server.worker()
    frontend.ready()


def test_the_clients_replies_are_the_hops(gatepost: Gatepost) -> None:
    replies = {
        b"MAIL": b"250 2.1.0 welcome\r\n",
        b"RCPT TO:<mallory": b"550 5.1.1 mallory is unknown here\r\n",
        b"RCPT": b"250 2.1.5 known\r\n",
        b".": b"250 2.0.0 queued as 4711\r\n",
    }
    with ScriptedHop(replies=replies) as hop:
        started(gatepost, hop)
        with gatepost.connect() as client:
            client.ehlo()
            assert client.command("MAIL FROM:<bob@example.net>", 250).text == "2.1.0 welcome"
            assert client.command("RCPT TO:<mallory@example.com>", 550).text == "5.1.1 mallory is unknown here"
            assert client.command("RCPT TO:<alice@example.com>", 250).text == "2.1.5 known"
            assert client.data(MESSAGE).text == "2.0.0 queued as 4711"
            client.quit()
        assert hop.verbs(False) == [b"EHLO", b"MAIL", b"RCPT", b"RCPT", b"DATA"]
        [(_, message)] = hop.messages
        assert message.endswith(MESSAGE.replace(b".hello", b"..hello"))
        # The hop had no octet of the content before the client had sent all of it.
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
            client.send(MESSAGE)
            client.close()
        wait_until(lambda: hop.verbs(False)[-1] == b"RSET", 20, "the end of the transaction at the hop")
        assert len(hop.messages) == 1 and hop.verbs(False).count(b"DATA") == 1


def test_what_the_hop_accepts_is_left_to_others(gatepost: Gatepost) -> None:
    with ScriptedHop() as hop:
        started(gatepost, hop, "")
        with gatepost.connect() as client:
            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.command("RCPT TO:<alice@elsewhere.example>", 550)
            client.command("RCPT TO:<alice@example.com>", 250)
            assert client.data(MESSAGE).code == 250
        # The recipient that rcpt_ok refused is none at the hop, though it was asked.
        last = [line for _, line in hop.commands]
        last = last[len(last) - last[::-1].index(next(line for line in last[::-1] if line.startswith(b"MAIL"))) :]
        assert [line for line in last if line.startswith(b"RCPT")] == [b"RCPT TO:<alice@example.com>"]


def test_any_worker_goes_on_with_a_transaction(gatepost: Gatepost) -> None:
    """A worker is ended after each step: the next one tells the hop what was granted so far."""
    with ScriptedHop() as hop:
        gatepost.plugins(f"queue/smtp-proxy {hop.address} tls none accept hop", "rcpt_ok")
        frontend = gatepost.frontend(ready=False)
        worker = gatepost.worker()
        frontend.ready()
        with gatepost.connect() as client:

            def another() -> None:
                nonlocal worker
                before, worker = worker, gatepost.worker()
                assert before.stop() == 0

            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            another()
            client.command("RCPT TO:<alice@example.com>", 250)
            another()
            client.command("RCPT TO:<carol@example.com>", 250)
            another()
            assert client.data(MESSAGE).code == 250
            client.quit()
        assert len(hop.messages) == 1
        lines = [line for _, line in hop.commands if not line.startswith((b"RSET", b"QUIT"))]
        said = [line.split(b":")[-1] for line in lines]
        begin = [b"EHLO mx.example.com", b"<bob@example.net>"]
        assert [word.split(b" ")[0] for word in said] == [
            word.split(b" ")[0]
            for word in [
                *begin,
                *(*begin, b"<alice@example.com>"),
                *(*begin, b"<alice@example.com>", b"<carol@example.com>"),
                *(*begin, b"<alice@example.com>", b"<carol@example.com>", b"DATA"),
            ]
        ]


def test_several_workers(gatepost: Gatepost) -> None:
    """Whichever worker gets a question, each message arrives once, for its own recipients."""
    with ScriptedHop() as hop:
        started(gatepost, hop, workers=3)
        clients = [gatepost.connect() for _ in range(6)]

        def steps(client: Dialogue, number: int) -> list[Callable[[], object]]:
            return [
                client.ehlo,
                lambda: client.command(f"MAIL FROM:<bob{number}@example.net>", 250),
                *(
                    lambda name=name: client.command(f"RCPT TO:<{name}{number}@example.com>", 250)
                    for name in ("alice", "carol", "dave")
                ),
                lambda: client.data(MESSAGE.replace(b".hello", b"number %d" % number)).code,
            ]

        for at_once in zip(*(steps(each, n) for n, each in enumerate(clients)), strict=True):
            results = [step() for step in at_once]
        assert results == [250] * 6
        for client in clients:
            client.quit()
            client.close()
        bodies = sorted(message.rpartition(b"number ")[2] for _, message in hop.messages)
        assert [int(body.split(b"\r")[0]) for body in bodies] == list(range(6))


def test_a_slow_client_makes_room_for_others(gatepost: Gatepost) -> None:
    with ScriptedHop() as hop:
        started(gatepost, hop, "accept hop connections 1")
        with gatepost.connect() as slow:
            slow.ehlo()
            slow.command("MAIL FROM:<slow@example.net>", 250)
            slow.command("RCPT TO:<alice@example.com>", 250)
            with gatepost.connect() as client:
                client.ehlo()
                client.envelope()
                assert client.data(MESSAGE).code == 250
            assert slow.data(MESSAGE).code == 250
        assert len(hop.messages) == 2 and hop.connections == 1
        mails = [line for _, line in hop.commands if line.startswith((b"MAIL FROM:<slow", b"DATA"))]
        assert len(mails) == 4  # The slow transaction was begun twice.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
def test_postfix_is_asked_at_each_step(gatepost: Gatepost, folder: Path) -> None:
    certificate = certificates.make(folder, "hop", "hop.example")
    with PostfixServer(certificate) as postfix:
        trust = f"tls verify tls_ca_file {certificate.chain} tls_name hop.example"
        gatepost.plugins(f"queue/smtp-proxy 127.0.0.1:{postfix.port} accept hop {trust}", "rcpt_ok")
        gatepost.run()
        with gatepost.connect() as client:
            client.ehlo()
            assert client.command("MAIL FROM:<bob@example.net>", 250).text == "2.1.0 Ok"
            refused = client.command("RCPT TO:<alice@elsewhere.example>", 554)
            assert refused.text.startswith("5.7.1 <alice@elsewhere.example>: ")
            assert refused.text.endswith("ccess denied")
            assert client.command("RCPT TO:<alice@example.com>", 250).text == "2.1.5 Ok"
            assert client.data(MESSAGE).text.startswith("2.0.0 Ok: queued as ")
        [message] = wait_until(postfix.delivered, 60, postfix.log)
        assert b"with ESMTPS id" in message and b"\n.hello\n" in message
