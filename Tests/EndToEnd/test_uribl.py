"""Hosts that messages name, asked of lists behind a real resolver."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.gatepost import Gatepost
from harness.peers import Unbound

HEAD = b"From: <bob@a.test>\r\nSubject: uribl\r\nMIME-Version: 1.0\r\n"


class Resolver(Unbound):
    ZONES = (
        *Unbound.ZONES,
        "evil.com.multi.test. A 127.0.0.8",
        'evil.com.multi.test. TXT "see https://multi.test/"',
        "grey.co.uk.multi.test. A 127.0.0.2",
        "7.2.0.192.multi.test. A 127.0.0.8",
    )


@pytest.fixture(scope="module")
def reading(make_gatepost: Callable[..., Gatepost]) -> Iterator[Gatepost]:
    unbound = Resolver()
    server = make_gatepost()
    server.worker_toml(dns={"servers": [f"127.0.0.1:{unbound.port}"], "timeout_ms": 2_000})
    server.control("uribl_zones", "multi.test 8 deny", "all.test 2 deny", "drop.test 2 deny", "refused.test")
    server.control("uribl_whitelist_domains", "good.com")
    server.plugins("rcpt_ok", "uribl timeout 1", "queue/maildir {mail}")
    server.run()
    yield server
    unbound.close()


def send(server: Gatepost, content: bytes) -> object:
    with server.connect() as client:
        client.ehlo()
        client.envelope()
        reply = client.data(HEAD + content)
        client.quit()
    return reply


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\r\nhttps://www.evil.com/x\r\n", "evil.com in multi.test: see https://multi.test/"),
        (b"\r\nhttp://0xC0000207/\r\n", "192.0.2.7 in multi.test: 127.0.0.8"),
        (
            b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            b"PGEgaHJlZj0iaHR0cDovL3d3dy5ldmlsJiM0Njtjb20vIj4=\r\n",
            "evil.com in multi.test: see https://multi.test/",
        ),
        (b"\r\nhttp://www.good.com/ http://grey.co.uk/\r\n", None),
        (b"\r\nno hosts\r\n", None),
    ],
    ids=["uri", "number", "html", "others", "none"],
)
def test_a_message_that_names_a_listed_host_is_refused(reading: Gatepost, content: bytes, text: str | None) -> None:
    """The lists beside it list everything, are silent or refuse: they count for nothing."""
    reply = send(reading, content)
    if text is None:
        assert reply.code == 250, str(reply)
    else:
        assert (reply.code, reply.status) == (554, "5.7.1") and text in reply.text, str(reply)


def test_lists_that_are_not_usable_are_named(reading: Gatepost) -> None:
    send(reading, b"\r\nhttp://www.evil.com/\r\n")
    worker = reading.programs[-1]
    worker.logged(r"all\.test: lists everything")
    worker.logged(r"refused\.test: ")
    worker.logged(r"drop\.test: ")


def test_an_edit_of_the_lists_counts_for_the_next_session(reading: Gatepost) -> None:
    reading.control("uribl_zones", "multi.test 8 add-header")
    reading.maildir.clear()
    assert send(reading, b"\r\nhttp://evil.com/\r\n").code == 250
    field = reading.maildir.only().header("X-URIBL-Match")
    assert field == [b"evil.com in multi.test: see https://multi.test/"]
