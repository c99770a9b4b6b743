"""auth/auth_ldap_bind, by real clients and with a real directory: who gets in, and what the client hears."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from harness import certificates
from harness.directory import BASE, NAME, SERVICE, SERVICE_PASSWORD, Slapd
from harness.gatepost import Gatepost
from harness.logins import login_code
from harness.ports import free_port

SWAKS_REFUSED = 28
PASSWORD = "open sesame"
PEOPLE = "ou=people," + BASE
#: Names that mean something in a filter, in a name of an entry, or in UTF-8.
AWKWARD = ["a*b", "a(b)c", "a)(uid=*", "back\\slash", "a\\2ab", 'c,d+e="f"', "müller", "日本", "a&(|b!c"]


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    peer = Slapd(
        ("jo", "people", PASSWORD), ("al@example.com", "people", "pässword"), ("nopass", "people", None),
        ("twin", "people", PASSWORD), ("twin", "others", PASSWORD), ("hidden", "closed", PASSWORD),
        *((name, "people", PASSWORD) for name in AWKWARD),
    )  # fmt: skip
    yield peer
    peer.close()


@pytest.fixture
def served(gatepost: Gatepost) -> Gatepost:
    """A listener with STARTTLS for users of a directory."""
    gatepost.listener.update(tls="starttls", require_tls=True, auth=["PLAIN", "LOGIN", "CRAM-MD5"], require_auth=True)
    certificate = certificates.make(gatepost.folder, "first", "localhost")
    gatepost.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    gatepost.limits(auth_failure_delay_ms=1, max_auth_failures_per_ip=0)
    return gatepost


def plugins(gatepost: Gatepost, arguments: str, base: str = PEOPLE) -> None:
    gatepost.plugins(f"auth/auth_ldap_bind ldap_base {base} {arguments}", "rcpt_ok", "queue/maildir {mail}")


def swaks(gatepost: Gatepost, mechanism: str, user: str, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["swaks", "--server", gatepost.listener["address"], "--from", "jo@example.com", "--to", "far@elsewhere.example",
         "--tls", "--auth", mechanism, "--auth-user", user, "--auth-password", password],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def reply(gatepost: Gatepost, user: str, password: str, mechanism: str = "PLAIN") -> int:
    return login_code(gatepost.port, user, password, mechanism)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(served: Gatepost, directory: Slapd, mechanism: str) -> None:
    plugins(served, f"ldap_port {directory.port}")
    _, worker = served.run()
    for user, password, code, said in (
        ("jo", PASSWORD, 0, " 235 2.7.0 "), ("jo", "Open sesame", SWAKS_REFUSED, " 535 5.7.8 "),
        ("stranger", PASSWORD, SWAKS_REFUSED, " 535 5.7.8 "), ("nopass", "x", SWAKS_REFUSED, " 535 5.7.8 "),
    ):  # fmt: skip
        done = swaks(served, mechanism, user, password)
        assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
    assert b" with ESMTPSA id " in served.maildir.take().added
    worker.logged(r"refused the password of jo\b")
    for secret in (PASSWORD, "Open sesame", "stranger"):
        assert secret not in served.logs()


def test_a_name_is_a_value_and_nothing_else(served: Gatepost, directory: Slapd) -> None:
    """Each user logs in by its own name; no pattern and no piece of a filter is anybody's name."""
    plugins(served, f"ldap_port {directory.port}")
    served.run()
    for name in (*AWKWARD, "jo"):
        assert reply(served, name, PASSWORD) == 235, name
        assert reply(served, name, PASSWORD + ".") == 535, name
    for name in ("*", "j*", "jo)(uid=*", "*)(uid=*))(|(uid=*", "jo)(|(uid=*)", "\\6a\\6f", "j\\6f", "jo\\00", "a\\2ab*",
                 "uid=jo", "jo,ou=people", "(uid=jo)", "a\\2a", "mülle"):  # fmt: skip
        assert reply(served, name, PASSWORD) == 535, name


def test_utf_8_and_the_other_mechanisms(served: Gatepost, directory: Slapd) -> None:
    plugins(served, f"ldap_port {directory.port}")
    served.run()
    assert reply(served, "al@example.com", "pässword", "LOGIN") == 235
    assert reply(served, "al@example.com", "passwörd", "LOGIN") == 535
    done = swaks(served, "CRAM-MD5", "jo", PASSWORD)
    assert done.returncode == SWAKS_REFUSED and " 535 5.7.8 " in done.stdout, done.stdout


def test_no_password_is_no_login(served: Gatepost, directory: Slapd) -> None:
    """This directory says yes to a bind with a name and no password; the client hears no."""
    whoami = ["ldapwhoami", "-x", "-H", f"ldap://127.0.0.1:{directory.port}", "-D", f"cn=0,{PEOPLE}", "-w", ""]
    with contextlib.suppress(FileNotFoundError):  # of the package ldap-utils
        assert subprocess.run(whoami, capture_output=True, timeout=60).returncode == 0
    plugins(served, f"ldap_port {directory.port}")
    served.run()
    for mechanism in ("PLAIN", "LOGIN"):
        assert 500 <= reply(served, "jo", "", mechanism) < 600
    assert reply(served, "jo", PASSWORD) == 235


def test_two_entries_are_no_user(served: Gatepost, directory: Slapd) -> None:
    plugins(served, f"ldap_port {directory.port}", BASE)
    _, worker = served.run()
    assert reply(served, "twin", PASSWORD) == 454
    worker.logged("several entries have the uid of twin")
    assert reply(served, "jo", PASSWORD) == 235


def test_the_file_the_attribute_and_the_search_s_own_bind(served: Gatepost, directory: Slapd) -> None:
    """Only the service may see the users; the file `ldap` says so, in qpsmtpd's words and ours."""
    secret = served.folder / "service"
    secret.write_text(f"{SERVICE_PASSWORD}\n")
    secret.chmod(0o640)
    lines = [f"ldap_base ou=closed,{BASE}", f"ldap_port {directory.port}", "ldap_auth_filter_attr mail",
             "ldap_timeout 10"]  # fmt: skip
    served.control("ldap", *lines)
    served.plugins("auth/auth_ldap_bind", "rcpt_ok", "queue/maildir {mail}")
    _, worker = served.run()
    hidden = "5@example.com"
    # Without a right to search there is no such user, or no such folder.
    assert reply(served, hidden, PASSWORD) in (454, 535)
    worker.stop()
    served.control("ldap", *lines, f"ldap_bind_dn {SERVICE}", f"ldap_bind_password_file {secret}")
    worker = served.worker()
    assert reply(served, hidden, PASSWORD) == 235
    assert reply(served, hidden, "x") == 535
    worker.stop()
    secret.write_text("wrong\n")
    worker = served.worker()
    assert reply(served, hidden, PASSWORD) == 454
    worker.logged(r"the search's own bind: Invalid credentials \(49\)")


@pytest.mark.parametrize("tls", ["starttls", "ldaps"])
def test_tls(served: Gatepost, directory: Slapd, tls: str) -> None:
    """A certificate that only the right file and the right name make valid."""
    port = directory.ldaps if tls == "ldaps" else directory.port
    line = f"ldap_host localhost ldap_port {port} ldap_tls {tls}"
    trust = f"ldap_tls_name {NAME} ldap_tls_ca_file {directory.certificate.chain}"
    plugins(served, f"{line} {trust}")
    _, worker = served.run()
    assert reply(served, "jo", PASSWORD) == 235
    assert reply(served, "jo", "open") == 535
    worker.stop()
    other = certificates.make(served.folder, "other", NAME)
    for wrong in (f"ldap_tls_name {NAME}", f"ldap_tls_name {NAME} ldap_tls_ca_file {other.chain}",
                  trust.replace(NAME, "other.example")):  # fmt: skip
        plugins(served, f"{line} {wrong}")
        worker = served.worker()
        assert reply(served, "jo", PASSWORD) == 454
        worker.logged(r"TLS: Connect error \(-11\): the certificate must be valid for ")
        worker.stop()


def test_another_s_settings_do_not_count(
    served: Gatepost, directory: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ldap.conf(5) and its variables, here one that takes every certificate."""
    conf = served.folder / "ldap.conf"
    conf.write_text("TLS_REQCERT never\nREFERRALS on\nSIZELIMIT 1\nTLS_CIPHER_SUITE NONE\n")
    monkeypatch.setenv("LDAPCONF", str(conf))
    monkeypatch.setenv("LDAPTLS_REQCERT", "never")
    line = f"ldap_port {directory.port} ldap_tls starttls ldap_tls_name {NAME}"
    plugins(served, line)
    _, worker = served.run()
    assert reply(served, "jo", PASSWORD) == 454
    worker.stop()
    plugins(served, f"{line} ldap_tls_ca_file {directory.certificate.chain}")
    served.worker()
    assert reply(served, "jo", PASSWORD) == 235


def test_a_unix_socket(served: Gatepost, directory: Slapd) -> None:
    plugins(served, f"ldap_host {directory.socket}")
    served.run()
    assert reply(served, "jo", PASSWORD) == 235
    assert reply(served, "jo", "open") == 535


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections, and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


@pytest.mark.parametrize("tls", ["none", "starttls", "ldaps"])
def test_a_server_that_says_nothing_is_454(served: Gatepost, tls: str) -> None:
    with silent_server() as port:
        line = f"ldap_host localhost ldap_port {port} ldap_tls {tls} ldap_timeout 500ms"
        if tls != "none":
            line += f" ldap_tls_name {NAME}"
        plugins(served, line)
        _, worker = served.run()
        start = time.monotonic()
        assert reply(served, "jo", PASSWORD) == 454
        # The time of the plugin, not the deadline of the hook.
        assert time.monotonic() - start < 15
        worker.logged("no answer in time")


def test_a_server_that_is_away_is_454_and_may_come_back(served: Gatepost) -> None:
    plugins(served, f"ldap_port {free_port()}")
    _, worker = served.run()
    assert reply(served, "jo", PASSWORD) == 454
    worker.logged("cannot connect to 127.0.0.1:.*Connection refused")
    worker.stop()
    peer = Slapd(("jo", "people", PASSWORD))
    try:
        plugins(served, f"ldap_port {peer.port}")
        served.worker()
        assert reply(served, "jo", PASSWORD) == 235
        peer.stop()
        assert reply(served, "jo", PASSWORD) == 454
        peer.serve()
        assert reply(served, "jo", PASSWORD) == 235
    finally:
        peer.close()
