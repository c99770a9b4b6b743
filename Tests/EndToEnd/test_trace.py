"""`needs: ["trace"]`: what every plugin answered, and what the client got."""

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


def test_deny_and_ok_have_what_was_asked(gatepost: Gatepost) -> None:
    gatepost.frontend()
    with gatepost.raw_worker() as worker, gatepost.connect() as client:
        worker.hello(["ehlo", "mail", "rcpt", "deny", "ok"])
        client.expect(220)
        for command, hook, verdict, notification in [
            ("EHLO client.example", "ehlo", "declined", "ok"),
            ("MAIL FROM:<bob@example.net>", "mail", "declined", "ok"),
            ("RCPT TO:<nobody@example.com>", "rcpt", "deny", "deny"),
            ("RCPT TO:<alice@example.com>", "rcpt", "ok", "ok"),
        ]:
            client.send(f"{command}\r\n".encode())
            event = worker.event(hook)
            worker.answer(event, verdict)
            told = worker.expect("notify")
            assert (told["hook"], told["args"]["hook"]) == (notification, hook)
            assert told["args"]["args"] == event["args"] != {}
            client.reply()


def test_the_plugin_logging_names_a_refused_recipient(gatepost: Gatepost) -> None:
    gatepost.plugins("logging", "rcpt_ok", "queue/maildir {mail}")
    frontend = gatepost.frontend(ready=False)
    worker = gatepost.worker()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<alice@elsewhere.example>", 550)
        client.quit()
    line = worker.logged(" refused ")
    assert "to=alice@elsewhere.example" in line and "from=bob@example.net" in line, line
