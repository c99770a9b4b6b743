"""Mail clients that people use, from Debian packages, deliver to a Maildir."""

from __future__ import annotations

import os
import smtplib
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from harness.clients import run
from harness.gatepost import Gatepost
from harness.peers import Postfix

MESSAGE = (
    b"From: Bob <bob@example.net>\r\nTo: alice@example.com\r\nSubject: by a real client\r\n\r\n"
    b"First line\r\n.\r\n..two dots\r\nlast line\r\n"
)
#: Clients take a message with the line ends of this system.
MESSAGE_LF = MESSAGE.replace(b"\r\n", b"\n")


@pytest.fixture(autouse=True)
def empty_maildir(serving: Gatepost) -> Iterator[None]:
    serving.maildir.clear()
    yield


def test_swaks(serving: Gatepost) -> None:
    said = run(
        *("swaks", "--server", "127.0.0.1", "--port", serving.port, "--ehlo", "client.example"),
        *("--from", "bob@example.net", "--to", "alice@example.com,carol@example.org"),
        *("--data", "-", "--protocol", "ESMTP"),
        input=MESSAGE_LF,
    )
    assert "250 2.0.0" in said
    # swaks sends a line `.` of its input as text, and adds an empty line at the end.
    assert serving.maildir.only().original == MESSAGE + b"\r\n"


def test_swaks_is_told_why_it_is_refused(serving: Gatepost) -> None:
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{serving.port}", "--from", "bob@example.net"),
            *("--to", "victim@elsewhere.example"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 24, done.stdout  # swaks: no recipient was accepted
    assert "550 5.7.1" in done.stdout
    assert not serving.maildir.files()


def test_smtplib(serving: Gatepost) -> None:
    with smtplib.SMTP("127.0.0.1", serving.port, "client.example", timeout=30) as client:
        assert client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE) == {}
    assert serving.maildir.only().original == MESSAGE


def test_smtplib_with_smtputf8_and_eight_bits(serving: Gatepost) -> None:
    message = EmailMessage()
    message["From"] = "jürgen@example.net"
    message["To"] = "jérôme@example.com"
    message["Subject"] = "Grüße"
    message.set_content("Schöne Grüße", cte="8bit")
    with smtplib.SMTP("127.0.0.1", serving.port, "client.example", timeout=30) as client:
        assert client.send_message(message) == {}
    delivered = serving.maildir.only()
    assert "Subject: Grüße\r\n".encode() in delivered.original
    assert b"with UTF8SMTP" in delivered.added


def test_curl(serving: Gatepost, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_bytes(MESSAGE)
    run(
        *("curl", "--silent", "--show-error", f"smtp://127.0.0.1:{serving.port}/client.example"),
        *("--mail-from", "bob@example.net", "--mail-rcpt", "alice@example.com"),
        *("--upload-file", file),
    )
    assert serving.maildir.only().original == MESSAGE


def test_msmtp(serving: Gatepost) -> None:
    run(
        *("msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={serving.port}"),
        *("--auth=off", "--tls=off", "--domain=client.example", "--set-date-header=off"),
        *("--set-msgid-header=off", "--from=bob@example.net", "alice@example.com"),
        input=MESSAGE_LF,
    )
    assert serving.maildir.only().original == MESSAGE


@pytest.mark.skipif(os.getuid() != 0, reason="postfix(1) must be started by root")
def test_postfix(serving: Gatepost) -> None:
    postfix = Postfix(serving.port)
    try:
        postfix.submit(MESSAGE_LF, "bob@example.net", "alice@example.com", "carol@example.org")
        assert "status=sent (250 2.0.0" in postfix.sent()
        assert serving.maildir.only().original.endswith(MESSAGE.partition(b"\r\n\r\n")[2])
        serving.maildir.clear()
        # Postfix announces 8BITMIME and SIZE, and pipelines the envelope of a bounce.
        postfix.submit("Subject: ä\n\nGrüße\n".encode(), "", "alice@example.com")
        assert serving.maildir.take(30).original.endswith("\r\n\r\nGrüße\r\n".encode())
    finally:
        postfix.close()


@pytest.mark.parametrize("mode", [(), ("-d",), ("-N", "-A")], ids=["closing", "keeping", "own-ids"])
def test_smtp_source(serving: Gatepost, mode: tuple[str, ...]) -> None:
    """50 messages over 5 parallel connections; -d keeps a connection for several messages."""
    run(
        *("smtp-source", *mode, "-m", 50, "-s", 5, "-l", 4096, "-f", "bob@example.net"),
        *("-t", "alice@example.com", f"inet:127.0.0.1:{serving.port}"),
    )
    messages = serving.maildir.messages()
    assert len(messages) == 50
    assert all(len(message.original) >= 4096 for message in messages)
