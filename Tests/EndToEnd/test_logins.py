"""Logins that Gatepost's own plugins check, by real clients: who gets in, who does not, and what the client hears."""

from __future__ import annotations

import hashlib
import re
import shutil
import smtplib
import ssl
import subprocess
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from harness import certificates, scram
from harness.gatepost import BINARIES, ROOT, Gatepost
from harness.logins import login_code
from harness.peers import Dovecot
from harness.ports import free_port
from harness.waiting import wait_until

#: What `openssl passwd -6 -salt pepper secret` and yescrypt make of `secret`.
HASHES = {
    "jo@example.com": "$6$pepper$2Z6D7B1GHphRwAkDE2YJPR/Tz3pYzJVGFj5UOun/UCaxbGzjpckaQI2gu8BE7DfAQVvJ1RMHN0aDV0DT6ow8L.",
    "al@example.com": "$y$j75$wl6egCHucJT/4Yi294r7n0$4uni3HZoZaedQuRF6Rbob8d4ECCS9yuaQg/oaONJQg9",
}
CLEAR = "cy@example.com"
SWAKS_REFUSED = 28


def scram_keys(password: str) -> str:
    """What the operator writes into the file."""
    made = subprocess.run(["doveadm", "pw", "-s", "SCRAM-SHA-256", "-p", password],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    return made.stdout.strip()


@pytest.fixture
def served(gatepost: Gatepost) -> Gatepost:
    """STARTTLS on one listener, TLS from the first octet on another; users of `auth/auth_flat_file`."""
    gatepost.listener.update(
        tls="starttls", require_tls=True, auth=["PLAIN", "LOGIN", "CRAM-MD5"], require_auth=True
    )
    implicit = dict(gatepost.listener, name="submissions", address=f"127.0.0.1:{free_port()}", tls="implicit")
    del implicit["require_tls"]
    gatepost.frontend_toml["listener"].append(implicit)
    certificate = certificates.make(gatepost.folder, "first", "localhost")
    gatepost.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    gatepost.limits(auth_failure_delay_ms=1, max_auth_failures_per_ip=0)
    gatepost.plugins("auth/auth_flat_file", "rcpt_ok", "queue/maildir {mail}")
    write_users(gatepost, **HASHES, **{CLEAR: "open sesame"})
    return gatepost


def write_users(gatepost: Gatepost, **users: str) -> None:
    gatepost.control("flat_auth_pw", *(f"{user}:{value}" for user, value in users.items()))
    (gatepost.config / "flat_auth_pw").chmod(0o640)


def swaks(address: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["swaks", "--server", address, "--from", "jo@example.com", "--to", "far@elsewhere.example", *words],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["--tls", "--tls-on-connect"])
@pytest.mark.parametrize(
    ("mechanism", "user"),
    [("PLAIN", "jo@example.com"), ("LOGIN", "al@example.com"), ("LOGIN", CLEAR), ("CRAM-MD5", CLEAR)],
)
def test_swaks(served: Gatepost, mechanism: str, user: str, tls: str) -> None:
    served.run()
    address = served.frontend_toml["listener"][tls == "--tls-on-connect"]["address"]
    right = "open sesame" if user == CLEAR else "secret"
    login = (tls, "--auth", mechanism, "--auth-user")
    good = swaks(address, *login, user, "--auth-password", right)
    assert good.returncode == 0, good.stdout + good.stderr
    for name, password in ((user, "Secret"), ("no" + user, right), (user[:-1] + ".", right)):
        bad = swaks(address, *login, name, "--auth-password", password)
        assert bad.returncode == SWAKS_REFUSED and " 535 5.7.8 " in bad.stdout, bad.stdout
    # The client may relay, its message is there, and no log has a password.
    assert b" with ESMTPSA id " in served.maildir.take().added
    assert right not in served.logs() and f"no{user}" not in served.logs()


def encrypted(gatepost: Gatepost, name: str = "localhost") -> smtplib.SMTP:
    """A client that asks for the certificate of this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20)
    client._host = name  # type: ignore[attr-defined]  # what starttls() sends by SNI
    client.starttls(context=context)
    client.ehlo()
    return client


def test_scram_with_keys_that_dovecot_made(served: Gatepost) -> None:
    """By SCRAM and by the password; who does not know it, and who is no user, hears the same."""
    served.listener["auth"] = ["SCRAM-SHA-256", "PLAIN"]
    write_users(served, **{"jo@example.com": scram_keys("secret"), "al@example.com": HASHES["al@example.com"]})
    served.run()
    with encrypted(served) as client:
        assert "SCRAM-SHA-256 PLAIN" in client.esmtp_features["auth"]
        assert scram.login(client, "jo@example.com", "secret")["i"] == "4096"
        client.sendmail("jo@example.com", ["far@elsewhere.example"], b"Subject: x\r\n\r\nx\r\n")
    assert b" with ESMTPSA id " in served.maildir.take().added
    assert logged_in(served, "jo@example.com", "secret") and not logged_in(served, "jo@example.com", "Secret")
    heard = []
    for user in ("jo@example.com", "al@example.com", "nouser@example.com"):
        with encrypted(served) as client, pytest.raises(scram.ScramError) as refused:
            scram.login(client, user, "Secret")
        heard.append(str(refused.value))
    assert len(set(heard)) == 1 and heard[0].startswith("535 5.7.8 ")
    for secret in ("secret", "Secret", "nouser", "n,,n=", "biws"):
        assert secret not in served.logs()


def test_scram_is_bound_to_the_certificate(served: Gatepost) -> None:
    """With several certificates each client is bound to its own; another's, and a weaker offer, are refused."""
    served.listener["auth"] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    other = certificates.make(served.folder, "second", "other.example")
    served.frontend_toml["tls"]["certificate"].append(other.toml)
    write_users(served, **{"jo@example.com": scram_keys("secret")})
    served.run()
    shown = []
    for name in ("localhost", "other.example"):
        with encrypted(served, name) as client:
            assert "SCRAM-SHA-256-PLUS SCRAM-SHA-256" in client.esmtp_features["auth"]
            shown.append(hashlib.sha256(client.sock.getpeercert(True)).digest())
            scram.login(client, "jo@example.com", "secret", shown[-1])
            assert client.docmd("RCPT", "TO:<a@b.example>")[0] == 503
            assert client.docmd("MAIL", "FROM:<jo@example.com>")[0] == 250
    assert shown[0] != shown[1]
    refused: list[dict[str, Any]] = [{"end_point": shown[0]}, {"end_point": b""}, {"flag": "y"}]
    for said in refused:
        with encrypted(served, "other.example") as client, pytest.raises(scram.ScramError) as error:
            scram.login(client, "jo@example.com", "secret", **said)
        assert error.value.code == 535
    with encrypted(served) as client:
        scram.login(client, "jo@example.com", "secret")


def test_a_hash_cannot_answer_cram_md5(served: Gatepost) -> None:
    served.run()
    bad = swaks(served.listener["address"], "--tls", "--auth", "CRAM-MD5", "--auth-user", "jo@example.com",
                "--auth-password", "secret")  # fmt: skip
    assert bad.returncode == SWAKS_REFUSED and " 535 5.7.8 " in bad.stdout, bad.stdout


def logged_in(gatepost: Gatepost, user: str, password: str) -> bool:
    """Tries it in a session of its own; raises if the reply is neither 235 nor 535."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20) as client:
        client.starttls(context=context)
        try:
            client.login(user, password)
        except smtplib.SMTPAuthenticationError as error:
            if error.smtp_code != 535:
                raise
            return False
        return True


def test_each_spelling_of_a_name_and_a_password(served: Gatepost) -> None:
    """SASLprep: what a person cannot tell apart is the same; what is prohibited lets nobody in."""
    made = subprocess.run(["openssl", "passwd", "-6", "na\u00efve \u00e9t\u00e9"], capture_output=True, text=True, check=True)
    user = "m\u00fcller@example.com"
    write_users(served, **{user: made.stdout.strip(), "jo@example.com": scram_keys("\u00e9t\u00e9")})
    served.listener["auth"] = ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
    _, worker = served.run()
    decomposed = unicodedata.normalize("NFD", user)
    for mechanism in ("PLAIN", "LOGIN"):
        for name in (user, decomposed, "M\u00fc\u00adller@example.com"):
            for password in ("na\u00efve \u00e9t\u00e9", unicodedata.normalize("NFD", "na\u00efve\u00a0\u00e9t\u00e9")):
                assert login_code(served.port, name, password, mechanism) == 235, (name, password)
            assert login_code(served.port, name, "naive ete", mechanism) == 535
        assert login_code(served.port, user, b"na\xefve", mechanism) == 535
        assert login_code(served.port, b"m\xfcller@example.com", "na\u00efve \u00e9t\u00e9", mechanism) == 535
    worker.logged("SASLprep prohibits the password")
    worker.logged("SASLprep prohibits the user's name")
    for name in ("jo@example.com", "j\u00ado@example.com"):
        with encrypted(served) as client:
            scram.login(client, name, "\u00e9t\u00e9")


def test_the_file_is_read_live_and_a_broken_one_does_not_count(served: Gatepost) -> None:
    _, worker = served.run()
    assert logged_in(served, "jo@example.com", "secret")
    clear = r"flat_auth_pw:3: the password is in clear text"
    worker.logged(clear)
    write_users(served, **{"jo@example.com": "other"})
    wait_until(lambda: logged_in(served, "jo@example.com", "other"), 10, "the new password lets in")
    assert not logged_in(served, "jo@example.com", "secret")
    assert not logged_in(served, "al@example.com", "secret")
    worker.logged(r"flat_auth_pw:1: the password is in clear text")
    served.control("flat_auth_pw", "jo@example.com:$1$weak$AAAA", "al@example.com:new")
    assert logged_in(served, "jo@example.com", "other")
    worker.logged(r"flat_auth_pw:1: this kind of hash is too weak")
    assert len(re.findall(clear, worker.tail())) == 1


CHECKER = """#!/usr/bin/python3
import os, sys
user, password, rest = os.read(3, 513).split(b"\\0", 2)
assert rest == b"Y123456\\0", rest
if user == b"down": sys.exit(111)
if (user, password) != (b"jo", b"open sesame"): sys.exit(1)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_checkpassword(served: Gatepost, mechanism: str) -> None:
    program = served.folder / "checkpw"
    program.write_text(CHECKER)
    program.chmod(0o755)
    served.plugins(f"auth/auth_checkpassword checkpw {program} true /bin/true", "rcpt_ok", "queue/maildir {mail}")
    served.run()
    address = served.listener["address"]
    for user, password, code, reply in (
        ("jo", "open sesame", 0, " 235 2.7.0 "), ("jo", "open", SWAKS_REFUSED, " 535 5.7.8 "),
        ("down", "x", SWAKS_REFUSED, " 454 4.7.0 "),
    ):  # fmt: skip
        done = swaks(address, "--tls", "--auth", mechanism, "--auth-user", user, "--auth-password", password)
        assert done.returncode == code and reply in done.stdout, done.stdout + done.stderr


def test_authdeny_lets_the_next_plugin_decide(served: Gatepost) -> None:
    served.plugins("auth/authdeny", "auth/auth_flat_file", "rcpt_ok", "queue/maildir {mail}")
    served.run()
    assert logged_in(served, "jo@example.com", "secret")
    assert not logged_in(served, "jo@example.com", "wrong")


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    peer = Dovecot({"jo@example.com": "open sesame", "tab@example.com": "a\\tb"})
    yield peer
    peer.close()


@pytest.mark.xdist_group("dovecot")
@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_dovecot(served: Gatepost, dovecot: Dovecot, place: str) -> None:
    """Its real users, over each kind of socket; one Dovecot for all of these tests."""
    socket = dovecot.client if place == "unix" else f"127.0.0.1:{dovecot.port}"
    served.plugins(f"auth/dovecot {socket}", "rcpt_ok", "queue/maildir {mail}")
    _, worker = served.run()
    address = served.listener["address"]
    for mechanism in ("PLAIN", "LOGIN"):
        good = swaks(address, "--tls", "--auth", mechanism, "--auth-user", "jo@example.com",
                     "--auth-password", "open sesame")  # fmt: skip
        assert good.returncode == 0, good.stdout + good.stderr
    assert not logged_in(served, "jo@example.com", "open")
    assert not logged_in(served, "nobody@example.com", "open sesame")
    assert logged_in(served, "jo@example.com", "open sesame")
    assert "open sesame" not in served.logs()
    assert re.search(r"Dovecot refused the login", worker.tail())


@pytest.mark.xdist_group("dovecot")
def test_dovecot_may_be_started_again_and_may_be_away(served: Gatepost, dovecot: Dovecot) -> None:
    served.plugins(f"auth/dovecot {dovecot.client}", "rcpt_ok", "queue/maildir {mail}")
    served.run()
    assert logged_in(served, "jo@example.com", "open sesame")
    dovecot.stop()
    try:
        with pytest.raises(smtplib.SMTPAuthenticationError) as away:
            logged_in(served, "jo@example.com", "open sesame")
        assert away.value.smtp_code == 454
    finally:
        dovecot.serve()
    assert logged_in(served, "jo@example.com", "open sesame")


@pytest.mark.xdist_group("dovecot")
def test_another_socket_of_dovecot_is_recognised(served: Gatepost, dovecot: Dovecot) -> None:
    served.plugins(f"auth/dovecot {dovecot.master}", "rcpt_ok", "queue/maildir {mail}")
    _, worker = served.run()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        logged_in(served, "jo@example.com", "open sesame")
    assert refused.value.smtp_code == 454
    worker.logged("this is another socket of Dovecot's")


@pytest.mark.xdist_group("dovecot")
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_imap(served: Gatepost, dovecot: Dovecot, tls: str) -> None:
    """Dovecot as the IMAP server: its users, and a certificate that only the right file makes valid."""
    port = dovecot.imaps if tls == "implicit" else dovecot.imap
    line = f"auth/auth_imap host localhost port {port} tls {tls}"
    trust = f"tls_ca_file {dovecot.certificate.chain}"
    served.plugins(f"{line} {trust}", "rcpt_ok", "queue/maildir {mail}")
    frontend, worker = served.run()
    assert logged_in(served, "jo@example.com", "open sesame")
    assert not logged_in(served, "jo@example.com", "open")
    assert not logged_in(served, "nobody@example.com", "open sesame")
    worker.stop()
    other = certificates.make(served.folder, "other", "localhost")
    for wrong in ("", f"tls_ca_file {other.chain}", f"{trust} tls_name other.example"):
        served.plugins(f"{line} {wrong}", "rcpt_ok", "queue/maildir {mail}")
        worker = served.worker()
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            logged_in(served, "jo@example.com", "open sesame")
        assert refused.value.smtp_code == 454
        worker.logged("CERTIFICATE_VERIFY_FAILED|unableToValidateCertificate|localhost:")
        worker.stop()


def test_an_imap_server_that_is_away_is_454(served: Gatepost) -> None:
    served.plugins(f"auth/auth_imap port {free_port()} tls_name localhost", "rcpt_ok", "queue/maildir {mail}")
    served.run()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        logged_in(served, "jo@example.com", "open sesame")
    assert refused.value.smtp_code == 454


def example(text: str, name: str) -> str:
    """A commented `[[listener]]` of config/frontend.toml, as an operator would take it in."""
    lines = text.splitlines()
    start = lines.index("# [[listener]]", lines.index(f'# name = "{name}"') - 1)
    taken = []
    for line in lines[start:]:
        if not line.startswith("# ") or (taken and line == "# [[listener]]"):
            break
        taken.append(line[2:])
    return "\n".join(taken)


def test_the_example_of_submission_works(gatepost: Gatepost) -> None:
    """The listeners for mail programs and the line of config/plugins, taken in as they stand."""
    shutil.rmtree(gatepost.config)
    shutil.copytree(ROOT / "config", gatepost.config)
    text = (gatepost.config / "frontend.toml").read_text("utf-8")
    certificate = certificates.make(gatepost.folder, "first", "mx.example.com")
    examples = "\n".join(example(text, name) for name in ("submission", "submissions"))
    ports = {"587": free_port(), "465": free_port(), "2525": free_port()}
    text += f'\n{examples}\n[[tls.certificate]]\nchain = "{certificate.chain}"\nkey = "{certificate.key}"\n'
    for standard, free in ports.items():
        assert f':{standard}"' in text
        text = text.replace(f':{standard}"', f':{free}"')
    (gatepost.config / "frontend.toml").write_text(text)
    plugins = (gatepost.config / "plugins").read_text("utf-8")
    (gatepost.config / "plugins").write_text(plugins.replace("\n# auth/auth_flat_file\n", "\nauth/auth_flat_file\n"))
    write_users(gatepost, **HASHES)
    checked = subprocess.run(
        [BINARIES / "gatepost", "check", "--config", gatepost.config], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0 and "warning" not in checked.stderr, checked.stderr
    assert re.search(r"^ *auth +.*auth/auth_flat_file", checked.stdout, re.MULTILINE), checked.stdout
    program = gatepost.start("gatepost", "run", "--config", gatepost.config, "--workers", "1")
    program.ready()
    for port, tls in ((ports["587"], "--tls"), (ports["465"], "--tls-on-connect")):
        done = swaks(f"127.0.0.1:{port}", tls, "--auth", "PLAIN", "--auth-user", "al@example.com",
                     "--auth-password", "secret")  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
