"""The plugins virus/clamdscan and virus/command with Debian's ClamAV: over TCP, over a socket, and when it is gone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import DELIVERING, Gatepost
from harness.scanners import EICAR, Clamd
from harness.smtp import Reply

pytestmark = pytest.mark.xdist_group("clamd")

TEXT = b"From: bob@example.net\r\nX-Virus-Found: No\r\n\r\nhello\r\n"
BODY = b"From: bob@example.net\r\n\r\nhere is gatepost-test\r\n"
ATTACHED = (
    b"From: bob@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(EICAR) + b"\r\n--b--\r\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def clamd() -> Iterator[Clamd]:
    peer = Clamd()
    yield peer
    peer.close()


@pytest.fixture(scope="module", params=["tcp", "file", "socket"])
def scanning(request: pytest.FixtureRequest, make_gatepost: Callable[..., Gatepost], clamd: Clamd) -> Gatepost:
    server = make_gatepost()
    place = f"clamd_host 127.0.0.1 clamd_port {clamd.port}"
    if request.param != "tcp":
        place = f"clamd_socket {clamd.socket} fildes {'yes' if request.param == 'file' else 'no'}"
    server.plugins(f"virus/clamdscan {place}", *DELIVERING)
    server.run()
    return server


def send(server: Gatepost, message: bytes) -> Reply:
    server.maildir.clear()
    with server.connect(seconds=60) as client:
        client.ehlo()
        client.envelope()
        reply = client.data(message)
        client.quit()
    return reply


def test_a_virus_is_refused_wherever_it_hides(scanning: Gatepost) -> None:
    for message, name in ((BODY, "Gatepost.Test.Body"), (ATTACHED, "Eicar-Test-Signature")):
        reply = send(scanning, message)
        assert (reply.code, reply.status) == (554, "5.7.1"), str(reply)
        assert f"Virus found: {name}" in reply.text
        assert not scanning.maildir.files()


def test_a_clean_message_is_marked(scanning: Gatepost) -> None:
    assert send(scanning, TEXT).code == 250
    message = scanning.maildir.only()
    assert message.header("X-Virus-Checked") == [b"Checked by ClamAV on mx1.example.com"]
    assert message.header("X-Virus-Found") == []
    assert "error" not in scanning.programs[-1].tail()


def test_a_virus_that_is_only_marked(make_gatepost: Callable[..., Gatepost], clamd: Clamd) -> None:
    server = make_gatepost()
    server.plugins(f"virus/clamdscan clamd_socket {clamd.socket} deny_viruses no", *DELIVERING)
    server.run()
    assert send(server, BODY).code == 250
    message = server.maildir.only()
    assert message.header("X-Virus-Found") == [b"Yes"]
    assert message.header("X-Virus-Details") == [b"Gatepost.Test.Body.UNOFFICIAL"]


def test_a_clamd_that_takes_less_and_then_goes(make_gatepost: Callable[..., Gatepost]) -> None:
    """Too much for clamd is put off, as is everything while it is gone; then it is back."""
    small = Clamd("1M")
    try:
        server = make_gatepost()
        place = f"clamd_host 127.0.0.1 clamd_port {small.port}"
        server.plugins(f"virus/clamdscan {place}", *DELIVERING)
        _, worker = server.run()
        reply = send(server, TEXT + (b"x" * 70 + b"\r\n") * 30_000)
        assert (reply.code, reply.status) == (451, "4.7.1"), str(reply)
        assert send(server, TEXT).code == 250
        assert small.program is not None
        small.program.stop()
        assert send(server, TEXT).code == 451
        worker.logged("unreachable|Connection refused")
        worker.stop()
        server.plugins(f"virus/clamdscan {place} defer_on_error no", *DELIVERING)
        server.worker()
        assert send(server, BODY).code == 250
        small.serve()
        assert send(server, BODY).code == 554
    finally:
        small.close()


def test_clamscan_as_a_command(make_gatepost: Callable[..., Gatepost], clamd: Clamd) -> None:
    """The program of the same package, which reads the same database."""
    server = make_gatepost()
    database = clamd.folder / "database"
    server.plugins(
        f'virus/command command "/usr/bin/clamscan --no-summary --database={database} %f" pattern ": (.*) FOUND"',
        *DELIVERING,
    )  # fmt: skip
    server.run()
    assert "Virus found: Eicar-Test-Signature.UNOFFICIAL" in send(server, ATTACHED).text
    assert send(server, TEXT).code == 250
    assert server.maildir.only().header("X-Virus-Checked") == [b"Checked by clamscan on mx1.example.com"]
