"""Lists in the DNS and names of clients, asked of a real resolver; a proxy names the clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.peers import Unbound

MESSAGE = b"From: <bob@a.test>\r\nSubject: listed\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def listing(make_gatepost: Callable[..., Gatepost]) -> Iterator[Gatepost]:
    unbound = Unbound()
    server = make_gatepost()
    server.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    server.worker_toml(dns={"servers": [f"127.0.0.1:{unbound.port}"], "timeout_ms": 2_000})
    server.control("dnsbl_zones", "all.test", "bl.test=127.0.0.[2..11]", "drop.test", "refused.test")
    server.control("rhsbl_zones", "all.test", "rhs.test  %DOMAIN% is in %ZONE%")
    server.plugins("fcrdns", "dnsbl timeout 1", "rhsbl", "rcpt_ok", "queue/maildir {mail}")
    server.run()
    yield server
    unbound.close()


def banner(server: Gatepost, client: str) -> str:
    with server.connect() as session:
        session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
        return str(session.reply(10))


def test_a_listed_client_is_refused_with_the_lists_own_text(listing: Gatepost) -> None:
    """The lists beside it list everything, are silent or refuse: they count for nothing."""
    reply = banner(listing, "198.51.100.2")
    assert "554" in reply and "5.7.1 see https://bl.test/" in reply
    worker = listing.programs[-1]
    worker.logged(r"all\.test: lists everything")
    worker.logged(r"refused\.test: ")
    worker.logged(r"drop\.test: ")


@pytest.mark.parametrize(
    ("client", "name"),
    [("198.51.100.3", b"mail.three.test"), ("198.51.100.4", None), ("198.51.100.5", None)],
)
def test_the_received_field_has_the_name_that_leads_back(
    listing: Gatepost, client: str, name: bytes | None
) -> None:
    """SpamAssassin reads it there (RFC 5321 §4.4)."""
    with listing.connect() as session:
        session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
        session.expect(220)
        session.command("EHLO client.example", 250)
        session.envelope("bob@a.test")
        assert session.data(MESSAGE).code == 250
    received = listing.maildir.messages()[-1].header("Received")[0]
    ip = f"[{client}]".encode()
    assert b"from client.example (" + (name + b" " if name else b"") + ip + b")" in received


def test_a_sender_of_a_listed_domain_is_refused(listing: Gatepost) -> None:
    with listing.connect() as session:
        session.send(b"PROXY TCP4 198.51.100.5 192.0.2.250 4711 25\r\n")
        session.expect(220)
        session.command("EHLO client.example", 250)
        reply = session.command("MAIL FROM:<bob@evil.test>")
        assert (reply.code, reply.status, reply.text) == (550, "5.7.1", "5.7.1 evil.test is in rhs.test")
