"""DANE for the next hop (RFC 7672): what TLSA records say of its certificate, in zones that are signed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import certificates
from harness.certificates import Certificate
from harness.gatepost import Gatepost
from harness.peers import SignedZones
from harness.program import Program
from harness.scripted_hop import ScriptedHop
from harness.smtp import Reply
from harness.waiting import wait_until
from test_tls import context

MESSAGE = b"From: <bob@example.net>\r\nSubject: on its way\r\n\r\nhello\r\n"


def key_of(certificate: Certificate) -> bytes:
    command = ["openssl", "pkey", "-in", str(certificate.key), "-pubout", "-outform", "DER"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def whole(certificate: Certificate) -> bytes:
    """The first certificate of the file, in DER."""
    pem = certificate.chain.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(pem)


class Scene:
    """Hops with certificates of two kinds, and what a signed zone says of them.

    `expired` is a certificate that signs itself, for another name; `below` is one by an authority, which the
    hop shows too.
    """

    def __init__(self, folder: Path, gatepost: Gatepost, stack: contextlib.ExitStack) -> None:
        self.gatepost = gatepost
        self.expired = certificates.make(folder, "expired", "elsewhere.example", days=-1)
        self.authority = certificates.authority(folder, "authority")
        issued = certificates.issue(
            folder, "below", self.authority, extensions="subjectAltName=DNS:ta.signed.test"
        )
        chain = folder / "chain.pem"
        chain.write_bytes(issued.chain.read_bytes() + self.authority.chain.read_bytes())
        self.below = Certificate(chain, issued.key)
        self.alone = stack.enter_context(ScriptedHop(self.expired))
        self.chained = stack.enter_context(ScriptedHop(self.below))
        self.plain = stack.enter_context(ScriptedHop())
        self.zones = SignedZones(self.records(), forged=["forged.test"])
        stack.callback(self.zones.close)
        gatepost.worker_toml(
            dns={"servers": [f"127.0.0.1:{self.zones.port}"], "trust_anchor_file": str(self.zones.anchors)}
        )
        gatepost.listener.update(tls="starttls", extensions=["PIPELINING", "REQUIRETLS"])
        gatepost.frontend_toml["tls"] = {"certificate": [certificates.make(folder, "mx").toml]}
        self.frontend = gatepost.frontend(ready=False)
        self.workers: list[Program] = []

    def records(self) -> dict[str, list[str]]:
        own, other, top = self.expired, self.below, self.authority
        sha256 = lambda octets: hashlib.sha256(octets).hexdigest()  # noqa: E731
        sha512 = lambda octets: hashlib.sha512(octets).hexdigest()  # noqa: E731
        tlsa = {
            "key": [f"3 1 1 {sha256(key_of(own))}"],
            "key512": [f"3 1 2 {sha512(key_of(own))}"],
            "certificate": [f"3 0 0 {whole(own).hex()}"],
            "several": [f"3 1 1 {sha256(key_of(other))}", f"3 0 1 {sha256(whole(own))}"],
            "wrong": [f"3 1 1 {sha256(key_of(other))}"],
            "unusable": [f"1 0 1 {sha256(whole(other))}", f"0 1 1 {sha256(key_of(top))}", "3 1 9 00"],
            "ta": [f"2 0 1 {sha256(whole(top))}"],
            "misnamed": [f"2 0 1 {sha256(whole(top))}"],
            "none": [],
        }
        ports = [self.alone.port, self.chained.port, self.plain.port]
        lines = []
        for name, records in tlsa.items():
            lines.append(f"{name} 60 IN A 127.0.0.1")
            lines += [f"_{port}._tcp.{name} 60 IN TLSA {each}" for port in ports for each in records]
        lines.append("alias 60 IN CNAME key")
        return {"signed.test": lines, "forged.test": lines}

    def forward(self, host: str, hop: ScriptedHop, arguments: str) -> None:
        for worker in self.workers:
            assert worker.stop() == 0
        self.gatepost.plugins("rcpt_ok", f"queue/smtp-forward {host}:{hop.port} {arguments}")
        self.workers = [self.gatepost.worker()]
        self.frontend.ready()

    def send(self, host: str, hop: ScriptedHop, arguments: str) -> Reply:
        self.forward(host, hop, arguments)
        with self.gatepost.connect() as client:
            client.ehlo()
            client.envelope("bob@example.net")
            return client.data(MESSAGE)

    def logs(self, text: str) -> None:
        """The worker that was started last logs this."""
        wait_until(lambda: text in self.workers[-1].log(), 10, text)


@pytest.fixture(scope="module")
def scene(make_gatepost: Callable[..., Gatepost], tmp_path_factory: Any) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("dane"), make_gatepost(), stack)


@pytest.mark.parametrize("level", ["dane", "dane-only"])
@pytest.mark.parametrize("host", ["key", "key512", "certificate", "several", "alias"])
def test_a_certificate_that_the_records_name(scene: Scene, level: str, host: str) -> None:
    """It expired, has another name and signs itself: with DANE-EE none of that counts."""
    count = len(scene.alone.messages)
    reply = scene.send(f"{host}.signed.test", scene.alone, f"tls {level}")
    assert reply.code == 250, scene.workers[-1].tail()
    assert len(scene.alone.messages) == count + 1 and scene.alone.messages[-1][0]
    # RFC 7672 §8.1: the name is the one that has the records.
    assert scene.alone.names[-1] == f"{host.replace('alias', 'key')}.signed.test"


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_a_certificate_of_an_authority_that_the_records_name(scene: Scene, level: str) -> None:
    assert scene.send("ta.signed.test", scene.chained, f"tls {level}").code == 250
    assert scene.chained.messages[-1][0]


@pytest.mark.parametrize("level", ["dane", "dane-only"])
@pytest.mark.parametrize(
    ("host", "hop", "reason"),
    [
        ("wrong.signed.test", "alone", "no TLSA record matches the certificate"),
        ("misnamed.signed.test", "chained", "hostname mismatch"),
        ("ta.signed.test", "alone", "no TLSA record matches a certificate of the chain"),
        ("key.signed.test", "plain", "the hop offers no STARTTLS"),
    ],
)
def test_a_certificate_that_the_records_do_not_name(
    scene: Scene, level: str, host: str, hop: str, reason: str
) -> None:
    peer: ScriptedHop = getattr(scene, hop)
    count = len(peer.messages)
    reply = scene.send(host, peer, f"tls {level}")
    assert (reply.code, reply.status) == (451, "4.7.5")
    assert len(peer.messages) == count
    scene.logs(reason)
    assert not any(line.startswith(b"MAIL") for is_encrypted, line in peer.commands if not is_encrypted)


@pytest.mark.parametrize(
    ("host", "hop", "is_encrypted"),
    [
        # Records of no use to SMTP: TLS, whatever the certificate.
        ("unusable.signed.test", "alone", True),
        ("unusable.signed.test", "plain", None),
        # No records, or none that DNSSEC vouches for: as `may`.
        ("localhost", "alone", True),
        ("localhost", "plain", False),
    ],
)
def test_hosts_without_records_of_use(scene: Scene, host: str, hop: str, is_encrypted: bool | None) -> None:
    peer: ScriptedHop = getattr(scene, hop)
    peer.messages.clear()
    reply = scene.send(host, peer, "tls dane")
    if is_encrypted is None:
        assert (reply.code, reply.status) == (451, "4.7.5") and not peer.messages
    else:
        assert reply.code == 250
        assert [encrypted for encrypted, _ in peer.messages] == [is_encrypted]
    peer.messages.clear()
    reply = scene.send(host, peer, "tls dane-only")
    assert (reply.code, reply.status) == (451, "4.7.5") and not peer.messages
    scene.logs("TLSA records")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_answers_that_were_tampered_with(scene: Scene, level: str) -> None:
    count = len(scene.alone.messages)
    reply = scene.send("key.forged.test", scene.alone, f"tls {level}")
    assert (reply.code, reply.status) == (451, "4.4.1")
    assert len(scene.alone.messages) == count
    scene.logs("the addresses of key.forged.test: bogus")


@pytest.mark.parametrize(("host", "code"), [("key", 250), ("wrong", 451), ("none", 451)])
def test_smtp_proxy(scene: Scene, host: str, code: int) -> None:
    for worker in scene.workers:
        assert worker.stop() == 0
    hop = f"{host}.signed.test:{scene.alone.port}"
    scene.gatepost.plugins(f"queue/smtp-proxy {hop} tls dane-only", "rcpt_ok")
    scene.workers = [scene.gatepost.worker()]
    count = len(scene.alone.messages)
    with scene.gatepost.connect() as client:
        client.ehlo()
        reply = client.command("MAIL FROM:<bob@example.net>")
        assert reply.code == code, scene.workers[-1].tail()
        if code == 250:
            client.command("RCPT TO:<alice@example.com>", 250)
            assert client.data(MESSAGE).code == 250
        else:
            assert reply.status == "4.7.5"
    assert len(scene.alone.messages) == count + (code == 250)


def test_the_next_host_is_tried(scene: Scene) -> None:
    reply = scene.send(f"key.forged.test:{scene.alone.port},key.signed.test", scene.alone, "tls dane")
    assert reply.code == 250
    scene.logs("a next hop failed; trying another one")


def test_requiretls_goes_to_a_hop_that_dane_verifies(scene: Scene) -> None:
    """And to no other one (RFC 8689 §4.2.1)."""
    hop = scene.alone
    hop.keywords = [*hop.keywords, "REQUIRETLS"]
    for host, is_passed_on in (("key.signed.test", True), ("localhost", False), ("unusable.signed.test", False)):
        hop.commands.clear()
        scene.forward(host, hop, "tls dane")
        with smtplib.SMTP("127.0.0.1", scene.gatepost.port, timeout=20) as client:
            client.starttls(context=context())
            client.ehlo()
            mail = functools.partial(
                client.sendmail, "b@example.net", ["a@example.com"], MESSAGE, mail_options=["REQUIRETLS"]
            )
            if is_passed_on:
                mail()
            else:
                with pytest.raises(smtplib.SMTPDataError, match="5.7.30"):
                    mail()
        mails = [line for _, line in hop.commands if line.startswith(b"MAIL")]
        assert [b"REQUIRETLS" in line for line in mails] == [True] * is_passed_on
