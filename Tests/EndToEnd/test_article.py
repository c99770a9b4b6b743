"""The configuration of the article, against a real spamd and a real resolver.

    # quit_fortune
    check_earlytalker
    count_unrecognized_commands 4
    require_resolvable_fromhost
    spamassassin

Peers come from Debian packages and are started once, on loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.gatepost import DELIVERING, Gatepost
from harness.peers import Spamd, Unbound
from harness.ports import free_port
from harness.smtp import Dialogue, Reply

pytestmark = pytest.mark.xdist_group("article")

SAMPLES = Path("/usr/share/doc/spamassassin/examples")
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HAM = (
    b"From: Bob <bob@mx.test>\r\nTo: Alice <alice@example.com>\r\nSubject: minutes of the meeting\r\n"
    b"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <1@mx.test>\r\nX-Spam-Flag: YES\r\n"
    b"X-Spam-Invented: forged\r\n\r\nDear Alice,\r\n\r\nhere are the minutes.\r\n\r\nBob\r\n"
)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes().replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def spamd() -> Iterator[Spamd]:
    peer = Spamd()
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def unbound() -> Iterator[Unbound]:
    peer = Unbound()
    yield peer
    peer.close()


class Article:
    """An installation with the article's plugins."""

    def __init__(self, server: Gatepost, spamd_port: int, dns_port: int, **changes: str) -> None:
        self.server = server
        fromhost = changes.get("fromhost", "require_resolvable_fromhost")
        spamassassin = f"spamassassin spamd_socket 127.0.0.1:{spamd_port} "
        server.plugins(
            "# quit_fortune",
            "check_earlytalker",
            "count_unrecognized_commands 4",
            fromhost,
            spamassassin + changes.get("thresholds", "reject 15 munge_subject_threshold 8"),
            *DELIVERING,
        )
        server.worker_toml(dns={"servers": [f"127.0.0.1:{dns_port}"], "timeout_ms": 800})
        server.listener.update(greeting_delay_ms=300, greeting_pass_ttl_ms=0)
        server.run()

    def mail(self, sender: str) -> Reply:
        with self.server.connect() as client:
            client.ehlo()
            return client.command(f"MAIL FROM:<{sender}>")

    def send(self, message: bytes, sender: str = "bob@mx.test") -> tuple[Reply, Dialogue]:
        self.server.maildir.clear()
        with self.server.connect(seconds=60) as client:
            client.ehlo()
            client.envelope(sender)
            reply = client.data(message)
            client.quit()
        return reply, client


@pytest.fixture(scope="module")
def article(make_gatepost: Callable[..., Gatepost], spamd: Spamd, unbound: Unbound) -> Article:
    return Article(make_gatepost(), spamd.port, unbound.port)


# spamassassin


def test_gtube_is_refused(article: Article) -> None:
    reply, client = article.send(sample("sample-spam.txt"))
    assert (reply.code, reply.status) == (554, "5.7.1"), client.describe(str(reply))
    assert "spam score exceeded threshold" in reply.text
    assert not article.server.maildir.files()


def test_ham_gets_its_headers(article: Article) -> None:
    reply, client = article.send(HAM)
    assert reply.code == 250, client.describe(str(reply))
    delivered = article.server.maildir.only()
    (status,) = delivered.header("X-Spam-Status")
    assert status.startswith(b"No, score="), status
    assert delivered.header("X-Spam-Checker-Version")
    assert delivered.header("Subject") == [b"minutes of the meeting"]
    # What the message brought along cannot be taken for ours.
    assert delivered.header("X-Spam-Flag") == []
    assert delivered.header("X-Spam-Invented") == []
    assert delivered.header("X-Old-Spam-Flag") == [b"YES"]
    assert delivered.header("X-Old-Spam-Invented") == [b"forged"]


def test_nothing_but_headers_changes(article: Article) -> None:
    """The body and every other field are the client's, octet for octet."""
    message = sample("sample-nonspam.txt")
    reply, client = article.send(message)
    assert reply.code == 250, client.describe(str(reply))
    head, separator, body = message.partition(b"\r\n\r\n")
    delivered = article.server.maildir.only().octets
    assert delivered.endswith(separator + body)
    assert head in delivered, "the fields of the message stand together, as they came"


def test_spam_below_the_threshold_is_marked(
    make_gatepost: Callable[..., Gatepost], spamd: Spamd, unbound: Unbound
) -> None:
    thresholds = "reject 2000 munge_subject_threshold 8"
    marking = Article(make_gatepost(), spamd.port, unbound.port, thresholds=thresholds)
    reply, client = marking.send(sample("sample-spam.txt"))
    assert reply.code == 250, client.describe(str(reply))
    delivered = marking.server.maildir.only()
    assert delivered.header("X-Spam-Flag") == [b"YES"]
    assert delivered.header("Subject") == [b"*** SPAM *** Test spam mail (GTUBE)"]
    assert GTUBE in delivered.octets


def test_spamd_gone_is_a_failure_and_no_verdict(
    make_gatepost: Callable[..., Gatepost], unbound: Unbound
) -> None:
    """No spamd listens: 451 by the failure policy, never an unscanned message."""
    alone = Article(make_gatepost(), free_port(), unbound.port)
    reply, client = alone.send(HAM)
    assert (reply.code, reply.status) == (451, "4.3.0"), client.describe(str(reply))
    assert not alone.server.maildir.files()
    alone.server.programs[0].logged("spamassassin")


# require_resolvable_fromhost


@pytest.mark.parametrize(
    "sender", ["bob@mx.test", "bob@a.test", "bob@aaaa.test", "bob@[192.0.2.1]", "bob@MX.Test"]
)
def test_resolvable_senders_pass(article: Article, sender: str) -> None:
    assert article.mail(sender).code == 250


def test_the_null_sender_is_exempt(article: Article) -> None:
    assert article.mail("").code == 250


@pytest.mark.parametrize("sender", ["bob@missing.test", "bob@nothing.test", "bob@dangling.test"])
def test_unresolvable_senders_are_deferred_by_default(article: Article, sender: str) -> None:
    reply = article.mail(sender)
    assert (reply.code, reply.status) == (450, "4.1.8"), reply
    assert "FQDN required in the envelope sender" in reply.text


def test_a_null_mx_is_permanent(article: Article) -> None:
    reply = article.mail("bob@null.test")
    assert (reply.code, reply.status) == (550, "5.7.27"), reply


@pytest.mark.parametrize("sender", ["bob@drop.test", "bob@refused.test"])
def test_failing_dns_is_temporary(article: Article, sender: str) -> None:
    reply = article.mail(sender)
    assert (reply.code, reply.status) == (451, "4.4.3"), reply


def test_unresolvable_senders_are_refused_where_configured(
    make_gatepost: Callable[..., Gatepost], spamd: Spamd, unbound: Unbound
) -> None:
    """`reject_type perm`: 550 5.1.8, and yet only 451 while DNS is failing. Networks of no use count as none."""
    strict = "require_resolvable_fromhost reject_type perm"
    server = make_gatepost()
    server.control("invalid_resolvable_fromhost", "127.0.0.0/8", "10.0.0.0/8", "192.0.2.26")
    refusing = Article(server, spamd.port, unbound.port, fromhost=strict)
    for sender in ("bob@missing.test", "bob@loop.test", "bob@a.test"):
        reply = refusing.mail(sender)
        assert (reply.code, reply.status) == (550, "5.1.8"), f"{sender}: {reply}"
    assert refusing.mail("bob@mx.test").code == 250
    reply = refusing.mail("bob@drop.test")
    assert (reply.code, reply.status) == (451, "4.4.3"), reply


def test_a_resolver_that_is_gone(make_gatepost: Callable[..., Gatepost], spamd: Spamd) -> None:
    deaf = Article(make_gatepost(), spamd.port, free_port())
    reply = deaf.mail("bob@mx.test")
    assert (reply.code, reply.status) == (451, "4.4.3"), reply
    assert deaf.mail("").code == 250


# check_earlytalker, count_unrecognized_commands, # quit_fortune


def test_the_early_talker_is_refused(article: Article) -> None:
    with article.server.connect() as client:
        client.send(b"HELO spammer.example\r\n")
        reply = client.reply()
        assert (reply.code, reply.status) == (554, "5.7.1"), client.describe(str(reply))
        assert "Connecting host started transmitting before SMTP greeting" in reply.text
        client.closed()


def test_the_fourth_unknown_command_disconnects(article: Article) -> None:
    with article.server.connect() as client:
        client.ehlo()
        for word in ("XYZZY", "", "FOO bar"):
            client.command(word, 500)
        reply = client.command("PLUGH")
        assert reply.code == 521, client.describe(str(reply))
        assert "Closing connection, 4 unrecognized commands." in reply.text
        assert "Perhaps you should read RFC 5321?" in reply.text
        client.closed()


def test_quit_is_plain_as_long_as_fortune_is_a_comment(article: Article) -> None:
    with article.server.connect() as client:
        client.expect(220)
        client.command("HELO client.example", 250)
        assert len(client.command("QUIT", 221).lines) == 1
        client.closed()


def test_quit_fortune(make_gatepost: Callable[..., Gatepost]) -> None:
    server = make_gatepost()
    (server.folder / "sayings").write_text("A stitch in time\nsaves nine.\n%\n" * 3)
    server.plugins("quit_fortune file {folder}/sayings", *DELIVERING)
    server.run()
    with server.connect() as client:
        client.expect(220)
        client.command("HELO client.example", 250)
        lines = client.command("QUIT", 221).lines
        assert "mx1.example.com closing connection." in lines[0], lines
        # An enhanced status code stands on each line (RFC 2034 §4).
        said = [line.removeprefix("2.0.0 ") for line in lines[1:]]
        assert said == ["  / A stitch in time", "  / saves nine."], lines
        client.closed()
    with server.connect() as client:
        client.ehlo()
        assert len(client.command("QUIT", 221).lines) == 1
