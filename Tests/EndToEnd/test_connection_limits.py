"""How many sessions one address and one network may have, and how many may begin in a minute."""

from __future__ import annotations

import signal
import socket

import pytest

from harness.gatepost import Gatepost
from harness.smtp import Dialogue


def proxy_header(client: str) -> bytes:
    """A PROXY header of version 1 that names `client`."""
    family, own = ("TCP6", "2001:db8:ffff::1") if ":" in client else ("TCP4", "198.51.100.2")
    return f"PROXY {family} {client} {own} 4711 25\r\n".encode()


def begins(gatepost: Gatepost, source: str) -> Dialogue:
    client = gatepost.connect(source=source)
    client.expect(220)
    return client


def refused(gatepost: Gatepost, source: str) -> None:
    with gatepost.connect(source=source) as client:
        assert client.expect(421).status == "4.7.0"
        client.closed()


def test_sessions_of_a_network(gatepost: Gatepost) -> None:
    gatepost.limits(max_sessions_per_network=2)
    frontend, _ = gatepost.run()
    with begins(gatepost, "127.0.0.1") as first, begins(gatepost, "127.0.0.2"):
        refused(gatepost, "127.0.0.3")
        frontend.logged(r"a session was refused by a limit .*client=127\.0\.0\.3 limit=max_sessions_per_network")
        begins(gatepost, "127.0.1.3").close()
        first.command("QUIT", 221)
        first.closed()
        begins(gatepost, "127.0.0.3").close()


@pytest.mark.parametrize(
    ("key", "other", "free"),
    [
        ("max_new_sessions_per_ip", "127.0.0.1", "127.0.0.2"),
        ("max_new_sessions_per_network", "127.0.0.2", "127.0.1.1"),
    ],
)
def test_new_sessions_of_a_minute(gatepost: Gatepost, key: str, other: str, free: str) -> None:
    gatepost.limits(**{key: 3})
    frontend, _ = gatepost.run()
    for _ in range(3):
        with begins(gatepost, "127.0.0.1") as client:
            client.command("QUIT", 221)
            client.closed()
    refused(gatepost, other)
    frontend.logged(rf"a session was refused by a limit .*limit={key}")
    begins(gatepost, free).close()
    # A new limit holds at once, for the minute that has begun.
    gatepost.limits(**{key: 4})
    gatepost.write_frontend_toml()
    before = frontend.log_position()
    frontend.signal(signal.SIGHUP)
    frontend.logged("reloaded", after=before)
    begins(gatepost, other).close()
    refused(gatepost, other)


@pytest.mark.parametrize(
    ("key", "clients"),
    [
        ("max_sessions_per_ip", ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:2::1"]),
        ("max_sessions_per_network", ["2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:2:1::1"]),
        ("max_sessions_per_network", ["192.0.2.1", "192.0.2.2", "192.0.3.1"]),
        ("max_sessions_per_network", ["192.0.2.1", "::ffff:192.0.2.2", "192.0.3.1"]),
        ("max_new_sessions_per_ip", ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:2::1"]),
        ("max_new_sessions_per_network", ["2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:2:1::1"]),
    ],
)
def test_what_a_proxy_names_is_counted(gatepost: Gatepost, key: str, clients: list[str]) -> None:
    """The first two clients count together, and the proxy's own connections do not count at all."""
    gatepost.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    gatepost.limits(**{key: 1})
    gatepost.run()
    for _ in range(3):
        # A health check.
        with gatepost.connect() as client:
            client.send(b"PROXY UNKNOWN\r\n")
            client.expect(220)
            client.command("QUIT", 221)
            client.closed()
    with gatepost.connect() as first, gatepost.connect() as second, gatepost.connect() as third:
        first.send(proxy_header(clients[0]))
        first.expect(220)
        second.send(proxy_header(clients[1]))
        second.expect(421)
        second.closed()
        third.send(proxy_header(clients[2]))
        third.expect(220)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on its loopback interface")


@needs_ipv6
@pytest.mark.parametrize(
    ("address", "hosts"),
    [("[::1]", {"::1": "IPv6:::1"}), ("[::]", {"::1": "IPv6:::1", "127.0.0.1": "127.0.0.1"})],
    ids=["one-address", "both-families"],
)
def test_ipv6(gatepost: Gatepost, address: str, hosts: dict[str, str]) -> None:
    """A message over each family: what policy sees, what is counted, and the Received field."""
    gatepost.listener["address"] = f"{address}:{gatepost.port}"
    gatepost.limits(max_sessions_per_ip=1, max_sessions_per_network=1)
    frontend, _ = gatepost.run()
    for host, literal in hosts.items():
        before = len(gatepost.maildir.messages())
        with Dialogue(gatepost.port, host=host) as client:
            client.ehlo(f"[{literal}]")
            client.deliver(b"Subject: x\r\n\r\nhello\r\n")
            with Dialogue(gatepost.port, host=host) as second:
                second.expect(421)
                second.closed()
            client.quit()
        messages = gatepost.maildir.messages()
        assert len(messages) == before + 1
        received = [message.header("Received")[0].decode() for message in messages]
        assert any(f"[{literal}]" in field for field in received), received
        frontend.logged(rf"session .*client={host} ")
