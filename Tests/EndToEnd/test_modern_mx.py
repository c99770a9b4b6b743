"""config/modern-mx as a whole, with its real peers: unbound, rspamd, Dovecot for logins and for mailboxes."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.peers import Dovecot, DovecotLMTP, UnboundServer
from harness.ports import free_port
from harness.scanners import RspamdServer
from harness.smtp import Dialogue, Reply

pytestmark = pytest.mark.xdist_group("rspamd")

EXAMPLE = Path(__file__).resolve().parents[2] / "config/modern-mx"
GOOD, LISTED, STRANGE = "198.51.100.3", "198.51.100.2", "198.51.100.9"


class Zones(UnboundServer):
    """A sender with SPF and DMARC, one that wants failures looked at, and a client that a list names."""

    RECORDS = (
        'good.test. TXT "v=spf1 ip4:198.51.100.3 -all"',
        '_dmarc.good.test. TXT "v=DMARC1; p=reject"',
        'shy.test. TXT "v=spf1 ip4:198.51.100.3 -all"',
        '_dmarc.shy.test. TXT "v=DMARC1; p=quarantine"',
        'other.test. TXT "v=spf1 ip4:198.51.100.3 -all"',
        *(f"{name}.test. MX 10 mail.good.test." for name in ("good", "shy", "other")),
        "mail.good.test. A 198.51.100.3",
        "3.100.51.198.in-addr.arpa. PTR mail.good.test.",
        "2.100.51.198.zen.spamhaus.org. A 127.0.0.2",
    )

    def __init__(self) -> None:
        super().__init__("mm")
        data = "".join(f"  local-data: '{record}'\n" for record in self.RECORDS)
        self.serve('  local-zone: "100.51.198.in-addr.arpa." static\n' + data)


@pytest.fixture(scope="module")
def peers() -> Iterator[dict[str, object]]:
    started = {
        "dns": Zones(),
        "rspamd": RspamdServer(),
        "lmtp": DovecotLMTP(),
        "logins": Dovecot({"alice@example.com": "secret"}),
    }
    yield started
    for peer in reversed(started.values()):
        peer.close()


@pytest.fixture(scope="module")
def exchanger(make_gatepost: Callable[..., Gatepost], peers: dict) -> Gatepost:
    """The example with other addresses, and the only change of policy: a new client need not wait."""
    server = make_gatepost()
    server.submission = free_port()
    certificate = certificates.make(server.folder, "mx", "mx.example.com")
    changes = {
        "frontend.toml": {
            'user = "gatepost"\n': "",
            "/etc/ssl/gatepost/fullchain.pem": str(certificate.chain),
            "/etc/ssl/gatepost/key.pem": str(certificate.key),
            "0.0.0.0:25": f"127.0.0.1:{server.port}",
            "0.0.0.0:587": f"127.0.0.1:{server.submission}",
            # The clients of the test come through a proxy, so that they have addresses of their own.
            'name = "mx"\n': 'name = "mx"\nproxy_protocol = true\nproxy_networks = ["127.0.0.1"]\n',
            "greeting_delay_ms = 1000": "greeting_delay_ms = 10",
        },
        "worker.toml": {"127.0.0.1:53": f"127.0.0.1:{peers['dns'].port}"},
        "plugins": {
            "/run/dovecot/auth-client": str(peers["logins"].client),
            "black_timeout 5m": "black_timeout 0",
            "127.0.0.1:11333": f"127.0.0.1:{peers['rspamd'].port}",
            "/run/dovecot/lmtp": str(peers["lmtp"].socket),
        },
        "me": {},
        "rcpthosts": {},
        "dnsbl_zones": {},
    }
    folder = server.folder / "modern"
    folder.mkdir()
    assert {path.name for path in EXAMPLE.iterdir()} == changes.keys()
    for name, replaced in changes.items():
        text = (EXAMPLE / name).read_text()
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new, 1)
        (folder / name).write_text(text)
    frontend = server.frontend(ready=False, config="modern")
    server.worker(config="modern")
    frontend.ready()
    return server


def connect(server: Gatepost, client: str) -> Dialogue:
    session = server.connect(seconds=60)
    session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
    return session


def send(server: Gatepost, client: str, sender: str, author: str, want: str = "") -> Reply:
    """What is said of the message, or of its recipient if that is refused."""
    with connect(server, client) as session:
        session.ehlo("mail.good.test")
        reply = session.command(f"MAIL FROM:<{sender}>")
        if reply.code == 250:
            reply = session.command("RCPT TO:<alice@example.com>")
        if reply.code == 250:
            field = f"X-Want: {want}\r\n" if want else ""
            reply = session.data(f"From: {author}\r\nSubject: hello\r\n{field}\r\nhello\r\n".encode())
        session.quit()
    return reply


def passed(server: Gatepost, *arguments: str) -> Reply:
    """The same once the client is known to greylisting."""
    reply = send(server, *arguments)
    return send(server, *arguments) if "4.7.1" in str(reply) else reply


def test_a_new_client_waits_and_its_message_arrives_with_what_is_known_of_it(exchanger: Gatepost, peers: dict) -> None:
    first = send(exchanger, GOOD, "bob@good.test", "bob@good.test")
    assert first.code == 450 and first.status == "4.7.1"
    assert send(exchanger, GOOD, "bob@good.test", "bob@good.test").code == 250
    (message,) = peers["lmtp"].mail("alice")
    header = message.partition(b"\n\n")[0].decode()
    assert "from mail.good.test (mail.good.test [198.51.100.3])" in header
    unfolded = header.replace("\n\t", " ").replace("\n ", " ")
    (results,) = [line for line in unfolded.splitlines() if line.startswith("Authentication-Results: mx.example.com;")]
    for result in ("iprev=pass", "spf=pass", "dkim=none", "dmarc=pass"):
        assert result in results


def test_a_listed_client_is_refused(exchanger: Gatepost) -> None:
    with connect(exchanger, LISTED) as session:
        assert session.expect(554).status == "5.7.1"


def test_a_client_that_may_not_send_for_the_domain_is_refused(exchanger: Gatepost) -> None:
    reply = send(exchanger, STRANGE, "bob@good.test", "bob@good.test")
    assert (reply.code, reply.status) == (550, "5.7.23")


def test_what_the_domain_in_from_wants_refused_is_refused(exchanger: Gatepost) -> None:
    reply = passed(exchanger, GOOD, "bob@other.test", "bob@good.test")
    assert (reply.code, reply.status) == (550, "5.7.26")


def test_what_the_domain_in_from_wants_looked_at_is_kept(exchanger: Gatepost, peers: dict) -> None:
    before = len(peers["lmtp"].mail("alice"))
    assert passed(exchanger, GOOD, "bob@other.test", "bob@shy.test").code == 250
    assert len(peers["lmtp"].mail("alice")) == before
    kept = [path for path in (exchanger.folder / "var/quarantine").rglob("*") if path.is_file()]
    assert any(b"bob@shy.test" in path.read_bytes() for path in kept)


def test_what_rspamd_rejects_is_refused(exchanger: Gatepost) -> None:
    reply = passed(exchanger, GOOD, "bob@good.test", "bob@good.test", "reject")
    assert (reply.code, reply.status) == (554, "5.7.1")


def test_a_user_logs_in_and_sends(exchanger: Gatepost, peers: dict) -> None:
    before = len(peers["lmtp"].mail("alice"))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", exchanger.submission, timeout=60) as client:
        client.ehlo("laptop.example")
        assert client.docmd("MAIL", "FROM:<alice@example.com>")[0] == 530
        client.starttls(context=context)
        client.login("alice@example.com", "secret")
        client.sendmail("alice@example.com", ["alice@example.com"], "From: alice@example.com\r\n\r\nto myself\r\n")
    assert len(peers["lmtp"].mail("alice")) == before + 1
