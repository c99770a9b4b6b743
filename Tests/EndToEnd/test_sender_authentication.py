"""sender_permitted_from, authentication_results and helo with a real resolver; a proxy names the clients."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.peers import UnboundServer
from harness.smtp import Dialogue, Reply

CLIENT = "198.51.100.3"
OTHER = "198.51.100.9"
MESSAGE = (
    b"Authentication-Results: mx1.example.com; spf=pass smtp.mailfrom=forged.test\r\n"
    b"authentication-results:\r\n (it is) \"MX1.Example.COM\" 1;\r\n dkim=pass header.d=forged.test\r\n"
    b"Authentication-Results: other.test; spf=pass smtp.mailfrom=other.test\r\n"
    b"From: <bob@pass.test>\r\nSubject: origin\r\n\r\nhello\r\n"
)


class Policies(UnboundServer):
    """A resolver that knows these zones; `dead.test` is never answered and `refused.test` is refused."""

    ZONES = (
        'pass.test. TXT "v=spf1 include:hosts.pass.test " "-all"',
        'pass.test. TXT "something else"',
        'hosts.pass.test. TXT "v=spf1 mx:mail.test ?all"',
        "mail.test. MX 10 in.mail.test.",
        "in.mail.test. A 198.51.100.3",
        'fail.test. TXT "v=spf1 -all exp=why.fail.test"',
        'why.fail.test. TXT "See http://fail.test/?from=%{S}&ip=%{I}"',
        'soft.test. TXT "v=spf1 redirect=_soft.test"',
        '_soft.test. TXT "v=spf1 ~all"',
        'neutral.test. TXT "v=spf1 ?all"',
        "none.test. A 192.0.2.1",
        'broken.test. TXT "v=spf1 ipv4:198.51.100.3 -all"',
        'behind.test. TXT "v=spf1 a:host.dead.test -all"',
        'asks.test. TXT "v=spf1 exists:refused.test -all"',
        'users.test. TXT "v=spf1 exists:%{l}._users.%{d} -all"',
        "bob+tag._users.users.test. A 127.0.0.2",
        'client.test. TXT "v=spf1 a -all"',
        "client.test. A 198.51.100.3",
        "3.100.51.198.in-addr.arpa. PTR client.test.",
        "far.test. A 192.0.2.1",
    )

    def __init__(self) -> None:
        super().__init__("spf")
        data = "".join(f"  local-data: '{record}'\n" for record in self.ZONES)
        self.serve(
            '  local-zone: "test." static\n'
            '  local-zone: "dead.test." deny\n'
            '  local-zone: "refused.test." refuse\n'
            '  local-zone: "100.51.198.in-addr.arpa." static\n' + data
        )

    def _answers(self) -> bool:
        query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4none\4test\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            try:
                udp.sendto(query, ("127.0.0.1", self.port))
                answer = udp.recv(1500)
            except OSError:
                return False
        return answer[3] & 15 == 0 and answer[7] == 1


@pytest.fixture(scope="module")
def policies() -> Iterator[Policies]:
    unbound = Policies()
    yield unbound
    unbound.close()


@pytest.fixture(scope="module")
def origin(make_gatepost: Callable[..., Gatepost], policies: Policies) -> Gatepost:
    server = make_gatepost()
    server.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    server.offer_auth()
    server.worker_toml(dns={"servers": [f"127.0.0.1:{policies.port}"], "timeout_ms": 1_000})
    server.control("flat_auth_pw", "jo@example.com:secret")
    server.plugins(
        "fcrdns",
        "helo policy rfc reject 0",
        "auth/auth_flat_file",
        "sender_permitted_from timeout 3",
        "rcpt_ok",
        "authentication_results",
        "queue/maildir {mail}",
    )
    server.run()
    return server


def connect(server: Gatepost, client: str = CLIENT) -> Dialogue:
    session = server.connect()
    session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
    session.expect(220)
    return session


def mail(server: Gatepost, sender: str, client: str = CLIENT, hello: str = "client.test") -> Reply:
    with connect(server, client) as session:
        session.command(f"EHLO {hello}", 250)
        return session.command(f"MAIL FROM:<{sender}>")


def unfolded(value: bytes) -> str:
    return " ".join(value.decode().split())


def test_a_message_tells_what_was_found(origin: Gatepost) -> None:
    """Received-SPF and Authentication-Results are on top; fields that pretend to be ours are gone."""
    origin.control("spfbehavior", "3")
    with connect(origin) as session:
        session.command("EHLO client.test", 250)
        session.envelope("bob@pass.test")
        assert session.data(MESSAGE).code == 250
    message = origin.maildir.messages()[-1]
    assert [unfolded(value) for value in message.header("Authentication-Results")] == [
        f"mx1.example.com; iprev=pass policy.iprev={CLIENT}; spf=pass smtp.mailfrom=pass.test",
        "other.test; spf=pass smtp.mailfrom=other.test",
    ]
    (field,) = message.header("Received-SPF")
    text = unfolded(field)
    assert text.startswith(f"pass (mx1.example.com: pass.test designates {CLIENT} as permitted sender)")
    assert 'envelope-from="bob@pass.test"; helo=client.test; receiver=mx1.example.com;' in text
    assert text.endswith('mechanism="include:hosts.pass.test";')
    assert not any(b"forged" in value for value in message.header("Authentication-Results"))


def test_results_are_of_one_message_and_a_login_stands_beside_them(origin: Gatepost) -> None:
    """The second message of a session has its own results; a relay client is not asked about."""
    origin.control("spfbehavior", "1")
    with connect(origin, OTHER) as session:
        session.command("EHLO client.test", 250)
        for sender, result in (("bob@fail.test", "fail"), ("bob@none.test", "none")):
            session.envelope(sender)
            assert session.data(MESSAGE).code == 250
            field = unfolded(origin.maildir.messages()[-1].header("Authentication-Results")[0])
            domain = sender.partition("@")[2]
            assert field == (
                f"mx1.example.com; iprev=permerror policy.iprev={OTHER}; "
                f"spf={result} smtp.mailfrom={domain}"
            )
        login = base64.b64encode(b"\0jo@example.com\0secret").decode()
        session.command(f"AUTH PLAIN {login}", 235)
        session.envelope("bob@fail.test")
        assert session.data(MESSAGE).code == 250
    message = origin.maildir.messages()[-1]
    assert unfolded(message.header("Authentication-Results")[0]) == (
        f"mx1.example.com; iprev=permerror policy.iprev={OTHER}; auth=pass smtp.auth=jo@example.com"
    )
    assert not message.header("Received-SPF")


LEVELS = [
    ("bob@fail.test", 3, 550, "5.7.23"),
    ("bob@soft.test", 4, 550, "5.7.23"),
    ("bob@neutral.test", 5, 550, "5.7.23"),
    ("bob@none.test", 6, 550, "5.7.23"),
    ("bob@broken.test", 6, 550, "5.7.24"),
    ("bob@users.test", 3, 550, "5.7.23"),
    ("bob@asks.test", 2, 451, "4.7.24"),
]


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, 6])
def test_each_level_refuses_one_more_result(origin: Gatepost, level: int) -> None:
    origin.control("spfbehavior", str(level))
    for sender, least, code, status in LEVELS:
        reply = mail(origin, sender, OTHER)
        if level < least:
            assert reply.code == 250, (sender, str(reply))
        else:
            assert (reply.code, reply.status) == (code, status), (sender, str(reply))
    assert mail(origin, "bob@pass.test").code == 250


def test_the_domains_own_words_and_the_octets_of_a_local_part(origin: Gatepost) -> None:
    origin.control("spfbehavior", "3")
    reply = mail(origin, "b&b@fail.test", OTHER)
    assert f"{OTHER} is not allowed to send mail for fail.test (SPF)" in str(reply)
    assert f"fail.test says: See http://fail.test/?from=b%26b%40fail.test&ip={OTHER}" in str(reply)
    assert mail(origin, "bob+tag@users.test", OTHER).code == 250


def test_a_bounce_is_judged_by_the_name_of_the_client(origin: Gatepost) -> None:
    origin.control("spfbehavior", "6")
    assert mail(origin, "", CLIENT, "client.test").code == 250
    reply = mail(origin, "", OTHER, "client.test")
    assert (reply.code, reply.status) == (550, "5.7.23")
    assert mail(origin, "", OTHER, "none.test").code == 250


@pytest.mark.parametrize("sender", ["bob@dead.test", "bob@behind.test"])
def test_a_dead_zone_is_451_within_the_deadline(origin: Gatepost, sender: str) -> None:
    origin.control("spfbehavior", "6")
    start = time.monotonic()
    reply = mail(origin, sender, OTHER)
    assert (reply.code, reply.status) == (451, "4.7.24")
    assert time.monotonic() - start < 10
    origin.control("spfbehavior", "1")
    with connect(origin, OTHER) as session:
        session.command("EHLO client.test", 250)
        session.envelope(sender)
        assert session.data(MESSAGE).code == 250
    message = origin.maildir.messages()[-1]
    assert "spf=temperror" in unfolded(message.header("Authentication-Results")[0])
    assert unfolded(message.header("Received-SPF")[0]).startswith("temperror ")


@pytest.fixture(scope="module")
def greeted(make_gatepost: Callable[..., Gatepost], policies: Policies) -> Gatepost:
    server = make_gatepost()
    server.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    server.worker_toml(dns={"servers": [f"127.0.0.1:{policies.port}"], "timeout_ms": 1_000})
    server.control("badhelo", "bad.test", "^dyn-")
    server.plugins(
        "helo policy strict x_helo 1 timeout 2", "rcpt_ok", "queue/maildir {mail}"
    )
    server.run()
    return server


@pytest.mark.parametrize(
    ("name", "client", "text"),
    [
        ("bad.test", CLIENT, "I do not believe you are bad.test"),
        ("dyn-1.test", CLIENT, "Your HELO name is not allowed"),
        ("localhost", CLIENT, "You are not localhost"),
        ("[198.51.100.9]", CLIENT, "Forged IPs"),
        ("198.51.100.3", CLIENT, "without brackets"),
        ("host", CLIENT, "not fully qualified"),
        ("absent.test", CLIENT, "does not exist"),
        ("client.test", OTHER, "No reverse DNS"),
        ("far.test", CLIENT, "does not match"),
    ],
)
def test_a_bad_name_is_refused(greeted: Gatepost, name: str, client: str, text: str) -> None:
    for verb in ("EHLO", "HELO"):
        with connect(greeted, client) as session:
            reply = session.command(f"{verb} {name}")
            assert reply.code == 550 and text in str(reply)
            session.closed()


@pytest.mark.parametrize("name", ["client.test", "host.dead.test", "refused.test"])
def test_a_good_name_passes_and_so_does_one_that_the_dns_does_not_tell(greeted: Gatepost, name: str) -> None:
    with connect(greeted) as session:
        session.command(f"EHLO {name}", 250)
        session.envelope("bob@pass.test")
        assert session.data(b"X-HELO: forged\r\nSubject: x\r\n\r\nhello\r\n").code == 250
    assert greeted.maildir.messages()[-1].header("X-HELO") == [f" {name}".encode().strip()]
