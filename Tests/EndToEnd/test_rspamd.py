"""The plugin rspamd and Debian's rspamd: each action, what rspamd is told, and an rspamd that stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import DELIVERING, Gatepost
from harness.ports import free_port
from harness.scanners import RspamdServer
from harness.smtp import Reply

pytestmark = pytest.mark.xdist_group("rspamd")

HEADER = (
    b"From: Bob <bob@example.net>\r\nSubject: h\xc3\xa9llo\r\nX-Old: 1\r\nX-Old: 2\r\nX-Second: 1\r\nX-Second: 2\r\n"
    b"X-Last: 1\r\nX-Last: 2\r\nX-Spam: No\r\n"
)


@pytest.fixture(scope="module")
def rspamd() -> Iterator[RspamdServer]:
    peer = RspamdServer()
    yield peer
    peer.close()


@pytest.fixture(scope="module", params=["tcp", "socket"])
def scanning(
    request: pytest.FixtureRequest, make_gatepost: Callable[..., Gatepost], rspamd: RspamdServer
) -> Gatepost:
    server = make_gatepost()
    where = rspamd.socket if request.param == "socket" else f"127.0.0.1:{rspamd.port}"
    server.plugins(f"rspamd server {where} settings_id mine symbols_header X-Symbols", *DELIVERING)
    server.run()
    return server


def send(server: Gatepost, want: str, *recipients: str) -> Reply:
    server.maildir.clear()
    with server.connect(seconds=60) as client:
        client.ehlo("client.example")
        client.command("MAIL FROM:<bob@example.net> BODY=8BITMIME", 250)
        for recipient in recipients or ("alice@example.com",):
            client.command(f"RCPT TO:<{recipient}>", 250)
        reply = client.data(HEADER + f"X-Want: {want}\r\n".encode() + b"\r\nhello\r\n")
        client.quit()
    return reply


@pytest.mark.parametrize(
    ("want", "reply"),
    [
        ("reject", "554 5.7.1 Spam message rejected"),
        ("soft", "451 4.7.1 Come back later"),
    ],
)
def test_what_rspamd_rejects_is_refused(scanning: Gatepost, want: str, reply: str) -> None:
    assert str(send(scanning, want)).strip() == reply
    assert not scanning.maildir.files()


def test_what_rspamd_discards_is_gone(scanning: Gatepost) -> None:
    assert send(scanning, "discard").code == 250
    assert not scanning.maildir.files()
    scanning.programs[-1].logged("discarded")


@pytest.mark.parametrize(
    ("want", "spam", "action"),
    [
        ("none", [], b"no action"), ("greylist", [], b"greylist"), ("add", [b"Yes"], b"add header"),
        ("quarantine", [b"Yes"], b"quarantine"),
    ],
)  # fmt: skip
def test_what_passes_is_marked(scanning: Gatepost, want: str, spam: list[bytes], action: bytes) -> None:
    assert send(scanning, want).code == 250
    message = scanning.maildir.only()
    assert message.header("X-Spam") == spam
    assert message.header("X-Rspamd-Action") == [action]
    if want == "add":
        assert message.header("X-Symbols") == [b"WANT_ADD(7.0)"]
        assert message.header("X-Rspamd-Score") == [b"7.0 / 15.0"]


def test_the_subject_is_rewritten(scanning: Gatepost) -> None:
    assert send(scanning, "rewrite").code == 250
    message = scanning.maildir.only()
    assert message.header("Subject") == [b"=?UTF-8?Q?=5BSPAM=5D_h=C3=A9llo?="]
    assert message.header("X-Spam") == [b"Yes"]


def test_fields_are_changed_as_a_milter_would(scanning: Gatepost) -> None:
    assert send(scanning, "milter").code == 250
    message = scanning.maildir.only()
    assert message.header("X-Old") == []
    assert message.header("X-Second") == [b"1"]
    assert message.header("X-Last") == [b"1"]
    assert message.header("X-Plain") == [b"one"]
    assert message.header("X-First") == [b"two"]
    assert message.header("X-Many") == [b"a", b"b"]
    assert message.octets.index(b"X-First") < message.octets.index(b"From:") < message.octets.index(b"X-Plain")


def test_rspamd_knows_who_sends_what_to_whom(scanning: Gatepost) -> None:
    assert send(scanning, "facts", "alice@example.com", "bob@example.org").code == 250
    told = {message.header("X-Fact-RCPT")[0] for message in scanning.maildir.messages()}
    assert told == {b"alice@example.com,bob@example.org"}
    message = scanning.maildir.messages()[0]
    for name, value in (
        ("IP", b"127.0.0.1"), ("HELO", b"client.example"), ("USER", b"nil"), ("FROM", b"bob@example.net"),
        ("SETTINGS", b"mine"), ("DELIVER", b"nil"),
    ):  # fmt: skip
        assert message.header(f"X-Fact-{name}") == [value]
    assert send(scanning, "facts").code == 250
    assert scanning.maildir.only().header("X-Fact-DELIVER") == [b"alice@example.com"]


def test_a_user_has_settings_of_its_own(make_gatepost: Callable[..., Gatepost], rspamd: RspamdServer) -> None:
    server = make_gatepost()
    server.offer_auth()
    server.control("flat_auth_pw", "jo:secret")
    server.plugins(
        "auth/auth_flat_file", f"rspamd server 127.0.0.1:{rspamd.port} relayclient scan settings_id_of_users users",
        *DELIVERING,
    )  # fmt: skip
    server.run()
    with server.connect(seconds=60) as client:
        client.ehlo("client.example")
        client.command("AUTH PLAIN AGpvAHNlY3JldA==", 235)
        client.command("MAIL FROM:<jo@example.com>", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"From: a@example.com\r\nX-Want: facts\r\n\r\nhello\r\n").code == 250
        client.quit()
    message = server.maildir.only()
    assert message.header("X-Fact-USER") == [b"jo"]
    assert message.header("X-Fact-SETTINGS") == [b"users"]


@pytest.mark.parametrize(
    ("argument", "code"), [("", 451), ("on_error defer", 451), ("on_error decline", 250)]
)  # fmt: skip
def test_an_rspamd_that_is_gone(make_gatepost: Callable[..., Gatepost], argument: str, code: int) -> None:
    """The operator says what becomes of the mail; the log says what happened."""
    server = make_gatepost()
    server.plugins(f"rspamd server 127.0.0.1:{free_port()} {argument}", *DELIVERING)
    server.run()
    assert send(server, "none").code == code
    assert len(server.maildir.files()) == (code == 250)
    assert "unreachable" in server.logs()
