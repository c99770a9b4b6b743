"""Header fields: every filter sees the same, a message is whole or refused, and what policy changes is what goes out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.gatepost import ROOT, Gatepost
from harness.program import Program
from harness.wire import Message

BODY = b"\r\nbody\r\n"
HOPS = b"From: a@example.net\r\n"


@pytest.fixture
def filtering(gatepost: Gatepost) -> Gatepost:
    gatepost.plugins("rcpt_ok", "headers", "loop 3", "queue/maildir {mail}")
    gatepost.run()
    return gatepost


@pytest.mark.parametrize(
    "message,answer",
    [
        (b"From : a@example.net\r\nSubject : t\r\n" + BODY, "queued"),
        (b"From a@example.net Mon Nov 23\r\nFrom: a@example.net\r\n" + BODY, "queued"),
        (b"From: a@example.net\r\nFrom : b@example.net\r\n" + BODY, "Only one From header allowed"),
        (b"From x y\r\nFrom: a@example.net\r\nFrom\t: b@example.net\r\n" + BODY, "Only one From header allowed"),
        (b"\xef\xbb\xbfFrom: a@example.net\r\n" + BODY, "The message has no header"),
        (b"X-Line without colon\r\nFrom: a@example.net\r\n" + BODY, "The message has no header"),
        (HOPS + b"Received : x\r\n" * 3 + BODY, "Too many hops"),
        (HOPS + b"Received: x\r\nReceived\t: x\r\ndelivered-to : x\r\n" + BODY, "Too many hops"),
        (HOPS + b"no field\r\n" + b"Received: x\r\n" * 3 + BODY, "queued"),
    ],
)
def test_no_field_hides_from_a_filter(filtering: Gatepost, message: bytes, answer: str) -> None:
    filtering.maildir.clear()
    with filtering.connect() as client:
        client.ehlo()
        client.envelope()
        assert answer in client.data(message).text
        client.quit()
    assert len(filtering.maildir) == (answer == "queued")


def test_a_header_is_stored_whole_or_refused_for_good(filtering: Gatepost) -> None:
    """More fields than the limit, and fewer whose octets are six times as many in JSON."""
    large = b"From: a@example.net\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 900) for n in range(500))
    heavy = b"From: a@example.net\r\nX:" + b"\r\n ".join([b"\x01" * 900] * 250) + b"\r\n"
    with filtering.connect() as client:
        client.ehlo()
        for header in (b"From: a@example.net\r\n" + b"a:b\r\n" * 1_000, heavy):
            for _ in range(2):
                client.envelope()
                reply = client.data(header + BODY)
                assert (reply.code, reply.status) == (552, "5.3.4"), str(reply)
        assert not filtering.maildir.files()
        client.envelope()
        assert client.data(large + BODY).code == 250
        client.quit()
    assert filtering.maildir.only().original == large + BODY


def replacing(gatepost: Gatepost, file: bytes, actions: list[Message]) -> list[Message]:
    """A message that a worker of the first pool replaces by `file`; the fields that the next hook is shown."""
    gatepost.frontend_toml["pool"] = [{"name": "python", "grace_ms": 300}, {"name": "policy", "minimum_workers": 1}]
    gatepost.plugins("rcpt_ok", "queue/maildir {mail}")
    shown: list[Message] = []

    def answer(event: Message) -> Message:
        if event["hook"] == "queue_pre":
            shown.extend(event["transaction"]["headers"])
            return {"verdict": "declined"}
        out = Path(gatepost.frontend_toml["spool_directory"]) / "mx1" / "out" / "python"
        (out / "new").write_bytes(file)
        return {"verdict": "declined", "actions": [{"op": "message.replace", "path": "new"}, *actions]}

    frontend = gatepost.frontend(ready=False)
    gatepost.worker("policy")
    gatepost.python_worker({"data_post": {}, "queue_pre": {"needs": ["headers"]}}, answer, pool="python")
    frontend.ready()
    return shown


def test_header_actions_behind_a_replaced_message_are_made_to_it(gatepost: Gatepost) -> None:
    shown = replacing(
        gatepost,
        b"Subject: new\r\nX-Kept: 1\r\n\r\nnew body\r\n",
        [
            {"op": "header.add", "name": "X-Top", "value": "1"},
            {"op": "header.delete_all", "name": "Subject"},
            {"op": "header.add", "name": "X-Bottom", "value": "1", "at": "bottom"},
        ],
    )
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: old\r\n\r\nold body\r\n")
        client.quit()
    assert [field["name"] for field in shown] == ["X-Top", "X-Kept", "X-Bottom"]
    # The first field that came has 1, our Received 2: none of them comes again.
    assert min(field["id"] for field in shown) > 2
    stored = gatepost.maildir.only().octets
    assert stored.endswith(b"X-Top: 1\r\nX-Kept: 1\r\nX-Bottom: 1\r\n\r\nnew body\r\n"), stored


@pytest.mark.parametrize("action", [{"op": "header.set", "id": 1, "value": "x"}, {"op": "header.delete", "id": 1}])
def test_ids_of_the_old_header_are_over_behind_a_replaced_message(gatepost: Gatepost, action: Message) -> None:
    replacing(gatepost, b"Subject: new\r\n\r\nnew body\r\n", [action])
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        assert client.data(b"Subject: old\r\n\r\nold body\r\n").code == 451
        client.quit()
    gatepost.programs[0].logged("unknown_header")
    assert not gatepost.maildir.files()


MARKER = """
from gatepost import Worker

worker = Worker("marker", pool="python")

@worker.data_post(needs=["headers"])
def mark(event):
    event.add_header("X-Report", "word " * 1000)
    event.add_header("X-Note", "Grüße")
    for field in event.headers:
        if field.name == b"Subject":
            event.add_header("X-Old-Subject", field.value)
            event.set_header(field.id, b" [tag]" + field.value)

worker.run()
"""


@pytest.mark.parametrize(
    "subject,marked,old",
    [
        (b"\r\n\t\r\n\tsome value", b" [tag]\t\r\n\tsome value", b"\t\r\n\tsome value"),
        (b" caf\xe9", b" [tag] =?unknown-8bit?Q?caf=E9?=", b" =?unknown-8bit?Q?caf=E9?="),
        (b" " + b"x" * 1_200, b" [tag]\r\n " + b"x" * 997 + b"\r\n " + b"x" * 203, None),
    ],
    ids=["blank-lines", "8-bit", "long"],
)
def test_what_a_python_worker_marks_is_legal(gatepost: Gatepost, subject: bytes, marked: bytes, old: bytes | None) -> None:
    gatepost.frontend_toml["pool"] = [{"name": "python", "grace_ms": 300}, {"name": "policy", "minimum_workers": 1}]
    gatepost.plugins("rcpt_ok", "queue/maildir {mail}")
    frontend = gatepost.frontend(ready=False)
    gatepost.worker("policy")
    script = gatepost.folder / "marker.py"
    script.write_text(MARKER)
    environment = {
        "GATEPOST_RUNTIME_DIRECTORY": str(gatepost.folder / "run"),
        "PYTHONPATH": str(ROOT / "sdk" / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    marker = Program("marker", [sys.executable, script], gatepost.folder / "marker.log", environment, cwd=gatepost.folder)
    gatepost.programs.append(marker)
    marker.ready()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"From: a@example.net\r\nSubject:" + subject + b"\r\n\r\nbody\r\n")
        client.quit()
    stored = gatepost.maildir.only().octets
    header = stored.split(b"\r\n\r\n")[0] + b"\r\n"
    assert b"\r\nSubject:" + marked + b"\r\n" in header, header
    assert old is None or b"X-Old-Subject:" + (b"" if old[:1] in b" \t" else b" ") + old + b"\r\n" in header, header
    assert b"X-Note: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n" in header, header
    assert header.isascii() and max(map(len, header.split(b"\r\n"))) <= 998
