"""`needs: ["trace"]`: what every plugin answered, and what the client got, for those who ask."""

from __future__ import annotations

from harness.gatepost import Gatepost

TOLD = [
    {"plugin": "first", "verdict": "declined", "us": 3},
    {"plugin": "second", "verdict": "deny", "us": 4},
]
REPLY = {"code": 550, "status": "5.1.1", "text": ["Nobody here"]}


def test_each_plugin_has_an_entry_and_the_last_has_the_reply(gatepost: Gatepost) -> None:
    gatepost.frontend_toml["pool"][0]["minimum_workers"] = 0
    gatepost.frontend()
    hooks = {
        "connect": {},
        "rcpt": {},
        "deny": {"needs": ["trace"]},
        "disconnect": {"needs": ["trace"]},
    }
    with gatepost.raw_worker() as worker:
        worker.hello(hooks)
        with gatepost.connect() as client:
            worker.answer(worker.event("connect"), "declined")
            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.send(b"RCPT TO:<nobody@example.com>\r\n")
            event = worker.event("rcpt")
            worker.answer(event, "deny", plugin="second", reply=REPLY, trace=TOLD)
            assert client.expect(550).status == "5.1.1"
            client.quit()
        deny = worker.expect("notify")
        end = worker.expect("notify")
    assert (deny["hook"], end["hook"]) == ("deny", "disconnect")
    entries = deny["args"]["trace"]
    assert [(entry["plugin"], entry["verdict"], entry["us"]) for entry in entries] == [
        ("first", "declined", 3),
        ("second", "deny", 4),
    ]
    assert [entry["reply"] for entry in entries] == [None, REPLY]
    assert {(entry["key"], entry["pool"], entry["failure"]) for entry in entries} == {
        (event["key"], "policy", None)
    }
    connect, *at_rcpt = end["trace"]
    assert (connect["hook"], connect["plugin"], connect["reply"]) == ("connect", None, None)
    assert at_rcpt == entries
