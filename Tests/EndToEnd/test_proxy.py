"""The PROXY protocol: HAProxy in front of a listener, and headers by raw sockets."""

from __future__ import annotations

import smtplib
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.peers import HAProxy
from harness.smtp import Dialogue

MESSAGE = b"From: <bob@example.net>\r\nSubject: proxied\r\n\r\nhello\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version1(client: str, port: int = 4711) -> bytes:
    return f"PROXY TCP4 {client} 198.51.100.2 {port} 25\r\n".encode()


def version2(client: str, command: int = 0x21, family: int = 0x11) -> bytes:
    body = socket.inet_aton(client) + socket.inet_aton("198.51.100.2") + struct.pack(">HH", 4711, 25)
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


@pytest.fixture
def proxied(gatepost: Gatepost) -> Gatepost:
    gatepost.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    return gatepost


@contextmanager
def sessions(gatepost: Gatepost) -> Iterator[list[dict[str, Any]]]:
    """A frontend whose worker is shown each session at HELO or EHLO."""
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(["ehlo"]) as worker:
        frontend.ready()
        yield worker.events


@pytest.mark.parametrize(
    "option",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl",
    ],
)
def test_haproxy_names_the_client(proxied: Gatepost, option: str) -> None:
    with sessions(proxied) as events, HAProxy(proxied.port, option) as haproxy:
        with Dialogue(haproxy.port, source="127.0.0.9") as client:
            own = client.socket.getsockname()
            client.ehlo()
            client.quit()
        session = events[-1]["session"]
        assert session["client"] == {"ip": "127.0.0.9", "port": own[1], "name": None}
        assert session["server"] == {"ip": "127.0.0.1", "port": haproxy.port}
        assert session["proxy"]["ip"] == "127.0.0.1"
        assert session["early_talker"] is False
        proxied.programs[0].logged(r"session .*client=127\.0\.0\.9 .*proxy=127\.0\.0\.1")


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_tls_behind_haproxy(proxied: Gatepost, option: str) -> None:
    certificate = certificates.make(proxied.folder, "mx", "mx1.example.com")
    proxied.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    proxied.listener["tls"] = "implicit"
    proxied.run()
    with HAProxy(proxied.port, option) as haproxy:
        with smtplib.SMTP_SSL(
            "127.0.0.1", haproxy.port, timeout=20, context=trusting(), source_address=("127.0.0.9", 0)
        ) as client:
            client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE)
            client.quit()
    received = proxied.maildir.only().octets
    assert b" with ESMTPS id " in received
    assert b"127.0.0.9" in received


def trusting() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


@pytest.mark.parametrize("cut", [None, 1, 20], ids=["one-segment", "octet-wise", "pieces"])
def test_header_and_client_hello_together(proxied: Gatepost, cut: int | None) -> None:
    certificate = certificates.make(proxied.folder, "mx", "mx1.example.com")
    proxied.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    proxied.listener["tls"] = "implicit"
    with sessions(proxied) as events:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = trusting().wrap_bio(incoming, outgoing)
        with Dialogue(proxied.port) as client:
            octets = version2("192.0.2.77")
            said = b""
            while b"221" not in said:
                try:
                    if b"250 " not in said and b"220" in said:
                        peer.write(b"EHLO x\r\nQUIT\r\n")
                    said += peer.read()
                except ssl.SSLWantReadError:
                    octets += outgoing.read()
                    if octets and cut:
                        parts = (octets[at : at + cut] for at in range(0, len(octets), cut))
                        client.pieces(*parts, pause=0.0003)
                    elif octets:
                        client.send(octets)
                    octets = b""
                    more = client.socket.recv(65_536)
                    assert more, client.describe("closed during the handshake")
                    incoming.write(more)
        assert events[-1]["session"]["client"]["ip"] == "192.0.2.77"
        assert events[-1]["session"]["tls"] is not None


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 25\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12,
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\0" * 11,
        SIGNATURE + b"\x21\x12\x00\x0c" + b"\0" * 12,
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff",
    ],
)
def test_what_is_no_header_is_closed_and_logged(proxied: Gatepost, header: bytes) -> None:
    frontend, _ = proxied.run()
    with Dialogue(proxied.port) as client:
        client.send(header)
        client.closed()
    frontend.logged(r"a PROXY header was refused .*client=127\.0\.0\.1 .*error=")


def test_a_late_header_is_closed_and_logged(proxied: Gatepost) -> None:
    proxied.listener["proxy_timeout_ms"] = 300
    frontend, _ = proxied.run()
    for octets in (b"", b"PROXY TCP4 192.0.2.1 ", SIGNATURE + b"\x21\x11\xff\xff"):
        with Dialogue(proxied.port) as client:
            client.send(octets)
            client.closed()
    frontend.logged(r"a PROXY header was refused .*it did not come in time")


def test_strangers_are_closed_and_logged(proxied: Gatepost) -> None:
    proxied.listener["proxy_networks"] = ["127.0.0.2"]
    frontend, _ = proxied.run()
    with Dialogue(proxied.port) as client:
        client.send(version1("192.0.2.1"))
        assert client.drain() == b""
    frontend.logged(r"not from proxy_networks was closed .*client=127\.0\.0\.1 ")
    with Dialogue(proxied.port, source="127.0.0.2") as client:
        client.send(version1("192.0.2.1"))
        client.ehlo()
        client.quit()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", version2("192.0.2.1", command=0x20)])
def test_a_proxy_that_speaks_for_itself_is_the_client(proxied: Gatepost, header: bytes) -> None:
    with sessions(proxied) as events, Dialogue(proxied.port) as client:
        own = client.socket.getsockname()
        client.send(header)
        client.ehlo()
        session = events[-1]["session"]
        assert session["client"] == {"ip": own[0], "port": own[1], "name": None}
        assert session["proxy"] is None
        client.quit()


def test_limits_count_the_true_client(proxied: Gatepost) -> None:
    proxied.limits(max_sessions_per_ip=1)
    proxied.run()
    with Dialogue(proxied.port) as first, Dialogue(proxied.port) as second:
        first.send(version1("192.0.2.1"))
        first.ehlo()
        second.send(version2("192.0.2.2"))
        second.ehlo()
        with Dialogue(proxied.port) as third:
            third.send(version2("192.0.2.1"))
            third.expect(421)
            third.closed()
        # The refused session took nothing from the count, and the end of the first gives it back.
        with Dialogue(proxied.port) as third:
            third.send(version2("192.0.2.1"))
            third.expect(421)
        first.quit()
        with Dialogue(proxied.port) as third:
            third.send(version2("192.0.2.1"))
            third.ehlo()
            third.quit()


def test_the_greeting_delay_looks_at_the_true_client(proxied: Gatepost) -> None:
    proxied.listener.update(greeting_delay_ms=60_000, greeting_delay_exempt=["192.0.2.0/24"])
    with sessions(proxied) as events:
        with Dialogue(proxied.port) as client:
            client.send(version1("192.0.2.1"))
            client.ehlo()
            client.quit()
        assert events[-1]["session"]["early_talker"] is False
        with Dialogue(proxied.port) as client:
            client.send(version1("198.51.100.7") + b"EHLO client.example\r\n")
            client.expect(220)
            client.expect(250)
        assert events[-1]["session"]["early_talker"] is True


def test_a_listener_without_the_key_takes_no_header(gatepost: Gatepost) -> None:
    with sessions(gatepost) as events, Dialogue(gatepost.port) as client:
        client.send(version1("192.0.2.1"))
        client.expect(220)
        assert not client.reply().is_positive
        client.command("EHLO client.example", 250)
        assert events[-1]["session"]["client"]["ip"] == "127.0.0.1"
        client.quit()
