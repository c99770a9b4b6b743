"""rcpt_verify with Postfix, slapd, Python's server of HTTP and a shell script behind it, and with peers that fail."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness import certificates
from harness.directory import BASE, Slapd
from harness.gatepost import BINARIES, Gatepost
from harness.peers import PostfixServer
from harness.ports import free_port

UNKNOWN = (450, "4.1.1")
MISSING = (550, "5.1.1")
TAKEN = (250, "2.1.5")


class Web(ThreadingHTTPServer):
    """Knows `jo@example.com`; each path is kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(204 if unquote(self.path) == "/users/jo@example.com" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostfixServer]:
    if os.getuid() != 0:
        pytest.skip("postfix(1) needs root")
    certificate = certificates.make(tmp_path_factory.mktemp("postfix"), "postfix", "localhost")
    with PostfixServer(certificate, recipients="inline:{ jo@example.com=inbox/ }") as server:
        yield server


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    peer = Slapd(("jo", "people", None))
    yield peer
    peer.close()


def codes(gatepost: Gatepost, *recipients: str) -> list[tuple[int, str | None]]:
    """The reply to each recipient of one transaction."""
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net> SMTPUTF8", 250)
        replies = [client.command(f"RCPT TO:<{each}>") for each in recipients]
        client.quit()
    return [(reply.code, reply.status) for reply in replies]


def serve(gatepost: Gatepost, line: str) -> None:
    gatepost.plugins(f"rcpt_verify {line}", "rcpt_ok", "queue/maildir {mail}")
    gatepost.run()


def store_keys(gatepost: Gatepost) -> str:
    return subprocess.run(
        [BINARIES / "gatepost", "store", "list", "--config", gatepost.config],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def test_postfix_knows_its_recipients(gatepost: Gatepost, postfix: PostfixServer) -> None:
    serve(gatepost, f"smtp 127.0.0.1:{postfix.port} tls encrypt timeout 30")
    recipients = ("jo@example.com", "al@example.com", "jo@elsewhere.example", "jo@EXAMPLE.com", "al@example.com")
    assert codes(gatepost, *recipients) == [TAKEN, MISSING, (550, "5.7.1"), TAKEN, MISSING]
    asked = [line for line in postfix.log().splitlines() if "NOQUEUE: reject: RCPT" in line]
    assert len(asked) == 1 and "to=<al@example.com>" in asked[0], postfix.log()
    assert "from=<>" in asked[0] and "status=" not in postfix.log()


def test_postfix_with_probe_is_asked_on(gatepost: Gatepost, postfix: PostfixServer) -> None:
    serve(gatepost, f"smtp 127.0.0.1:{postfix.port} tls encrypt timeout 30 probe yes")
    assert codes(gatepost, "jo@example.com", "al@example.com") == [TAKEN, MISSING]


def test_postfix_that_wants_another_sender(gatepost: Gatepost, postfix: PostfixServer) -> None:
    """It refuses this sender, which says nothing of a recipient."""
    serve(gatepost, f"smtp 127.0.0.1:{postfix.port} tls encrypt timeout 30 rest 0 sender not@refused.example")
    assert codes(gatepost, "jo@example.com", "al@example.com") == [UNKNOWN, UNKNOWN]


def test_slapd_knows_its_recipients(gatepost: Gatepost, directory: Slapd) -> None:
    where = f"ldap ldap://127.0.0.1:{directory.port} ldap_base {BASE} timeout 30"
    serve(gatepost, f'{where} ldap_filter "(|(mail={{{{address}}}})(uid={{{{local}}}}))"')
    recipients = ("0@example.com", "jo@example.com", "al@example.com", "*@example.com", '"*)(uid=*"@example.com')
    assert codes(gatepost, *recipients) == [TAKEN, TAKEN, MISSING, MISSING, MISSING]
    directory.stop()
    try:
        # What is known stays known.
        assert codes(gatepost, "al@example.com", "me@example.com", "jo@example.com") == [MISSING, UNKNOWN, TAKEN]
    finally:
        directory.serve()


def test_a_web_server_knows_its_recipients(gatepost: Gatepost) -> None:
    web = Web()
    try:
        serve(gatepost, f"http http://127.0.0.1:{web.server_port}/users/{{{{address}}}} timeout 30")
        recipients = ("jo@example.com", '"a/../jo"@example.com', "jo?@example.com", "jö@example.com", "jo@example.com")
        assert codes(gatepost, *recipients) == [TAKEN, MISSING, MISSING, MISSING, TAKEN]
        assert web.paths == [
            f"/users/{each}%40example.com" for each in ("jo", "%22a%2F..%2Fjo%22", "jo%3F", "j%C3%B6")
        ]
    finally:
        web.shutdown()
        web.server_close()


def script(gatepost: Gatepost, body: str) -> Path:
    path = gatepost.folder / "check"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_script_knows_its_recipients(gatepost: Gatepost) -> None:
    gatepost.worker_toml(store={"url": f"sqlite:{gatepost.folder}/store.db"})
    seen = gatepost.folder / "seen"
    path = script(gatepost, f'echo "$#:$1" >> {seen}\ncase $1 in jo@*) exit 0;; al@*) exit 67;; *) exit 75;; esac')
    serve(gatepost, f"command {path} timeout 30")
    recipients = ("jo@example.com", "al@example.com", "x@example.com", "-n@example.com", "$HOME`id`@example.com")
    assert codes(gatepost, *recipients) == [TAKEN, MISSING, UNKNOWN, MISSING, UNKNOWN]
    assert seen.read_text().split() == [
        f"1:{each}@example.com" for each in ("jo", "al", "x", "$HOME`id`")
    ]
    keys = store_keys(gatepost)
    assert f"rcpt_verify/recipient command {path} jo@example.com" in keys
    assert f"rcpt_verify/recipient command {path} al@example.com" in keys and "x@example.com" not in keys


@pytest.mark.parametrize("policy", ["tempfail", "accept"])
def test_a_peer_that_is_gone(gatepost: Gatepost, policy: str) -> None:
    serve(gatepost, f"smtp 127.0.0.1:{free_port()} on_failure {policy}")
    expected = UNKNOWN if policy == "tempfail" else TAKEN
    assert codes(gatepost, "jo@example.com", "al@example.com") == [expected, expected]


@pytest.mark.parametrize("method", ["smtp", "http", "ldap", "command"])
def test_a_peer_that_never_answers_costs_a_hundred_recipients_its_time_once(
    gatepost: Gatepost, method: str
) -> None:
    gatepost.limits(max_errors=0)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        line = {
            "smtp": f"smtp {address}",
            "http": f"http http://{address}/{{{{address}}}}",
            "ldap": f"ldap ldap://{address} ldap_base {BASE}",
            "command": f"command {script(gatepost, 'exec sleep 60')}",
        }[method]
        serve(gatepost, f"{line} timeout 1s rest 1h")
        began = time.monotonic()
        assert codes(gatepost, *(f"u{number}@example.com" for number in range(100))) == [UNKNOWN] * 100
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n", b"250 yes\r\n", b"\0" * 8192, b"220-\r\n" * 500])
def test_a_peer_that_lies(gatepost: Gatepost, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def lie() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(said)

        threading.Thread(target=lie, daemon=True).start()
        serve(gatepost, f"smtp 127.0.0.1:{listening.getsockname()[1]} timeout 2s")
        assert codes(gatepost, "jo@example.com", "al@example.com") == [UNKNOWN, UNKNOWN]
        listening.shutdown(socket.SHUT_RDWR)
