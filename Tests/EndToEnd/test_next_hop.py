"""The next hops of queue/smtp-forward: how connections to them are encrypted, who we are there, and
which hop gets a message."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import certificates
from harness.certificates import Certificate
from harness.gatepost import BINARIES, Gatepost
from harness.peers import PostfixServer
from harness.ports import free_port
from harness.program import Program
from harness.scripted_hop import ScriptedHop
from harness.smtp import Reply
from harness.waiting import wait_until

MESSAGE = b"From: <bob@example.net>\r\nSubject: on its way\r\n\r\n.hello\r\n"


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One that trusts itself: to trust it is to name its file."""
    return certificates.make(tmp_path_factory.mktemp("tls"), "hop", "hop.example", "localhost")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificates.make(tmp_path_factory.mktemp("tls"), "stranger", "hop.example")


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificates.make(tmp_path_factory.mktemp("tls"), "old", "hop.example", days=-1)


@pytest.fixture(scope="module")
def forwarding(make_gatepost: Callable[..., Gatepost]) -> Callable[..., Reply]:
    """Sends a message through a worker whose plugin has the arguments of the call.

    One frontend serves all: the worker is replaced.
    """
    server = make_gatepost()
    frontend = server.frontend(ready=False)
    workers: list[Program] = []

    def send(arguments: str, *recipients: str, message: bytes = MESSAGE) -> Reply:
        for each in workers:
            assert each.stop() == 0
        workers.clear()
        server.plugins("rcpt_ok", f"queue/smtp-forward {arguments}")
        workers.append(server.worker())
        frontend.ready()
        with server.connect() as client:
            client.ehlo()
            client.envelope("bob@example.net", *recipients)
            return client.data(message)

    send.server = server  # type: ignore[attr-defined]
    return send


def worker(forwarding: Callable[..., Reply]) -> Program:
    """The worker that was started last."""
    return forwarding.server.programs[-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", ["", "tls may", "tls encrypt"])
def test_starttls_whatever_the_certificate(
    forwarding: Callable[..., Reply], expired: Certificate, arguments: str
) -> None:
    with ScriptedHop(expired) as hop:
        assert forwarding(f"{hop.address} {arguments}").code == 250
        assert hop.verbs(False) == [b"EHLO", b"STARTTLS"]
        assert hop.verbs(True) == [b"EHLO", b"MAIL", b"RCPT", b"DATA"]
        [(is_encrypted, message)] = hop.messages
        assert is_encrypted and message.endswith(MESSAGE.replace(b".hello", b"..hello"))


@pytest.mark.parametrize(
    ("arguments", "is_taken"), [("tls none", True), ("tls may", True), ("tls encrypt", False)]
)
def test_a_hop_without_starttls(
    forwarding: Callable[..., Reply], arguments: str, is_taken: bool
) -> None:
    with ScriptedHop() as hop:
        reply = forwarding(f"{hop.address} {arguments}")
        assert (reply.code, reply.status) == ((250, "2.0.0") if is_taken else (451, "4.7.5"))
        assert len(hop.messages) == is_taken
        assert b"STARTTLS" not in hop.verbs(False)


def test_none_says_no_starttls(forwarding: Callable[..., Reply], certificate: Certificate) -> None:
    with ScriptedHop(certificate) as hop:
        assert forwarding(f"{hop.address} tls none").code == 250
        assert hop.verbs(False) == [b"EHLO", b"MAIL", b"RCPT", b"DATA"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
@pytest.mark.parametrize(
    "how", ["refused", "old version", "no handshake", "closed", "injected", "half injected"]
)
def test_tls_that_fails(
    forwarding: Callable[..., Reply], certificate: Certificate, level: str, how: str
) -> None:
    """`may` goes on in clear text, on the same connection or on another; the others never do.

    Replies behind the 220 to STARTTLS are an error even there: they would pass for replies under TLS.
    """
    old = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    hop = ScriptedHop(
        certificate,
        versions=old if how == "old version" else None,
        replies={
            "refused": {b"STARTTLS": b"454 4.7.0 not now\r\n"},
            "no handshake": {b"STARTTLS": b"220 go\r\n"},
            "closed": {b"STARTTLS": None},
        }.get(how),
        after_starttls={
            "injected": b"250-hop\r\n250 PIPELINING\r\n",
            "half injected": b"250-hop\r\n250-AUTH PLAIN\r\n",
        }.get(how, b""),
    )
    with hop:
        trust = f"tls_ca_file {certificate.chain} tls_name hop.example" if level == "verify" else ""
        reply = forwarding(f"{hop.address} connect_timeout 2 tls {level} {trust}")
        if level == "may" and how not in ("closed", "injected", "half injected"):
            assert reply.code == 250
            assert hop.verbs(False)[-3:] == [b"MAIL", b"RCPT", b"DATA"]
            assert hop.connections == (1 if how == "refused" else 2)
            if how != "refused":
                worker(forwarding).logged("no TLS to the next mail server; trying without")
        else:
            status = {"closed": "4.4.2", "injected": "4.5.0", "half injected": "4.5.0"}.get(
                how, "4.7.5"
            )
            assert (reply.code, reply.status) == (451, status)
            assert not hop.messages and b"MAIL" not in [*hop.verbs(False), *hop.verbs(True)]
            assert hop.connections == 1


@pytest.mark.parametrize(
    "what", ["trusted", "another name", "a stranger", "expired", "no file"]
)
def test_verify(
    forwarding: Callable[..., Reply],
    certificate: Certificate,
    stranger: Certificate,
    expired: Certificate,
    what: str,
) -> None:
    """Only a certificate that a trusted authority gave for the hop's name will do."""
    shown = {"a stranger": stranger, "expired": expired}.get(what, certificate)
    trusted = expired if what == "expired" else certificate
    name = "other.example" if what == "another name" else "hop.example"
    with ScriptedHop(shown) as hop:
        trust = "" if what == "no file" else f"tls_ca_file {trusted.chain}"
        reply = forwarding(f"{hop.address} tls verify tls_name {name} {trust}")
        if what == "trusted":
            assert reply.code == 250
            assert hop.messages[0][0]
            assert hop.names == ["hop.example"]
        else:
            assert (reply.code, reply.status) == (451, "4.7.5")
            assert not hop.messages and b"MAIL" not in [*hop.verbs(False), *hop.verbs(True)]
            another = what == "another name"
            word = "failedToValidateHostname" if another else "CERTIFICATE_VERIFY_FAILED"
            worker(forwarding).logged(word)


def test_the_name_is_the_hops_own_by_default(
    forwarding: Callable[..., Reply], certificate: Certificate, stranger: Certificate
) -> None:
    for shown, code in ((certificate, 250), (stranger, 451)):
        with ScriptedHop(shown) as hop:
            arguments = f"localhost:{hop.port} tls verify tls_ca_file {shown.chain}"
            assert forwarding(arguments).code == code
            assert hop.names == ["localhost"]


def test_tls_from_the_first_octet(
    forwarding: Callable[..., Reply], certificate: Certificate
) -> None:
    trust = f"tls verify tls_ca_file {certificate.chain} tls_name hop.example"
    with ScriptedHop(certificate, is_wrapped=True) as hop:
        for arguments in ("tls encrypt", trust):
            assert forwarding(f"{hop.address} {arguments} tls_wrappermode yes").code == 250
        transaction = [b"EHLO", b"MAIL", b"RCPT", b"DATA"]
        assert [verb for verb in hop.verbs(True) if verb != b"QUIT"] == transaction * 2
    with ScriptedHop() as plain:
        reply = forwarding(f"{plain.address} tls encrypt tls_wrappermode yes connect_timeout 2")
        assert (reply.code, reply.status) == (451, "4.7.5")
        assert not plain.messages


PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("auth") / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_auth(
    forwarding: Callable[..., Reply],
    certificate: Certificate,
    password_file: Path,
    mechanism: str,
) -> None:
    login = f"auth_user jo auth_password_file {password_file}"
    trust = f"tls verify tls_ca_file {certificate.chain} tls_name hop.example"
    with ScriptedHop(certificate, logins={"jo": PASSWORD}, mechanisms=[mechanism]) as hop:
        assert forwarding(f"{hop.address} {login} {trust}").code == 250
        assert hop.verbs(False) == [b"EHLO", b"STARTTLS"]
        assert hop.verbs(True) == [b"EHLO", b"AUTH", b"MAIL", b"RCPT", b"DATA"]


@pytest.mark.parametrize("how", ["wrong", "not offered", "in clear text", "fallen back"])
def test_auth_that_fails_loses_no_mail(
    forwarding: Callable[..., Reply], certificate: Certificate, password_file: Path, how: str
) -> None:
    """The message is deferred, no password goes out in clear text or into the log, and it is not
    tried again at once."""
    hop = ScriptedHop(
        None if how == "in clear text" else certificate,
        logins=None if how == "not offered" else {"jo": "another"},
        replies={b"STARTTLS": b"454 no\r\n"} if how == "fallen back" else None,
    )
    with hop:
        reply = forwarding(f"{hop.address} auth_user jo auth_password_file {password_file}")
        assert (reply.code, reply.status) == (451, "4.3.5")
        assert b"MAIL" not in [*hop.verbs(False), *hop.verbs(True)]
        assert b"AUTH" not in hop.verbs(False)
        assert hop.verbs(True).count(b"AUTH") == (how == "wrong")
        words = {
            "wrong": "login: 535 to AUTH PLAIN",
            "not offered": "login: the hop offers no AUTH by PLAIN, LOGIN or CRAM-MD5",
        }.get(how, "login: the connection is not encrypted")
        worker(forwarding).logged(words)
        with forwarding.server.connect() as client:  # type: ignore[attr-defined]
            client.ehlo()
            client.envelope()
            assert client.data(MESSAGE).status == "4.3.5"
        assert hop.connections == 1
        said = base64.b64encode(f"\0jo\0{PASSWORD}".encode()).decode()
        assert not any(
            secret in worker(forwarding).logged("login failed a short time ago")
            + worker(forwarding).log()
            for secret in (PASSWORD, said)
        )


def test_auth_in_clear_text_if_it_is_told(
    forwarding: Callable[..., Reply], password_file: Path
) -> None:
    with ScriptedHop(logins={"jo": PASSWORD}) as hop:
        login = f"auth_user jo auth_password_file {password_file} auth_without_tls yes"
        assert forwarding(f"{hop.address} {login} tls none").code == 250
        assert hop.verbs(False)[:2] == [b"EHLO", b"AUTH"]


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
def test_postfix_takes_it_by_tls(
    forwarding: Callable[..., Reply], certificate: Certificate
) -> None:
    with PostfixServer(certificate) as postfix:
        trust = f"tls verify tls_ca_file {certificate.chain} tls_name hop.example"
        assert forwarding(f"127.0.0.1:{postfix.port} {trust}").code == 250
        [message] = wait_until(postfix.delivered, 60, postfix.log)
        assert b"with ESMTPS id" in message and b"\n.hello\n" in message
        assert forwarding(f"127.0.0.1:{postfix.port} tls none").status == "5.7.0"


def test_the_next_hop_that_works_gets_the_message(forwarding: Callable[..., Reply]) -> None:
    gone = free_port()
    with ScriptedHop(replies={b"MAIL": b"421 4.3.2 closing\r\n"}) as closing, ScriptedHop() as hop:
        route = f"127.0.0.1:{gone},{closing.address},{hop.address}"
        assert forwarding(f"{route} tls none").code == 250
        assert len(hop.messages) == 1 and not closing.messages
        worker(forwarding).logged(f"a next hop failed; trying another one.*127.0.0.1:{gone}")
        worker(forwarding).logged(f"a next hop failed; trying another one.*{closing.address}")


def test_a_message_without_an_answer_goes_to_no_other_hop(forwarding: Callable[..., Reply]) -> None:
    """The first hop may have it: a second copy is worse than a second try by the client."""
    with ScriptedHop(replies={b".": None}) as silent, ScriptedHop() as hop:
        reply = forwarding(f"{silent.address},{hop.address} tls none")
        assert (reply.code, reply.status) == (451, "4.4.2")
        assert len(silent.messages) == 1 and hop.connections == 0


@pytest.mark.skipif(not has_ipv6(), reason="there is no ::1 here")
def test_a_hop_is_named_by_its_ipv6_address(forwarding: Callable[..., Reply]) -> None:
    with ScriptedHop(host="::1") as hop:
        assert hop.address.startswith("[::1]:")
        assert forwarding(hop.address).code == 250
        assert forwarding(f"127.0.0.1:{free_port()},{hop.address} tls none").code == 250
        assert len(hop.messages) == 2


def test_routes_are_read_live(gatepost: Gatepost) -> None:
    with ScriptedHop() as first, ScriptedHop() as second, ScriptedHop() as other:
        gatepost.control("smtproutes", f"example.com:127.0.0.1:{first.port}")
        gatepost.plugins("rcpt_ok", f"queue/smtp-forward {other.address} routes smtproutes")
        gatepost.run()

        def deliver() -> list[int]:
            with gatepost.connect() as client:
                client.ehlo()
                client.envelope("bob@example.net", "a@example.com", "b@example.org")
                assert client.data(MESSAGE).code == 250
            return [len(each.messages) for each in (first, second, other)]

        assert deliver() == [1, 0, 1]
        gatepost.control("smtproutes", f"example.com:127.0.0.1:{second.port}")
        wait_until(lambda: deliver()[1], 20, "the new route")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("tls maybe", "argument tls is maybe; it must be one of none, may, encrypt, verify"),
        ("tls may tls_wrappermode yes", "tls_wrappermode needs tls encrypt, verify or dane-only"),
        ("tls dane tls_wrappermode yes", "tls_wrappermode needs tls encrypt, verify or dane-only"),
        ("tls dane", "tls dane needs trust_anchor_file of [dns] in worker.toml"),
        ("tls dane-only", "tls dane-only needs trust_anchor_file of [dns] in worker.toml"),
        ("tls dane tls_name a.example", "tls_name: with tls dane the names are in the DNS"),
        ("tls verify tls_ca_file missing.pem", "missing.pem: No such file or directory"),
        ("tls verify tls_ca_file config/me", "config/me: it must hold certificates in PEM"),
        ("tls verify tls_name a:b:c", "argument tls_name is a:b:c; it must be a host name"),
        ("routes broken", "broken:1: example.com is no route; write DOMAIN:HOST"),
        ("auth_user jo", "auth_user needs auth_password_file"),
        ("auth_password_file password", "auth_password_file needs auth_user"),
        ("auth_user jo auth_password_file missing", "missing: No such file or directory"),
        ("auth_user jo auth_password_file empty", "its first line must be the password"),
        ("auth_user jo auth_password_file long", "its first line must be the password"),
        ("auth_user jo auth_password_file password", "every user can read it; chmod o-r it"),
        ("auth_user jo auth_password_file password", "any server that answers at this address"),
        ("auth_user jo auth_password_file password tls none", "auth_user needs TLS"),
        ("tls may tls_ca_file config/me", "queue/smtp-forward: tls_ca_file means nothing without tls verify"),
    ],
)
def test_check_names_what_is_wrong(gatepost: Gatepost, arguments: str, expected: str) -> None:
    for name, text in (("password", f"{PASSWORD}\n"), ("long", "x" * 2000), ("empty", "\n")):
        path = gatepost.folder / name
        path.write_text(text)
        path.chmod(0o644)
    gatepost.control("broken", "example.com")
    gatepost.plugins("rcpt_ok", f"queue/smtp-forward hop.example {arguments}")
    said = checked(gatepost)
    assert expected in said
    assert PASSWORD not in said


def checked(gatepost: Gatepost) -> str:
    gatepost.write_frontend_toml()
    command = [BINARIES / "gatepost", "check", "--config", Path(gatepost.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
