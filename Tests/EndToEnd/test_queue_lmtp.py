"""queue/lmtp, with a real Dovecot as the next hop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.peers import DovecotLMTP
from harness.smtp import Reply, stuffed

MESSAGE = b"From: <carol@example.net>\r\nSubject: to a store\r\n\r\n.hello\r\n"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="dovecot(1) must be started by root")


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotLMTP]:
    with DovecotLMTP() as peer:
        yield peer


@pytest.fixture(scope="module", params=["socket", "port", "partial"])
def store(
    request: pytest.FixtureRequest, dovecot: DovecotLMTP, make_gatepost: Callable[..., Gatepost]
) -> Gatepost:
    server = make_gatepost()
    address = f"127.0.0.1:{dovecot.port}" if request.param == "port" else str(dovecot.socket)
    arguments = "partial deliver" if request.param == "partial" else ""
    server.plugins("rcpt_ok", f"queue/lmtp {address} {arguments}")
    server.run()
    server.is_partial = request.param == "partial"  # type: ignore[attr-defined]
    return server


def sent(server: Gatepost, *names: str) -> Reply:
    with server.connect() as client:
        client.ehlo()
        client.envelope("carol@example.net", *(f"{name}@example.com" for name in names))
        return client.data(MESSAGE)


@pytest.mark.parametrize("way", ["lmtp", "prdr"])
def test_each_recipient_has_dovecots_reply(
    gatepost: Gatepost, dovecot: DovecotLMTP, way: str
) -> None:
    """mallory is refused at RCPT, and bob's mailbox is full, which Dovecot says after the content."""
    gatepost.listener["protocol"] = "lmtp" if way == "lmtp" else "smtp"
    gatepost.listener["extensions"] = ["PIPELINING", "ENHANCEDSTATUSCODES", *(["PRDR"] if way == "prdr" else [])]
    gatepost.plugins("rcpt_ok", f"queue/lmtp {dovecot.socket}")
    gatepost.run()
    before = len(dovecot.mail("alice"))
    with gatepost.connect() as client:
        client.expect(220)
        client.command("LHLO client.example" if way == "lmtp" else "EHLO client.example", 250)
        client.command(f"MAIL FROM:<carol@example.net>{' PRDR' if way == 'prdr' else ''}", 250)
        for name in ("mallory", "alice", "bob"):
            client.command(f"RCPT TO:<{name}@example.com>", 250)
        client.command("DATA", 354)
        client.send(stuffed(MESSAGE))
        if way == "prdr":
            client.expect(353)
        heard = [client.expect(code) for code in (550, 250, 552)]
        assert [reply.status for reply in heard] == ["5.1.1", "2.0.0", "5.2.2"]
        if way == "prdr":
            client.expect(250)
        client.quit()
    assert len(dovecot.mail("alice")) == before + 1 and not dovecot.mail("bob")


def test_a_message_is_stored(store: Gatepost, dovecot: DovecotLMTP) -> None:
    before = dovecot.mail("alice")
    assert sent(store, "alice").code == 250
    [message] = set(dovecot.mail("alice")) - set(before)
    text = message.replace(b"\r\n", b"\n")
    assert b"\n.hello\n" in text and b"Return-Path: <carol@example.net>\n" in text


def test_an_unknown_recipient_stops_the_message_before_the_content(
    store: Gatepost, dovecot: DovecotLMTP
) -> None:
    before = len(dovecot.mail("alice"))
    is_partial = store.is_partial  # type: ignore[attr-defined]
    reply = sent(store, "alice", "mallory")
    assert (reply.code, reply.status) == ((250, "2.0.0") if is_partial else (550, "5.1.1"))
    assert len(dovecot.mail("alice")) == before + is_partial
    assert (sent(store, "mallory").code, len(dovecot.mail("alice"))) == (550, before + is_partial)


def test_a_full_mailbox_is_told_although_the_other_copy_is_there(
    store: Gatepost, dovecot: DovecotLMTP
) -> None:
    """Dovecot says it after the content, for that recipient alone."""
    before = len(dovecot.mail("alice"))
    reply = sent(store, "alice", "bob")
    is_partial = store.is_partial  # type: ignore[attr-defined]
    assert (reply.code, reply.status) == ((250, "2.0.0") if is_partial else (552, "5.2.2"))
    assert len(dovecot.mail("alice")) == before + 1 and not dovecot.mail("bob")
    assert sent(store, "bob").code == 552
