"""queue/http with Python's own server of HTTP: envelope, signature, token, and a key for each message."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.gatepost import Gatepost

MESSAGE = b"From: <bob@example.net>\r\nSubject: to the web\r\n\r\n.dot\r\n"


class Hook(ThreadingHTTPServer):
    """Keeps each request, and answers with the next status of `statuses`, or 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, Message, bytes]] = []
        self.statuses: list[int] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers, content))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.shutdown()
    server.server_close()


def deliver(gatepost: Gatepost) -> tuple[int, str | None]:
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope("bob@example.net", "alice@example.com", "carol@example.com")
        reply = client.data(MESSAGE)
    return reply.code, reply.status


@pytest.mark.parametrize("form", ["raw", "json"])
def test_a_message_is_posted_signed_and_once(gatepost: Gatepost, hook: Hook, form: str) -> None:
    (gatepost.folder / "secret").write_text("Jefe\n")
    (gatepost.folder / "token").write_text("t0ken\n")
    gatepost.plugins(
        "rcpt_ok",
        f"queue/http http://127.0.0.1:{hook.server_port}/in?x=1 form {form} secret_file secret token_file token",
    )
    gatepost.run()
    hook.statuses = [503, 200]
    assert deliver(gatepost) == (250, "2.0.0")
    assert deliver(gatepost) == (250, "2.0.0")
    keys = [fields["Idempotency-Key"] for _, fields, _ in hook.requests]
    assert len(keys) == 3 and keys[0] == keys[1] != keys[2]
    path, fields, content = hook.requests[0]
    assert path == "/in?x=1" and fields["Authorization"] == "Bearer t0ken"
    assert fields["X-Signature-256"] == "sha256=" + hmac.new(b"Jefe", content, hashlib.sha256).hexdigest()
    if form == "raw":
        assert fields["Content-Type"] == "message/rfc822" and content.endswith(MESSAGE)
        assert fields["Envelope-Sender"] == "<bob@example.net>"
        assert fields.get_all("Envelope-Recipient") == ["<alice@example.com>", "<carol@example.com>"]
    else:
        found = json.loads(content)
        assert base64.b64decode(found["message"]).endswith(MESSAGE) and found["sender"] == "bob@example.net"
        assert found["recipients"] == ["alice@example.com", "carol@example.com"]


def test_a_refusal_is_told(gatepost: Gatepost, hook: Hook) -> None:
    gatepost.plugins("rcpt_ok", f"queue/http http://127.0.0.1:{hook.server_port}/ timeout 1s")
    gatepost.run()
    hook.statuses = [422, 401]
    assert [deliver(gatepost), deliver(gatepost)] == [(554, "5.3.0"), (451, "4.3.0")]
    hook.statuses = [500] * 20
    assert deliver(gatepost) == (451, "4.3.0")
