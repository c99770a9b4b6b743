"""Verdicts for single recipients: what clients hear by LMTP, PRDR and SMTP, and who gets the message."""

from __future__ import annotations

import subprocess

import pytest

from harness.gatepost import Gatepost
from harness.smtp import Dialogue, stuffed
from harness.wire import Message, accepting

MESSAGE = b"Subject: x\r\n\r\nx\r\n"
RECIPIENTS = ("alice", "carol", "dave")
#: carol's filter refuses for good, dave's for now.
REFUSALS = [
    {"op": "recipient.refuse", "id": 2, "verdict": "deny", "reply": {"code": 550, "text": ["not for carol"]}},
    {"op": "recipient.refuse", "id": 3, "verdict": "denysoft"},
]


def begin(client: Dialogue, hello: str, mail: str = "") -> None:
    client.expect(220)
    client.command(f"{hello} client.example", 250)
    client.command(f"MAIL FROM:<bob@example.net>{mail}", 250)
    for recipient in RECIPIENTS:
        client.command(f"RCPT TO:<{recipient}@example.com>", 250)
    client.command("DATA", 354)
    client.send(stuffed(MESSAGE) + b"NOOP\r\n")


@pytest.mark.parametrize("hook", ["data_post", "queue"])
@pytest.mark.parametrize("way", ["lmtp", "prdr", "smtp"])
def test_what_the_client_hears(gatepost: Gatepost, way: str, hook: str) -> None:
    if way == "lmtp":
        gatepost.listener["protocol"] = "lmtp"
    gatepost.listener["extensions"] = ["PIPELINING", "ENHANCEDSTATUSCODES", "PRDR"]
    frontend = gatepost.frontend(ready=False)
    answer: Message = {"verdict": "ok" if hook == "queue" else "declined", "actions": REFUSALS}
    hooks = {"rcpt": {}, "data_post": {}, "queue": {"needs": ["recipients"]}}
    with gatepost.python_worker(hooks, accepting(**{hook: answer})) as worker:
        frontend.ready()
        with gatepost.connect() as client:
            begin(client, "LHLO" if way == "lmtp" else "EHLO", " PRDR" if way == "prdr" else "")
            each = (250, 550, 451)
            codes = {"lmtp": each, "prdr": (353, *each, 250), "smtp": (451,)}[way]
            heard = [client.expect(code) for code in codes]
            client.expect(250)
            client.quit()
        if way != "smtp":
            assert heard[-3 if way == "lmtp" else 1].text.startswith("2.0.0 Queued as")
            assert "5.7.1 not for carol" in [reply.text for reply in heard]
        event = worker.saw("data_post")
        assert event["transaction"].get("replies_each", False) is (way != "smtp")
        queued = [each for each in worker.events if each["hook"] == "queue"]
        if hook == "data_post" and way == "smtp":
            # Nothing is taken of which the client cannot be told.
            assert not queued
        else:
            got = [each["local"] for each in queued[0]["transaction"]["recipients"]]
            assert got == (["alice"] if hook == "data_post" else ["alice", "carol", "dave"])
        if way == "smtp":
            frontend.logged(r"transaction .*result=\"not accepted\"")
        else:
            frontend.logged(r"a recipient was refused .*recipient=carol@example\.com .*not for carol")
            frontend.logged(r"transaction .*result=accepted")


def test_prdr_gives_one_reply_where_all_are_alike(gatepost: Gatepost) -> None:
    gatepost.listener["extensions"] = ["PIPELINING", "PRDR"]
    gatepost.run()
    with gatepost.connect() as client:
        assert "PRDR" in client.ehlo().lines
        client.command("MAIL FROM:<bob@example.net> PRDR=1", 501)
        client.command("MAIL FROM:<bob@example.net> PRDR", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.command("RCPT TO:<carol@example.com>", 250)
        client.command("DATA", 354)
        client.send(stuffed(MESSAGE) + b"QUIT\r\n")
        client.expect(250)
        client.expect(221)


def test_swaks_hears_each_by_prdr(gatepost: Gatepost) -> None:
    gatepost.listener["extensions"] = ["PIPELINING", "PRDR"]
    frontend = gatepost.frontend(ready=False)
    answer: Message = {"verdict": "declined", "actions": REFUSALS}
    with gatepost.python_worker(["rcpt", "data_post", "queue"], accepting(data_post=answer)):
        frontend.ready()
        said = subprocess.run(
            [
                *("swaks", "--server", f"127.0.0.1:{gatepost.port}", "--prdr"),
                *("--from", "bob@example.net"),
                *("--to", ",".join(f"{each}@example.com" for each in RECIPIENTS)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
    assert "PRDR" in said and "353 " in said
    for reply in ("250 2.0.0 Queued as", "550 5.7.1 not for carol", "451 4.7.1"):
        assert reply in said


def test_prdr_is_off_by_default(serving: Gatepost) -> None:
    with serving.connect() as client:
        assert "PRDR" not in client.ehlo().lines
        client.command("MAIL FROM:<bob@example.net> PRDR", 555)
