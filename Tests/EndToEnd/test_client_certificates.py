"""Certificates of clients: what each mode takes, what policy is told, and that no session is resumed."""

from __future__ import annotations

import hashlib
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import certificates
from harness.certificates import Certificate
from harness.gatepost import BINARIES, Gatepost
from harness.ports import free_port
from harness.waiting import wait_until
from harness.wire import Worker

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
MESSAGE = b"From: <bob@example.net>\r\nSubject: x\r\n\r\nx\r\n"


class Installation:
    """Listeners for each mode, by STARTTLS and from the first octet."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        folder = gatepost.folder
        self.server = certificates.make(folder, "server", "mx1.example.com")
        self.root = certificates.authority(folder, "root")
        other = certificates.authority(folder, "other")
        self.shown: dict[str, Certificate | None] = {
            "good": certificates.issue(folder, "good", self.root),
            "wrong": certificates.issue(folder, "wrong", other),
            "expired": certificates.issue(folder, "expired", self.root, days=-1),
            "lonely": certificates.make(folder, "lonely"),
            "none": None,
        }
        self.file = folder / "clients.pem"
        self.file.write_bytes(self.root.chain.read_bytes())
        self.ports: dict[tuple[str, str], int] = {}
        listeners: list[dict[str, Any]] = []
        for tls in ("starttls", "implicit"):
            for mode in ("request", "require", "unnamed"):
                port = self.ports[tls, mode] = free_port()
                listener: dict[str, Any] = {"name": f"{tls}-{mode}", "address": f"127.0.0.1:{port}", "tls": tls}
                listener["client_certificates"] = "require" if mode == "require" else "request"
                if mode != "unnamed":
                    listener["client_ca_file"] = str(self.file)
                if mode == "require" and tls == "starttls":
                    listener["require_tls"] = True
                listeners.append(listener)
        plain = self.ports["implicit", "plain"] = free_port()
        listeners.append({"name": "plain", "address": f"127.0.0.1:{plain}", "tls": "implicit"})
        gatepost.frontend_toml["listener"] = listeners
        gatepost.frontend_toml["tls"] = {"reload_ms": 200, "certificate": [self.server.toml]}

    def context(self, version: str, shown: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = VERSIONS[version]
        if certificate := self.shown[shown]:
            context.load_cert_chain(certificate.chain, certificate.key)
        return context

    def client(self, tls: str, mode: str, version: str, shown: str) -> smtplib.SMTP:
        """A client that has said EHLO under TLS."""
        context, port = self.context(version, shown), self.ports[tls, mode]
        if tls == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=context)
        else:
            client = smtplib.SMTP("127.0.0.1", port, timeout=20)
            client.starttls(context=context)
        client.ehlo()
        return client


@pytest.fixture(scope="module")
def installation(make_gatepost: Callable[..., Gatepost]) -> Installation:
    installation = Installation(make_gatepost())
    gatepost = installation.gatepost
    installation.frontend = gatepost.frontend(ready=False)  # type: ignore[attr-defined]
    return installation


@pytest.fixture(scope="module")
def worker(installation: Installation) -> Any:
    with installation.gatepost.python_worker(["mail", "status"], lambda event: "deny") as worker:
        installation.frontend.ready()  # type: ignore[attr-defined]
        yield worker


def told(client: smtplib.SMTP, worker: Worker) -> Any:
    """What policy is told of the client's certificate."""
    assert client.mail("a@b.example")[0] == 550
    client.quit()
    return worker.events[-1]["session"]["tls"]


def openssl(certificate: Certificate, *words: str) -> bytes:
    command = ["openssl", "x509", "-in", str(certificate.chain), "-noout", *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


def key_fingerprint(certificate: Certificate) -> str:
    command = ["openssl", "pkey", "-in", str(certificate.key), "-pubout", "-outform", "DER"]
    return hashlib.sha256(subprocess.run(command, capture_output=True, check=True).stdout).hexdigest()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("mode", ["request", "require", "unnamed"])
@pytest.mark.parametrize("shown", ["good", "wrong", "expired", "lonely", "none"])
def test_each_mode(
    installation: Installation, worker: Worker, mode: str, tls: str, version: str, shown: str
) -> None:
    certificate = installation.shown[shown]
    if mode == "require" and shown != "good":
        # By TLS 1.3 the client hears of it when it reads first.
        with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected)):
            installation.client(tls, mode, version, shown)
        reason = {
            "wrong": "unable to get local issuer certificate",
            "expired": "certificate has expired",
            "lonely": "self-signed certificate",
            "none": "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        }[shown]
        wait_until(lambda: reason in installation.gatepost.logs(), 10, reason)
        return
    tells = told(installation.client(tls, mode, version, shown), worker)
    assert tells["version"] == f"TLSv{version}"
    if certificate is None:
        assert tells["client_certificate"] is None
        return
    issuer = {"good": "root", "expired": "root", "wrong": "other", "lonely": "lonely"}[shown]
    assert tells["client_certificate"] == {
        "verified": shown == "good" and mode != "unnamed",
        "subject": f"CN={shown}",
        "issuer": f"CN={issuer}",
        "fingerprint": certificate.fingerprint(),
        "key_fingerprint": key_fingerprint(certificate),
    }
    printed = openssl(certificate, "-fingerprint", "-sha256").decode()
    assert certificate.fingerprint() == printed.strip().partition("=")[2].replace(":", "").lower()


def test_a_listener_that_does_not_ask_says_nothing(installation: Installation, worker: Worker) -> None:
    tells = told(installation.client("implicit", "plain", "1.3", "good"), worker)
    assert "client_certificate" not in tells


def s_client(installation: Installation, tls: str, mode: str, shown: str, *words: object, text: str) -> str:
    """What `openssl s_client` prints; it also prints what it hears after the handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{installation.ports[tls, mode]}", "-crlf"]
    command += ["-starttls", "smtp"] if tls == "starttls" else []
    if certificate := installation.shown[shown]:
        command += ["-cert", str(certificate.chain), "-key", str(certificate.key)]
    done = subprocess.run(
        [*command, "-ign_eof", *map(str, words)], input=text, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_openssl_hears_an_alert(installation: Installation, worker: Worker, tls: str, version: str) -> None:
    quit_ = "QUIT\n"
    assert "221 2.0.0" in s_client(installation, tls, "require", "good", version, text=quit_)
    assert "221 2.0.0" in s_client(installation, tls, "request", "wrong", version, text=quit_)
    assert "alert certificate unknown" in s_client(installation, tls, "require", "wrong", version, text=quit_)
    absent = s_client(installation, tls, "require", "none", version, text=quit_)
    assert ("alert certificate required" if version == "-tls1_3" else "alert handshake failure") in absent
    said = s_client(installation, tls, "require", "good", version, text=quit_)
    assert "Acceptable client certificate CA names\nCN = root\n" in said


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("mode", ["request", "require"])
def test_no_session_is_resumed(
    installation: Installation, worker: Worker, mode: str, version: str, tmp_path: Path
) -> None:
    """The second client asks for the session of the first, and shows no certificate, or another one."""
    session = tmp_path / "session"
    mail = "EHLO x\nMAIL FROM:<a@b.example>\nQUIT\n"
    first = s_client(installation, "implicit", mode, "good", version, "-sess_out", session, text=mail)
    assert "221 2.0.0" in first
    good = worker.events[-1]["session"]["tls"]["client_certificate"]
    assert good["verified"]
    count = len(worker.events)
    for shown in ("good", "none"):
        again = s_client(installation, "implicit", mode, shown, version, "-sess_in", session, text=mail)
        assert "Reused, TLS" not in again
        if shown == "good":
            count += 1
            assert worker.events[-1]["session"]["tls"]["client_certificate"] == good
        elif mode == "request":
            count += 1
            assert worker.events[-1]["session"]["tls"]["client_certificate"] is None
        else:
            assert "221 2.0.0" not in again
        assert len(worker.events) == count


def test_a_listener_that_does_not_ask_resumes(
    installation: Installation, worker: Worker, tmp_path: Path
) -> None:
    """So the test above would see a session that is resumed."""
    session = tmp_path / "session"
    for words in (("-sess_out", session), ("-sess_in", session)):
        said = s_client(installation, "implicit", "plain", "none", "-tls1_2", *words, text="QUIT\n")
    assert "Reused, TLS" in said


def test_failures_are_counted(installation: Installation, worker: Worker) -> None:
    def failed() -> int:
        return int(worker.notifications.get(timeout=20)["args"]["handshakes"]["failed"])

    while not worker.notifications.empty():
        worker.notifications.get()
    before = failed()
    with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected)):
        installation.client("implicit", "require", "1.2", "wrong")
    wait_until(lambda: failed() > before, 10, "one more")


def test_a_changed_file_counts_for_new_handshakes(gatepost: Gatepost) -> None:
    installation = Installation(gatepost)
    other = certificates.authority(gatepost.folder, "third")
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(["mail"], lambda event: "deny") as worker:
        frontend.ready()

        def verified() -> bool:
            client = installation.client("implicit", "request", "1.3", "good")
            return bool(told(client, worker)["client_certificate"]["verified"])

        assert verified()
        other.chain.replace(installation.file)
        wait_until(lambda: not verified(), 10, "the other authority")
        # A file that is not usable leaves the last good one in force; SIGHUP reads it too.
        installation.file.write_text("nothing\n")
        frontend.signal(signal.SIGHUP)
        wait_until(lambda: "the last good ones stay in force" in gatepost.logs(), 10, "the log")
        assert not verified()
        installation.file.write_bytes(installation.root.chain.read_bytes())
        wait_until(verified, 10, "the authority again")


def test_relay_by_fingerprint(gatepost: Gatepost) -> None:
    installation = Installation(gatepost)
    listed = installation.shown["lonely"]
    assert listed is not None
    gatepost.control("relayclientcerts", f"{listed.fingerprint()} branch office")
    gatepost.control("rcpthosts", "example.com")
    gatepost.plugins("relay certificates relayclientcerts", "rcpt_ok", "queue/maildir {mail}")
    gatepost.run()
    for tls in ("starttls", "implicit"):
        with installation.client(tls, "request", "1.3", "lonely") as client:
            client.sendmail("bob@example.net", ["alice@elsewhere.example"], MESSAGE)
        for shown in ("good", "none"):
            with installation.client(tls, "request", "1.3", shown) as client, pytest.raises(
                smtplib.SMTPRecipientsRefused
            ):
                client.sendmail("bob@example.net", ["alice@elsewhere.example"], MESSAGE)
    assert len(gatepost.maildir) == 2


@pytest.mark.parametrize("what", ["not there", "empty", "no certificate", "expired", "soon", "good"])
def test_check_names_what_is_wrong_with_the_authorities(gatepost: Gatepost, what: str) -> None:
    installation = Installation(gatepost)
    file, expected = installation.file, ""
    match what:
        case "not there":
            file.unlink()
            expected = f"{file}: No such file or directory"
        case "empty":
            file.write_text("")
            expected = f"{file}: "
        case "no certificate":
            file.write_text("hello\n")
            expected = f"{file}: is not a certificate in PEM"
        case "expired":
            old = certificates.issue(gatepost.folder, "old", installation.root, days=-1)
            file.write_bytes(installation.root.chain.read_bytes() + old.chain.read_bytes())
            expected = f"warning: {file}: the authority CN=old expired"
        case "soon":
            old = certificates.authority(gatepost.folder, "old", days=3)
            file.write_bytes(old.chain.read_bytes())
            expected = f"warning: {file}: the authority CN=old expires in"
    gatepost.write_frontend_toml()
    checked = subprocess.run(
        [BINARIES / "gatepost", "check", "--config", gatepost.config], capture_output=True, text=True, timeout=60
    )
    assert expected in checked.stderr
    assert checked.returncode == (78 if what in ("not there", "empty", "no certificate") else 0), checked.stderr
    if what == "good":
        assert str(file) not in checked.stderr
        assert "STARTTLS required, client certificates required" in checked.stdout
