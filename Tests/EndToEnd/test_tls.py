"""TLS: STARTTLS and TLS from the first octet, by real clients and by raw sockets."""

from __future__ import annotations

import contextlib
import signal
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import certificates
from harness.clients import run
from harness.gatepost import BINARIES, Gatepost
from harness.peers import Postfix
from harness.ports import free_port
from harness.waiting import wait_until
from harness.wire import accepting

MESSAGE = b"From: <bob@example.net>\r\nSubject: secret\r\n\r\nhello\r\n"


class Installation:
    """A frontend with a STARTTLS listener and an implicit one, and a worker."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        folder = gatepost.folder
        self.first = certificates.make(folder, "first", "mx1.example.com")
        self.second = certificates.make(folder, "second", "mx2.example.com", "*.example.org")
        self.implicit_port = free_port()
        gatepost.listener["tls"] = "starttls"
        gatepost.frontend_toml["listener"].append(
            {
                "name": "submissions",
                "address": f"127.0.0.1:{self.implicit_port}",
                "tls": "implicit",
            }
        )
        gatepost.frontend_toml["tls"] = {
            "reload_ms": 200,
            "certificate": [self.first.toml, self.second.toml],
        }

    def run(self) -> Installation:
        self.frontend, self.worker = self.gatepost.run()
        return self

    def peer(self, name: str | None = None, **options: int) -> ssl.SSLSocket:
        """A TLS connection to the implicit listener; `name` is the SNI."""
        plain = socket.create_connection(("127.0.0.1", self.implicit_port), 20)
        return context(**options).wrap_socket(plain, server_hostname=name)

    def shown(self, name: str | None = None) -> str:
        """The fingerprint of the certificate that a client gets."""
        with self.peer(name) as peer:
            certificate = peer.getpeercert(binary_form=True)
        assert certificate is not None
        return certificates.fingerprint(ssl.DER_cert_to_PEM_cert(certificate).encode())


def context(minimum: int = ssl.TLSVersion.TLSv1_2, maximum: int | None = None) -> ssl.SSLContext:
    """A client's context that trusts every certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion(minimum)
    if maximum is not None:
        made.maximum_version = ssl.TLSVersion(maximum)
    return made


@pytest.fixture
def installation(gatepost: Gatepost) -> Installation:
    return Installation(gatepost)


def deliver(client: smtplib.SMTP) -> None:
    client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE)
    client.quit()


def test_starttls_and_what_the_message_says_of_it(installation: Installation) -> None:
    installation.run()
    with smtplib.SMTP("127.0.0.1", installation.gatepost.port, timeout=20) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        client.starttls(context=context())
        client.ehlo()
        assert not client.has_extn("starttls")
        deliver(client)
    message = installation.gatepost.maildir.only().octets
    assert b" with ESMTPS id " in message
    assert b"\ttls TLS_AES_128_GCM_SHA256;" in message or b"\ttls TLS_AES_256_GCM_SHA384;" in message


def test_tls_from_the_first_octet(installation: Installation) -> None:
    installation.run()
    with smtplib.SMTP_SSL(
        "127.0.0.1", installation.implicit_port, timeout=20, context=context()
    ) as client:
        client.ehlo()
        assert not client.has_extn("starttls")
        deliver(client)
    assert b" with ESMTPS id " in installation.gatepost.maildir.only().octets


def test_events_have_version_cipher_and_name(installation: Installation) -> None:
    gatepost = installation.gatepost
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(["mail"], lambda event: "deny") as worker:
        frontend.ready()
        for version, name in (
            (ssl.TLSVersion.TLSv1_2, "b.example.org"),
            (ssl.TLSVersion.TLSv1_3, None),
        ):
            with installation.peer(name, minimum=version, maximum=version) as peer:
                lines = peer.makefile("rwb")
                lines.readline()
                lines.write(b"EHLO x\r\n")
                lines.flush()
                while lines.readline()[3:4] == b"-":
                    pass
                lines.write(b"MAIL FROM:<a@b.example>\r\n")
                lines.flush()
                assert lines.readline().startswith(b"550")
                cipher = peer.cipher()
            tls = worker.events[-1]["session"]["tls"]
            assert tls["version"] == version.name.replace("_", ".")
            assert tls["sni"] == name
            assert cipher is not None
            if version == ssl.TLSVersion.TLSv1_3:
                assert tls["cipher"] == cipher[0]
            else:
                # OpenSSL has names of its own.
                names = {
                    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                }
                assert tls["cipher"] == names[cipher[0]]


def test_a_client_gets_the_certificate_of_the_name_it_asks_for(installation: Installation) -> None:
    installation.run()
    first, second = installation.first.fingerprint(), installation.second.fingerprint()
    assert installation.shown("mx1.example.com") == first
    assert installation.shown("MX2.Example.COM") == second
    assert installation.shown("any.example.org") == second
    assert installation.shown("a.b.example.org") == first
    assert installation.shown("unknown.example") == first
    assert installation.shown() == first


def test_nothing_behind_starttls_is_a_command(installation: Installation) -> None:
    installation.run()
    with installation.gatepost.connect() as client:
        assert client.reply().code == 220
        client.send(b"EHLO x\r\n")
        client.reply()
        client.send(b"STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n")
        assert client.reply().code == 554
        client.closed()


def test_a_command_in_place_of_the_handshake_is_not_read(installation: Installation) -> None:
    installation.run()
    with installation.gatepost.connect() as client:
        assert client.reply().code == 220
        client.send(b"EHLO x\r\n")
        client.reply()
        client.send(b"STARTTLS\r\n")
        assert client.reply().code == 220
        client.send(b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.com>\r\nQUIT\r\n")
        # An alert of TLS may come before the end; no reply does.
        rest = b""
        with client.socket as plain:
            while piece := plain.recv(4_096):
                rest += piece
        assert b"250" not in rest
    wait_until(lambda: "a TLS handshake failed" in installation.gatepost.logs(), 10, "the log")


def test_what_was_said_before_starttls_is_forgotten(installation: Installation) -> None:
    gatepost = installation.gatepost
    frontend = gatepost.frontend(ready=False)
    hooks = ["rcpt", "noop", "reset_transaction"]
    with gatepost.python_worker(hooks, accepting()) as worker:
        frontend.ready()
        with smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20) as client:
            client.ehlo()
            assert client.mail("bob@example.net")[0] == 250
            assert client.rcpt("alice@example.com")[0] == 250
            assert client.docmd("STARTTLS")[0] == 220
            plain = client.sock
            assert plain is not None
            client.sock = context().wrap_socket(plain)
            client.file = None
            assert client.docmd("DATA")[0] == 503
            assert client.docmd("NOOP")[0] == 250
            client.quit()
        assert worker.saw("noop")["session"]["hello"] is None
        assert worker.notifications.get(timeout=5)["args"] == {"reason": "starttls"}


def test_a_listener_that_requires_tls(installation: Installation) -> None:
    installation.gatepost.listener["require_tls"] = True
    installation.run()
    with smtplib.SMTP("127.0.0.1", installation.gatepost.port, timeout=20) as client:
        client.ehlo()
        assert client.mail("bob@example.net")[0] == 530
        client.starttls(context=context())
        client.ehlo()
        deliver(client)
    assert installation.gatepost.maildir.only()


def test_versions_and_ciphers_that_are_not_allowed(installation: Installation) -> None:
    installation.gatepost.frontend_toml["tls"]["ciphers"] = [
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    ]
    installation.run()
    old = context(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    old.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError), socket.create_connection(
        ("127.0.0.1", installation.implicit_port), 20
    ) as plain:
        old.wrap_socket(plain)
    with installation.peer(maximum=ssl.TLSVersion.TLSv1_2) as peer:
        cipher = peer.cipher()
        assert cipher is not None and cipher[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"


def test_a_minimum_version(installation: Installation) -> None:
    installation.gatepost.frontend_toml["tls"]["minimum_version"] = "1.3"
    installation.run()
    with pytest.raises(ssl.SSLError):
        installation.peer(maximum=ssl.TLSVersion.TLSv1_2).close()
    with installation.peer() as peer:
        assert peer.version() == "TLSv1.3"


def test_changed_files_are_loaded_and_no_session_is_dropped(installation: Installation) -> None:
    installation.run()
    with smtplib.SMTP_SSL(
        "127.0.0.1", installation.implicit_port, timeout=20, context=context()
    ) as client:
        client.ehlo()
        old = installation.shown()
        new = certificates.make(installation.gatepost.folder, "new", "mx1.example.com")
        new.chain.replace(installation.first.chain)
        new.key.replace(installation.first.key)
        wait_until(lambda: installation.shown() != old, 10, "the new certificate")
        assert installation.shown() == installation.first.fingerprint()
        # A file that is no certificate leaves the last good one in force.
        installation.first.chain.write_text("no certificate\n")
        wait_until(
            lambda: "the last good ones stay in force" in installation.gatepost.logs(),
            10,
            "the log",
        )
        assert installation.shown() != old
        deliver(client)
    assert installation.gatepost.maildir.only()


def test_sighup_reads_other_settings(installation: Installation) -> None:
    gatepost = installation.gatepost
    installation.run()
    first = installation.shown()
    gatepost.frontend_toml["tls"]["certificate"] = [installation.second.toml]
    gatepost.write_frontend_toml()
    installation.frontend.signal(signal.SIGHUP)
    wait_until(lambda: installation.shown() != first, 10, "the second certificate")
    assert installation.shown("mx1.example.com") == installation.second.fingerprint()


def test_a_handshake_has_a_deadline(installation: Installation) -> None:
    installation.gatepost.frontend_toml["tls"]["handshake_timeout_ms"] = 1_000
    installation.run()
    with socket.create_connection(("127.0.0.1", installation.implicit_port), 20) as silent:
        assert silent.recv(1) == b""
    wait_until(lambda: "did not finish the handshake" in installation.gatepost.logs(), 10, "the log")


# Programs that people use


@pytest.fixture
def serving_tls(installation: Installation) -> Iterator[Installation]:
    yield installation.run()


def test_swaks_openssl_and_curl(serving_tls: Installation, tmp_path: Path) -> None:
    gatepost, implicit = serving_tls.gatepost, serving_tls.implicit_port
    swaks = ("swaks", "--server", "127.0.0.1", "--from", "b@example.net", "--to", "a@example.com")
    run(*swaks, "--port", gatepost.port, "--tls")
    run(*swaks, "--port", implicit, "--tls-on-connect")
    said = run(
        *("openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{gatepost.port}"),
        *("-crlf", "-ign_eof", "-servername", "mx2.example.com"),
        input=b"QUIT\n",
    )
    assert "CN = second" in said and "221 2.0.0" in said
    letter = tmp_path / "letter"
    letter.write_bytes(MESSAGE)
    mail = ("--mail-from", "b@example.net", "--mail-rcpt", "a@example.com", "-T", letter)
    run("curl", "-sS", "-k", "--ssl-reqd", f"smtp://127.0.0.1:{gatepost.port}", *mail)
    run("curl", "-sS", "-k", f"smtps://127.0.0.1:{implicit}", *mail)
    assert len(gatepost.maildir) == 4
    for message in gatepost.maildir.messages():
        assert b" with ESMTPS id " in message.octets


def test_postfix_sends_by_tls(serving_tls: Installation) -> None:
    gatepost = serving_tls.gatepost
    with contextlib.closing(
        Postfix(gatepost.port, "smtp_tls_security_level = encrypt")
    ) as postfix:
        postfix.submit(MESSAGE.replace(b"\r\n", b"\n"), "bob@example.net", "alice@example.com")
        message = gatepost.maildir.take(60)
    assert b" with ESMTPS id " in message.octets


def test_a_scan_finds_no_old_version_and_no_weak_cipher(serving_tls: Installation) -> None:
    said = run("sslscan", "--no-colour", "--xml=-", f"127.0.0.1:{serving_tls.implicit_port}")
    scan = ElementTree.fromstring(said[said.index("<?xml") :])
    versions = {
        f"{each.get('type')}v{each.get('version')}"
        for each in scan.iter("protocol")
        if each.get("enabled") == "1"
    }
    assert versions == {"tlsv1.2", "tlsv1.3"}
    ciphers = list(scan.iter("cipher"))
    assert ciphers and all(int(each.get("bits", "0")) >= 128 for each in ciphers)
    assert all(
        each.get("cipher", "").startswith(("ECDHE-", "TLS_")) for each in ciphers
    ), [each.get("cipher") for each in ciphers]
    assert all(each.get("vulnerable") == "0" for each in scan.iter("heartbleed"))
    assert all(each.get("supported") == "0" for each in scan.iter("compression"))
    assert all(each.get("supported") == "0" for each in scan.iter("renegotiation")) or all(
        each.get("secure") == "1" for each in scan.iter("renegotiation")
    )


# `gatepost check`


@pytest.mark.parametrize(
    "what",
    ["unreadable", "mismatched", "expired", "no certificate", "unknown cipher", "not there"],
)
def test_check_names_what_is_wrong(installation: Installation, what: str) -> None:
    gatepost, tls = installation.gatepost, installation.gatepost.frontend_toml["tls"]
    first, second = installation.first, installation.second
    match what:
        case "unreadable":
            first.chain.unlink()
            first.chain.mkdir()
            expected = f"{first.chain}: is not a plain file"
        case "mismatched":
            tls["certificate"] = [{"chain": str(first.chain), "key": str(second.key)}]
            expected = f"{second.key}: is not the key of the certificate in {first.chain}"
        case "expired":
            certificates.make(gatepost.folder, "first", "mx1.example.com", days=-1)
            expected = f"warning: {first.chain}: the certificate expired"
        case "no certificate":
            first.chain.write_text("hello\n")
            expected = f"{first.chain}: is not a certificate in PEM"
        case "unknown cipher":
            tls["ciphers"] = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA265"]
            expected = "tls.ciphers"
        case _:
            first.key.unlink()
            expected = f"{first.key}: No such file or directory"
    gatepost.write_frontend_toml()
    checked = subprocess.run(
        [BINARIES / "gatepost", "check", "--config", gatepost.config],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert expected in checked.stderr
    assert checked.returncode == (0 if what == "expired" else 78), checked.stderr
    if what not in ("unknown cipher", "expired"):
        # The frontend says the same, and does not start.
        frontend = gatepost.frontend(ready=False)
        frontend.expects_exit = 78
        assert frontend.exit_code() == 78
        assert expected in frontend.tail()
