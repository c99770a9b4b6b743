"""Answers that break a rule (protocol/failure.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from harness.wire import Message, encoded
from proofs import proves
from scene import DEADLINE_MS, Scene, failed_by_policy


@proves("progress_exhausted")
def test_33_progress_is_bounded(scene: Scene) -> None:
    """`progress` extends the deadline up to the configured maximum and no further."""
    worker, client, event = scene.asked()
    with client:
        began = time.monotonic()
        for _ in range(50):
            worker.send({"type": "progress", "id": event["id"], "extend_ms": 60_000})
        failed_by_policy(client, 60)
        took = time.monotonic() - began
        # What it asked for is an hour.
        assert DEADLINE_MS / 1000 < took < 60, took


def test_33_progress_is_heeded(scene: Scene) -> None:
    worker, client, event = scene.asked()
    with client:
        worker.send({"type": "progress", "id": event["id"], "extend_ms": 1_000})
        time.sleep(DEADLINE_MS / 1000 + 0.3)
        worker.answer(event, "ok")
        client.expect(250)


@proves("progress_flood")
def test_33_a_flood_of_progress(scene: Scene) -> None:
    worker, client, event = scene.asked()
    line = encoded({"type": "progress", "id": event["id"], "extend_ms": 1}) + b"\n"
    with client:
        try:
            for _ in range(200):
                worker.socket.sendall(line * 500)
            worker.answer(event, "ok")
        except OSError:
            pass
        assert client.reply(8).code in (250, 451)


@proves("duplicate_answer")
@pytest.mark.parametrize("second", ["ok", "deny"])
def test_34_two_answers(scene: Scene, second: str) -> None:
    """The first answer is used, the second is counted and dropped; no connection closes."""
    worker, client, event = scene.asked()
    with client:
        worker.answer(event, "ok", reply={"text": ["first"]})
        worker.answer(event, second)
        assert "first" in client.expect(250).text
        client.send(b"VRFY bob\r\n")
        worker.answer(worker.event("vrfy"), "declined")
        client.expect(252)


@proves("unknown_id")
def test_35_an_answer_to_nothing(scene: Scene) -> None:
    """An answer with an id that was never sent changes nothing."""
    worker, client, event = scene.asked()
    with client:
        for id in (event["id"] + 1, event["id"] + 1_000_000, 2**53 - 1):
            worker.send({"type": "verdict", "id": id, "verdict": "deny"})
        worker.answer(event, "ok")
        client.expect(250)
        client.send(b"VRFY bob\r\n")
        again = worker.event("vrfy")
        worker.answer(again, "declined")
        client.expect(252)


@proves("late_answer")
def test_35_an_answer_too_late(scene: Scene) -> None:
    """After the deadline an answer gives the credit back and decides nothing."""
    worker, client, event = scene.asked(concurrency=1)
    with client:
        failed_by_policy(client)
        worker.expect("cancel")
        worker.answer(event, "deny", notes={"session": {"late": True}})
        client.send(b"VRFY bob\r\n")
        again = worker.event("vrfy")
        assert "late" not in again["notes"]["session"]
        worker.answer(again, "declined")
        client.expect(252)


@proves("unknown_id")
def test_35_an_answer_for_another_connection(scene: Scene) -> None:
    """Ids belong to a connection: a worker cannot answer an event of another one."""
    holder, client, event = scene.asked()
    liar = scene.worker(["noop"], worker={"name": "liar"})
    with client:
        for id in range(1, event["id"] + 50):
            liar.send({"type": "verdict", "id": id, "verdict": "deny"})
        holder.answer(event, "ok")
        client.expect(250)


def test_36_answers_in_any_order(scene: Scene) -> None:
    """60 events outstanding, answered in a random order, each to its session."""
    worker = scene.worker(["vrfy"], concurrency=1_000)
    clients = [scene.victim() for _ in range(60)]
    # A worker begins with few credits and gets one more with each answer (slow start).
    for _ in range(60):
        clients[0].send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        clients[0].expect(250)
    for number, client in enumerate(clients):
        client.send(b"VRFY user%d\r\n" % number)
    events = [worker.event("vrfy") for _ in clients]
    random.Random(1).shuffle(events)
    for event in events:
        worker.answer(event, "ok", reply={"text": [event["args"]["argument"]]})
    for number, client in enumerate(clients):
        assert client.expect(250).text.endswith(f"user{number}")
        client.close()


#: Row and name, the id of the failure, and the verdict's members.
INVALID: dict[str, tuple[str, Message]] = {
    "37-hook-not-asked": ("hook_not_reached", {"verdict": "ok", "hook": "queue"}),
    "37-hook-unknown": ("hook_not_reached", {"verdict": "ok", "hook": "teapot"}),
    "37-unknown-verdict": ("unknown_verdict", {"verdict": "accept"}),
    "37-wrong-case": ("unknown_verdict", {"verdict": "Ok"}),
    "37-verdict-number": ("unknown_verdict", {"verdict": 1}),
    "37-verdict-null": ("unknown_verdict", {"verdict": None}),
    "39-unknown-action": ("unknown_action", {"verdict": "ok", "actions": [{"op": "rm", "path": "/"}]}),
    "39-action-not-here": ("action_not_allowed", {
        "verdict": "ok",
        "actions": [{"op": "recipient.add", "address": "x@example.com"}],
    }),
    "39-header-not-here": ("action_not_allowed", {
        "verdict": "ok",
        "actions": [{"op": "header.add", "name": "X", "value": "y"}],
    }),
    "39-actions-object": ("actions_malformed", {"verdict": "ok", "actions": {}}),
    "39-actions-too-many": ("too_many_actions", {
        "verdict": "ok",
        "actions": [{"op": "session.relay", "value": True}] * 300,
    }),
    "43-status-of-other-class": ("reply_status", {"verdict": "deny", "reply": {"status": "2.0.0"}}),
    "43-status-short": ("reply_status", {"verdict": "deny", "reply": {"status": "5.7"}}),
    "43-status-long": ("reply_status", {"verdict": "deny", "reply": {"status": "5.7.9999"}}),
    "43-status-class-9": ("reply_status", {"verdict": "deny", "reply": {"status": "9.1.1"}}),
    "43-status-crlf": ("reply_status", {"verdict": "deny", "reply": {"status": "5.7.1\r\nX"}}),
    "43-status-number": ("reply_malformed|reply_status", {"verdict": "deny", "reply": {"status": 5}}),
    "42-code-200-for-deny": ("reply_code", {"verdict": "deny", "reply": {"code": 250}}),
    "42-code-4yz-for-deny": ("reply_code", {"verdict": "deny", "reply": {"code": 450}}),
    "42-code-5yz-for-denysoft": ("reply_code", {"verdict": "denysoft", "reply": {"code": 550}}),
    "42-code-354": ("reply_code", {"verdict": "ok", "reply": {"code": 354}}),
    "42-code-99": ("reply_code", {"verdict": "deny", "reply": {"code": 99}}),
    "42-code-600": ("reply_code", {"verdict": "deny", "reply": {"code": 600}}),
    "42-code-string": ("reply_malformed|reply_code", {"verdict": "deny", "reply": {"code": "550"}}),
    "42-code-fraction": ("reply_malformed|reply_code", {"verdict": "deny", "reply": {"code": 5.5}}),
    "42-code-421-open": ("reply_code", {"verdict": "denysoft", "reply": {"code": 421}}),
    "42-code-221": ("reply_code", {"verdict": "ok", "reply": {"code": 221}}),
    "41-text-empty-list": ("reply_text|reply_malformed", {"verdict": "deny", "reply": {"text": []}}),
    "41-text-not-strings": ("reply_malformed|reply_text", {"verdict": "deny", "reply": {"text": [5]}}),
    "41-text-string": ("reply_malformed|reply_text", {"verdict": "deny", "reply": {"text": "no list"}}),
    "41-text-1000-lines": ("reply_text", {"verdict": "deny", "reply": {"text": ["x"] * 1_000}}),
    "41-text-10000-octets": ("reply_text", {"verdict": "deny", "reply": {"text": ["x" * 10_000]}}),
    "40-text-crlf": ("reply_text", {"verdict": "deny", "reply": {"text": ["x\r\n250 OK"]}}),
    "40-text-lf": ("reply_text", {"verdict": "deny", "reply": {"text": ["x\n250-"]}}),
    "40-text-cr": ("reply_text", {"verdict": "deny", "reply": {"text": ["\r"]}}),
    "40-text-nul": ("reply_text", {"verdict": "deny", "reply": {"text": ["a\0b"]}}),
    "40-text-esc": ("reply_text", {"verdict": "deny", "reply": {"text": ["\x1b[31m"]}}),
    "40-text-del": ("reply_text", {"verdict": "deny", "reply": {"text": ["a\x7fb"]}}),
    "40-text-nel": ("reply_text", {"verdict": "deny", "reply": {"text": ["a\x85b"]}}),
    "40-text-ls": ("reply_text", {"verdict": "deny", "reply": {"text": ["a\u2028b"]}}),
    "40-text-not-ascii": ("reply_text", {"verdict": "deny", "reply": {"text": ["Grüße"]}}),
    "48-notes-not-an-object": ("notes_malformed", {"verdict": "ok", "notes": {"session": 5}}),
    "48-notes-list": ("notes_malformed", {"verdict": "ok", "notes": []}),
    "48-notes-too-large": ("notes_too_large", {"verdict": "ok", "notes": {"session": {"a": "x" * 70_000}}}),
    "48-notes-no-transaction": ("notes_no_transaction", {"verdict": "ok", "notes": {"transaction": {"a": 1}}}),
    "50-plugin-long": ("plugin_malformed", {"verdict": "ok", "plugin": "p" * 129}),
    "50-plugin-number": ("plugin_malformed", {"verdict": "ok", "plugin": 5}),
    "50-trace-malformed": ("trace_malformed", {"verdict": "ok", "trace": [{"plugin": 1}]}),
}


@proves(*{id for violation, _ in INVALID.values() for id in violation.split("|")})
@pytest.mark.parametrize("name", INVALID)
def test_invalid_verdicts(scene: Scene, name: str) -> None:
    """The whole verdict is invalid: the failure policy applies, the connection stays, the log says why."""
    violation, members = INVALID[name]
    worker, client, event = scene.asked()
    with client:
        worker.send({"type": "verdict", "id": event["id"], **members})
        failed_by_policy(client)
        # The session holds one reply for each command, and nothing of the verdict was applied.
        client.send(b"VRFY bob\r\n")
        again = worker.event("vrfy")
        assert again["notes"]["session"] == {} and again["session"]["relay"] is False
        worker.answer(again, "declined")
        client.expect(252)
    line = scene.logged(violation)
    assert f"event={event['id']} hook=vrfy key={event['key']} " in line, line
    assert "hostile" in line and "attacker" in line and "\x1b" not in line, line


ERRORS: dict[str, Message] = {
    "code-number": {"code": 7, "started": True},
    "started-word": {"code": "exception", "started": "yes"},
    "no-code": {},
}


@proves("error_malformed")
@pytest.mark.parametrize("name", ERRORS)
def test_37_malformed_errors(scene: Scene, name: str) -> None:
    worker, client, event = scene.asked()
    with client:
        worker.send({"type": "error", "id": event["id"], **ERRORS[name]})
        failed_by_policy(client)
        assert worker.is_open()
    scene.logged("error_malformed")


@proves("not_started")
def test_37_not_started(scene: Scene) -> None:
    """After `started: false` another worker is asked; if there is none, the question fails by policy."""
    worker, client, event = scene.asked()
    with client:
        busy = {"type": "error", "code": "busy", "started": False}
        worker.send({**busy, "id": event["id"]})
        try:
            again = worker.event("vrfy", 3)
            assert again["attempt"] == 2
            worker.answer(again, "ok")
            client.expect(250)
        except AssertionError:
            failed_by_policy(client)


@proves("stale_progress", "unasked_pong")
def test_35_progress_and_pongs_for_nothing(scene: Scene) -> None:
    worker, client, event = scene.asked()
    with client:
        worker.send({"type": "progress", "id": event["id"] + 7, "extend_ms": 1_000})
        worker.send({"type": "pong", "n": 12_345})
        worker.answer(event, "ok")
        client.expect(250)
        worker.send({"type": "progress", "id": event["id"], "extend_ms": 1_000})
        client.send(b"VRFY bob\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        client.expect(250)


@proves("client_gone")
def test_35_the_client_leaves(scene: Scene) -> None:
    """`cancel`, still one answer, and the credit is back."""
    worker, client, event = scene.asked(concurrency=1)
    client.reset()
    cancel = worker.expect("cancel")
    assert (cancel["id"], cancel["reason"]) == (event["id"], "client_gone")
    worker.answer(event, "ok")
    with scene.victim() as other:
        other.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        other.expect(250)


@proves("verdict_not_allowed", "reply_missing", "reply_not_allowed")
def test_38_verdicts_that_a_hook_does_not_allow(scene: Scene) -> None:
    """Verdicts that a hook does not allow, and replies that are missing or not allowed."""
    worker = scene.worker(["helo", "vrfy", "noop", "quit"], concurrency=10)
    with scene.victim(hello=False) as client:
        client.expect(220)
        client.send(b"HELO victim.example\r\n")
        worker.answer(worker.event("helo"), "done", reply={"code": 250, "text": ["hi"]})
        assert client.reply().code == 451
        scene.logged("verdict_not_allowed")
        client.send(b"HELO victim.example\r\n")
        worker.answer(worker.event("helo"), "declined")
        client.expect(250)
        client.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "done")
        assert client.reply().code == 451
        scene.logged("reply_missing")
        client.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        client.expect(250)
        client.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "declined", reply={"text": ["unheard"]})
        assert client.reply().code == 451
        scene.logged("reply_not_allowed")
        # These need no policy: they are answered, whatever a worker makes of them.
        client.send(b"NOOP\r\n")
        worker.answer(worker.event("noop"), "denysoft")
        client.expect(250)
        client.send(b"QUIT\r\n")
        worker.answer(worker.event("quit"), "deny")
        client.expect(221)
        client.closed()


#: Violation, verdict and actions.
CHALLENGES: list[tuple[str, str, list[Message]]] = [
    ("challenge_missing", "done", []),
    ("challenge_not_allowed", "ok", [{"op": "auth.challenge", "challenge": "c", "state": "s"}]),
    ("challenge_not_allowed", "done", [{"op": "auth.challenge", "challenge": "c", "state": "s"}] * 2),
    ("challenge_too_large", "done", [{"op": "auth.challenge", "challenge": "c" * 8_193, "state": "s"}]),
    ("challenge_too_large", "done", [{"op": "auth.challenge", "challenge": "c", "state": "s" * 4_097}]),
]


@proves("challenge_missing", "challenge_not_allowed", "challenge_too_large")
@pytest.mark.parametrize(("violation", "verdict", "actions"), CHALLENGES)
def test_38_challenges(
    set_stage: Callable[..., Scene], gatepost, violation: str, verdict: str, actions: list[Message]
) -> None:
    """No client is let in, and none is challenged, by a verdict that breaks a rule of challenges."""
    gatepost.offer_auth()
    scene = set_stage(secrets=True)
    worker = scene.worker(["auth"])
    with scene.victim() as client:
        client.send(b"AUTH SCRAM-SHA-256 biwsbj1qbyxyPW5vbmNl\r\n")
        worker.answer(worker.event("auth"), verdict, actions=actions)
        assert client.reply().code == 454
        scene.logged(violation)
        client.command("NOOP", 250)


@proves("action_not_allowed", "unknown_recipient", "value_invalid")
@pytest.mark.parametrize(
    "actions",
    [
        [
            {"op": "recipient.add", "address": "extra@example.com"},
            {"op": "header.add", "name": "X", "value": "not at rcpt"},
        ],
        [{"op": "sender.replace", "address": "fine@example.net"}, {"op": "recipient.remove", "id": 99}],
        [{"op": "session.relay", "value": True}, {"op": "session.relay", "value": "yes"}],
    ],
    ids=["header-at-rcpt", "unknown-recipient", "value"],
)
def test_39_all_or_nothing(set_stage: Callable[..., Scene], actions: list[Message]) -> None:
    """If one action is bad, no action and no note of the verdict is applied."""
    scene = set_stage(on_failure="skip")
    scene.probe.end()
    scene.probe = type(scene.probe)(scene.gatepost)
    worker = scene.worker({"rcpt": {}, "data": {"needs": ["recipients"]}})
    with scene.victim() as client:
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.send(b"RCPT TO:<alice@example.com>\r\n")
        notes = {"session": {"half": 1}, "transaction": {"half": 1}}
        worker.answer(worker.event("rcpt"), "declined", actions=actions, notes=notes)
        client.expect(250)  # skipped, and the healthy pool said ok
        client.send(b"DATA\r\n")
        event = worker.event("data")
        transaction = event["transaction"]
        assert transaction["recipient_count"] == 1
        assert [each["address"] for each in transaction["recipients"]] == ["alice@example.com"]
        assert transaction["sender"]["address"] == "bob@example.net"
        assert event["session"]["relay"] is False
        assert event["notes"] == {"session": {}, "transaction": {}}
        worker.answer(event, "declined")
        client.expect(354)
        client.send(b".\r\n")
        client.expect(250)
    worker.close()
    _start_probe(scene)


def _start_probe(scene: Scene) -> None:
    """The probe was kept away from the attacker's hooks; now the pool is empty and is skipped."""
    scene.probe.start()
    time.sleep(0.5)


