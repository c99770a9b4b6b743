"""One event for the hooks of a complete message (protocol/README.md §6, *Ahead*)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.gatepost import Gatepost
from harness.smtp import Dialogue
from harness.wire import Message, RawWorker

HOOKS: dict[str, Message] = {"rcpt": {}, "data_post_headers": {}, "data_post": {}, "queue": {}}
MESSAGE = b"From: bob@example.net\r\nSubject: ahead\r\n\r\nbody\r\n"


def worker_of(server: Gatepost, hooks: dict[str, Message] | None = None, **fields: Any) -> RawWorker:
    worker = server.raw_worker()
    worker.hello(hooks or HOOKS, **{"ahead": True, "concurrency": 4, **fields})
    return worker


def served(
    server: Gatepost, hooks: dict[str, Message] | None = None, pool: dict[str, Any] | None = None, **fields: Any
) -> RawWorker:
    """A frontend that runs, and its worker."""
    server.pool.update({"minimum_workers": 1, "grace_ms": 300, **(pool or {})})
    frontend = server.frontend(ready=False)
    worker = worker_of(server, hooks, **fields)
    frontend.ready()
    return worker


def sent(client: Dialogue, worker: RawWorker, message: bytes = MESSAGE) -> Message:
    """A message whose recipient is granted; returns the event that comes after its last line."""
    client.ehlo()
    client.command("MAIL FROM:<bob@example.net>", 250)
    client.send(b"RCPT TO:<alice@example.com>\r\n")
    worker.answer(worker.event("rcpt"), "ok")
    client.expect(250)
    client.command("DATA", 354)
    client.send(message + b".\r\n")
    return worker.event()


def begins(worker: RawWorker, event: Message, hook: str) -> None:
    worker.send({"type": "progress", "id": event["id"], "hook": hook})


def test_one_event_for_all_hooks(gatepost: Gatepost) -> None:
    """One event that names several hooks is answered once; the hooks that it passed count as declined."""
    worker = served(gatepost)
    with gatepost.connect() as client:
        event = sent(client, worker)
        assert event["hook"] == "data_post_headers"
        assert event["ahead"] == {"data_post": 60_000, "queue": 60_000}
        assert event["args"] == {"queue_id": event["transaction"]["id"]}
        begins(worker, event, "queue")
        worker.answer(event, "ok", hook="queue")
        assert event["transaction"]["id"] in client.expect(250).text
        assert not worker.has_more(0.1)


def test_deny_has_what_was_asked_at_a_hook_that_came_ahead(gatepost: Gatepost) -> None:
    """Its question was never an event of its own."""
    worker = served(gatepost, {**HOOKS, "deny": {}})
    with gatepost.connect() as client:
        event = sent(client, worker)
        begins(worker, event, "queue")
        worker.answer(event, "deny", hook="queue")
        client.expect(554)
        told = worker.expect("notify")["args"]
    assert (told["hook"], told["args"]) == ("queue", {"queue_id": event["transaction"]["id"]})


def test_a_worker_may_stop_anywhere(gatepost: Gatepost) -> None:
    """At hooks that the worker has not reached, it is asked in an event of its own."""
    worker = served(gatepost)
    with gatepost.connect() as client:
        first = sent(client, worker)
        worker.answer(first, "declined")
        second = worker.event("data_post")
        assert second["ahead"] == {"queue": 60_000} and second["key"] != first["key"]
        worker.answer(second, "declined", hook="data_post")
        third = worker.event("queue")
        assert "ahead" not in third
        worker.answer(third, "ok")
        client.expect(250)


def test_effects_are_there_in_the_next_event(gatepost: Gatepost) -> None:
    """A header field that the worker adds when it stops is in the next event."""
    worker = served(gatepost, {**HOOKS, "queue": {"needs": ["headers"]}})
    with gatepost.connect() as client:
        event = sent(client, worker)
        assert "headers" in event["transaction"], "what any of the hooks needs"
        header = {"op": "header.add", "name": "X-Seen", "value": " yes"}
        worker.answer(event, "declined", hook="data_post", actions=[header])
        last = worker.event("queue")
        assert last["transaction"]["headers"][0]["name"] == "X-Seen"
        worker.answer(last, "ok")
        client.expect(250)


def test_a_refusal_ahead_is_the_refusal_of_that_hook(gatepost: Gatepost) -> None:
    worker = served(gatepost)
    with gatepost.connect() as client:
        event = sent(client, worker)
        worker.answer(event, "deny", hook="data_post", reply={"text": ["no"]})
        assert str(client.expect(554)).endswith("5.7.1 no")


@pytest.mark.parametrize("reported,answer", [
    ([], {"hook": "queue", "verdict": "ok"}),
    ([], {"hook": "queue_pre", "verdict": "declined"}),
    ([], {"hook": "rcpt", "verdict": "ok"}),
    ([], {"hook": "nonsense", "verdict": "ok"}),
    ([], {"hook": 7, "verdict": "ok"}),
    (["queue", "data_post"], {"verdict": "declined"}),
])
def test_a_verdict_about_what_was_not_reached_is_invalid(
    gatepost: Gatepost, reported: list[str], answer: Message
) -> None:
    """`queue` without its `progress`, a hook that was not named, what is none, and one that lies behind."""
    worker = served(gatepost)
    with gatepost.connect() as client:
        event = sent(client, worker)
        for hook in reported:
            begins(worker, event, hook)
        worker.send({"type": "verdict", "id": event["id"], **answer})
        client.expect(451)
    gatepost.programs[0].logged("hook_not_reached")


def test_a_worker_that_dies_before_queue_is_replaced(gatepost: Gatepost) -> None:
    """The second attempt is one of the hook that was reported last."""
    worker = served(gatepost)
    with gatepost.connect() as client:
        event = sent(client, worker)
        begins(worker, event, "data_post")
        other = worker_of(gatepost)
        worker.close()
        again = other.event("data_post")
        assert again["attempt"] == 2 and again["key"] == event["key"]
        begins(other, again, "queue")
        other.answer(again, "ok", hook="queue")
        client.expect(250)


def test_a_worker_that_dies_at_queue_is_not(gatepost: Gatepost) -> None:
    """The worker may have stored the message: no other is asked, and the client keeps the message."""
    worker = served(gatepost)
    with gatepost.connect() as client:
        event = sent(client, worker)
        begins(worker, event, "queue")
        other = worker_of(gatepost)
        worker.close()
        client.expect(451)
        assert not other.has_more(0.2)
    gatepost.programs[0].logged("queue_lost")


def test_each_hook_has_its_own_time(gatepost: Gatepost) -> None:
    """What the event names as the deadline of a hook begins with the `progress` that reports it."""
    times = {"data_post_headers": {"deadline_ms": 600}, "queue": {"deadline_ms": 5_000}}
    worker = served(gatepost, pool={"hooks": times})
    with gatepost.connect() as client:
        event = sent(client, worker)
        assert event["deadline_ms"] <= 600 and event["ahead"]["queue"] == 5_000
        begins(worker, event, "queue")
        time.sleep(1)
        worker.answer(event, "ok", hook="queue")
        client.expect(250)
    with gatepost.connect() as client:
        event = sent(client, worker)
        client.expect(451, 3)
        assert worker.expect("cancel")["id"] == event["id"]


def test_an_event_that_would_not_fit_names_nothing(gatepost: Gatepost) -> None:
    """Parts are left out for one hook, and not for others that need them."""
    worker = served(gatepost, {**HOOKS, "data_post": {"needs": ["headers"]}}, max_frame=65_536)
    lines = b"".join(b"X-Long-%d: %s\r\n" % (number, b"x" * 900) for number in range(80))
    with gatepost.connect() as client:
        event = sent(client, worker, lines + b"\r\nbody\r\n")
        assert event["hook"] == "data_post_headers" and "ahead" not in event and "elided" not in event
        worker.answer(event, "declined")
        event = worker.event("data_post")
        assert event["elided"] == ["headers"] and "ahead" not in event
        worker.answer(event, "declined")
        worker.answer(worker.event("queue"), "ok")
        client.expect(250)


def test_who_does_not_say_ahead_gets_one_hook_at_a_time(gatepost: Gatepost) -> None:
    worker = served(gatepost, ahead=None)
    assert asked_one_by_one(gatepost, worker)


@pytest.mark.parametrize("hooks,fields", [
    ({"data_post": {}}, {"ahead": True}),
    (HOOKS, {"ahead": False}),
    ({"ok": {}}, {}),
    ({"data_post": {"observe": True}}, {}),
    ({"disconnect": {"needs": ["trace"]}}, {}),
])
def test_nothing_is_ahead_where_somebody_else_would_miss_it(
    gatepost: Gatepost, hooks: dict[str, Message], fields: Message
) -> None:
    """An event names no hooks ahead if the pool has a worker of another name that asks, does not go ahead,
    observes, or needs the trace."""
    worker = served(gatepost)
    second = gatepost.raw_worker()
    second.hello(hooks, worker={"name": "other"}, concurrency=0, **fields)
    assert asked_one_by_one(gatepost, worker)


def asked_one_by_one(server: Gatepost, worker: RawWorker) -> bool:
    """Whether each hook of a message came as an event of its own."""
    with server.connect() as client:
        event = sent(client, worker)
        hooks = []
        while event["hook"] != "queue":
            assert "ahead" not in event
            hooks.append(event["hook"])
            worker.answer(event, "declined")
            event = worker.event()
        worker.answer(event, "ok")
        client.expect(250)
    return hooks == ["data_post_headers", "data_post"]


def test_hooks_of_another_pool_end_what_is_ahead(gatepost: Gatepost) -> None:
    """The second pool scans between the hooks of the first."""
    gatepost.frontend_toml["pool"] = [
        {"name": "policy", "minimum_workers": 1}, {"name": "scan", "minimum_workers": 1},
    ]
    frontend = gatepost.frontend(ready=False)
    worker = worker_of(gatepost, {**HOOKS, "queue_pre": {}})
    scanner = gatepost.raw_worker("scan")
    scanner.hello({"queue_pre": {}}, pool="scan", ahead=True)
    frontend.ready()
    with gatepost.connect() as client:
        event = sent(client, worker)
        assert event["ahead"] == {"data_post": 60_000}
        worker.answer(event, "declined", hook="data_post")
        event = worker.event("queue_pre")
        assert "ahead" not in event
        worker.answer(event, "declined")
        scanner.answer(scanner.event("queue_pre"), "declined")
        worker.answer(worker.event("queue"), "ok")
        client.expect(250)
