"""The life of workers (protocol/failure.md)."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.gatepost import Gatepost
from harness.program import Program
from harness.waiting import wait_until
from harness.wire import Die, Message, WorkerClosed, encoded, hello
from proofs import proves
from scene import SLACK_OCTETS, Scene, failed_by_policy


@proves("worker_lost", "answered_then_lost")
@pytest.mark.parametrize("when", ["before-hello", "before-answer", "within-answer", "after-answer"])
def test_51_a_death(scene: Scene, when: str) -> None:
    """A complete line is used; after less, the question is asked again or fails; the client gets one reply."""
    if when == "before-hello":
        scene.attacker().reset()
        with scene.victim() as client:
            client.command("VRFY alice", 252)
        return
    worker, client, event = scene.asked()
    line = encoded({"type": "verdict", "id": event["id"], "verdict": "ok"}) + b"\n"
    with client:
        if when == "within-answer":
            worker.octets(line[: len(line) // 2])
        if when == "after-answer":
            worker.octets(line)
        worker.close()
        if when == "after-answer":
            client.expect(250)
        else:
            failed_by_policy(client)
        client.silence(0.2)


@proves("poison")
def test_52_poison(set_stage: Callable[..., Scene]) -> None:
    """A message that killed two workers kills no third; its copy is on disk."""
    scene = set_stage(grace_ms=1_500, deadline_ms=3_000, max_deadline_ms=3_000)
    deaths: list[Message] = []
    lock = threading.Lock()

    def killed_by(event: Message) -> str:
        if "poison" in str(event["args"]):
            with lock:
                deaths.append(event)
            raise Die
        return "declined"

    workers = [
        scene.gatepost.python_worker(
            ["vrfy"], killed_by, pool="hostile", worker={"name": f"w{number}", "pid": 1}
        )
        for number in range(4)
    ]
    with scene.victim() as client:
        client.send(b"VRFY poison\r\n")
        failed_by_policy(client)
        assert len(deaths) == 2, f"{len(deaths)} workers died"
        assert deaths[0]["attempt"] == 1 and deaths[1]["attempt"] == 2
        client.command("VRFY alice", 252)
        # The client tries again: the fingerprint is remembered, so no further worker dies.
        client.send(b"VRFY poison\r\n")
        failed_by_policy(client)
        assert len(deaths) == 2, "the same event killed again"
    scene.logged("poison")
    poison = Path(scene.gatepost.frontend_toml["spool_directory"]) / "poison"
    kept = [path for path in poison.rglob("*") if path.is_file()]
    assert kept and any(b"VRFY" in path.read_bytes() or b"vrfy" in path.read_bytes() for path in kept)
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept), "poison holds personal data"
    for worker in workers:
        worker.close()


@proves("poison", "zombie")
def test_52_what_hangs_two_workers(set_stage: Callable[..., Scene]) -> None:
    """A question that two workers hung with is asked no third time, and its evidence is on disk."""
    scene = set_stage(deadline_ms=1_000, max_deadline_ms=1_000, zombie_ms=500)
    with scene.victim() as client:
        for name in ("one", "two"):
            hung = scene.worker(["vrfy"], worker={"name": name})
            client.send(b"VRFY hang\r\n")
            hung.event("vrfy")
            failed_by_policy(client)
            assert hung.closed()[-1]["code"] == "zombie"
        third = scene.worker(["vrfy"], worker={"name": "three"})
        client.send(b"VRFY hang\r\n")
        failed_by_policy(client)
        client.send(b"VRFY alice\r\n")
        event = third.event("vrfy")
        assert "hang" not in str(event["args"])
        third.answer(event, "ok")
        client.expect(250)
    scene.logged("poison")
    folder = Path(scene.gatepost.frontend_toml["spool_directory"]) / "poison"
    wait_until(lambda: list(folder.glob("*.event.json")), 5, "the evidence")


@proves("poison")
@pytest.mark.parametrize("hook", ["connect", "ehlo", "vrfy"])
def test_52_innocents_are_no_poison(set_stage: Callable[..., Scene], hook: str) -> None:
    """Workers die twice, each with another question at the same hook: no client is refused for that."""
    scene = set_stage(grace_ms=2_000, deadline_ms=3_000, max_deadline_ms=3_000, hooks={})
    scene.probe.end()
    scene.probe = type(scene.probe)(scene.gatepost)
    survivors = []
    for _ in range(3):
        victim = scene.worker([hook], worker={"name": "mortal"})
        client = scene.gatepost.connect()
        if hook != "connect":
            client.expect(220)
            client.send(b"EHLO victim.example\r\n")
        if hook == "vrfy":
            client.expect(250)
            client.send(b"VRFY alice\r\n")
        victim.event(hook)
        victim.close()
        survivor = scene.gatepost.python_worker([hook], pool="hostile", worker={"name": "heir"})
        code = client.reply().code
        assert code == {"connect": 220, "ehlo": 250, "vrfy": 252}[hook], client.describe("")
        client.close()
        survivor.drain()
        survivors.append(survivor)
    scene.gatepost.python_worker([hook], pool="hostile", worker={"name": "last"})
    scene.probe.start()
    time.sleep(0.5)
    scene.check(descriptors=1)
    scene.check = lambda descriptors=0: None  # type: ignore[method-assign]
    for survivor in survivors:
        survivor.close()


def test_52_poison_is_retried_alone(set_stage: Callable[..., Scene]) -> None:
    """Three events at one death are three suspects: each is tried alone, and only one is guilty."""
    scene = set_stage(grace_ms=2_000, deadline_ms=6_000, max_deadline_ms=6_000)
    together: list[int] = []
    outstanding: dict[int, set[int]] = {}
    lock = threading.Lock()

    def handler(number: int) -> Callable[[Message], str]:
        def handle(event: Message) -> str:
            guilty = "poison" in str(event["args"])
            if event["attempt"] > 1:
                with lock:
                    outstanding.setdefault(number, set()).add(event["id"])
                    together.append(len(outstanding[number]))
                time.sleep(0.1)
                with lock:
                    outstanding[number].discard(event["id"])
            if guilty:
                raise Die
            return "declined"

        return handle

    holder = scene.worker(["vrfy"], concurrency=10, worker={"name": "holder"})
    clients = [scene.victim() for _ in range(3)]
    for client, name in zip(clients, (b"one", b"poison", b"three")):
        client.send(b"VRFY " + name + b"\r\n")
    for _ in clients:
        holder.event("vrfy")
    others = [
        scene.gatepost.python_worker(
            ["vrfy"], handler(number), pool="hostile", worker={"name": f"w{number}"}
        )
        for number in range(3)
    ]
    holder.close()
    codes = [client.reply(10).code for client in clients]
    assert codes == [252, 451, 252], codes
    assert set(together) == {1}, together
    for client in clients:
        client.close()
    for other in others:
        other.close()


@proves("no_worker")
def test_53_all_workers_die_and_one_returns(set_stage: Callable[..., Scene]) -> None:
    """After the grace the failure policy applies at once, clients get a greeting, one worker suffices again."""
    grace = 4
    scene = set_stage(grace_ms=1_000 * grace, deadline_ms=30_000, max_deadline_ms=30_000)
    workers = [scene.worker(["vrfy"]) for _ in range(4)]
    clients = [scene.victim() for _ in range(12)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    for worker in workers:
        worker.close()
    for client in clients:
        failed_by_policy(client, grace + 10)
    began = time.monotonic()
    clients[0].send(b"VRFY alice\r\n")
    failed_by_policy(clients[0], grace + 10)
    assert time.monotonic() - began < grace, "after the grace there is nothing to wait for"
    with scene.victim() as client:
        client.command("NOOP", 250)
    back = scene.gatepost.python_worker(["vrfy"], pool="hostile", worker={"name": "back"})
    for client in clients:
        wait_until(lambda: client.command("VRFY bob").code == 252, 10, "an answer again", 0.1)
        client.close()
    back.close()


@proves("worker_left")
def test_53_a_worker_that_leaves_in_peace(scene: Scene) -> None:
    """Nothing was outstanding: no session notices, and one line says so."""
    for how in ("bye", "eof"):
        worker = scene.worker(["vrfy"], worker={"name": f"leaver-{how}"})
        if how == "bye":
            worker.send({"type": "bye", "code": "done", "message": "good night"})
        worker.close()
        scene.logged(f"leaver-{how}")


@proves("queue_lost")
def test_51_a_death_at_queue(scene: Scene) -> None:
    """The worker may have stored the message: no other is asked, and the client tries again."""
    scene.probe.end()
    scene.probe = type(scene.probe)(scene.gatepost)
    one = scene.worker(["queue"], worker={"name": "one"})
    two = scene.worker(["queue"], worker={"name": "two"})
    with scene.victim() as client:
        client.envelope()
        client.command("DATA", 354)
        client.send(b"Subject: x\r\n\r\n.\r\n")
        time.sleep(0.3)
        holder = one if one.is_open() and one.received else two
        other = two if holder is one else one
        holder.event("queue")
        holder.close()
        reply = client.reply()
        assert (reply.code, reply.status) == (451, "4.3.0"), client.describe(str(reply))
        assert not other.received, "the other worker was asked too"
    scene.logged("queue_lost")
    other.close()
    tame = scene.gatepost.python_worker(["queue"], pool="hostile", worker={"name": "tame"})
    scene.probe.start()
    time.sleep(0.3)
    scene.check(descriptors=1)
    scene.check = lambda descriptors=0: None  # type: ignore[method-assign]
    tame.close()


@proves("queue_full")
def test_53_the_queue_is_bounded(set_stage: Callable[..., Scene]) -> None:
    """What does not fit into the pool's queue fails at once, what fits is served."""
    scene = set_stage(queue_limit=3, deadline_ms=4_000, max_deadline_ms=4_000)
    worker = scene.worker(["vrfy"], concurrency=1)
    clients = [scene.victim() for _ in range(8)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    time.sleep(0.5)
    scene.logged("queue_full")
    for _ in range(4):
        worker.answer(worker.event("vrfy"), "ok")
    codes = sorted(client.reply().code for client in clients)
    assert codes == [250] * 4 + [451] * 4, codes
    for client in clients:
        client.close()


@proves("breaker_open")
def test_53_the_breaker(set_stage: Callable[..., Scene]) -> None:
    """More than half of 20 questions got no answer: the policy applies at once, until a trial is answered."""
    scene = set_stage(deadline_ms=1_000, max_deadline_ms=1_000)
    workers = [
        scene.gatepost.python_worker(
            ["vrfy"], lambda event: None, pool="hostile", worker={"name": f"w{number}"}, concurrency=4
        )
        for number in range(6)
    ]
    clients = [scene.victim() for _ in range(20)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    for client in clients:
        failed_by_policy(client)
    asked = sum(len(worker.events) for worker in workers)
    with scene.victim() as client:
        for _ in range(60):
            client.command("VRFY alice", 451)
        scene.logged("breaker_open")
        now_asked = sum(len(worker.events) for worker in workers)
        assert now_asked - asked < 55, f"{now_asked - asked} of 60 events were asked"
        good = scene.gatepost.python_worker(
            ["vrfy"], lambda event: "ok", pool="hostile", worker={"name": "good"}
        )
        for worker in workers:
            worker.close()
        wait_until(lambda: client.command("VRFY alice").code == 250, 8, "well again", 0.05)
    good.close()
    for client in clients:
        client.close()


@proves("worker_error", "unknown_verdict")
@pytest.mark.parametrize("answer", ["error", "verdict"])
def test_53_an_answer_opens_no_breaker(set_stage: Callable[..., Scene], answer: str) -> None:
    """What a client may bring about with its message costs that message, not the pool or the worker."""
    scene = set_stage()
    worker = scene.worker(["vrfy"], worker={"name": "asked"})
    with scene.victim() as client:
        for number in range(60):
            client.send(b"VRFY alice\r\n")
            event = worker.event("vrfy")
            if answer == "error":
                worker.send({"type": "error", "id": event["id"], "code": "exception", "started": True})
            else:
                worker.answer(event, "nonsense")
            failed_by_policy(client)
        client.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        client.expect(250)
    assert "breaker_open" not in scene.log() and "quarantined" not in scene.log()


@proves("event_too_large")
def test_72_an_event_too_large(set_stage: Callable[..., Scene], gatepost: Gatepost) -> None:
    """Headers, then recipients are left out of a large event, which says so; if it is still too large, it fails."""
    gatepost.limits(max_recipients=5_000)
    scene = set_stage()
    scene.probe.end()
    scene.probe = type(scene.probe)(scene.gatepost)
    worker = scene.worker(
        {"data": {"needs": ["recipients"]}, "data_post": {"needs": ["headers", "recipients"]}},
        max_frame=65_536,
    )
    with scene.victim() as client:
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.send(b"".join(b"RCPT TO:<user%d@example.com>\r\n" % n for n in range(2_000)))
        for _ in range(2_000):
            client.expect(250)
        client.send(b"DATA\r\n")
        event = worker.event("data")
        assert event["elided"] == ["recipients"] and "recipients" not in event["transaction"]
        assert event["transaction"]["recipient_count"] == 2_000
        worker.answer(event, "declined", notes={"transaction": {"big": "x" * 60_000}})
        client.expect(354)
        client.send(b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(100)) + b"\r\n.\r\n")
        event = worker.event("data_post")
        assert event["elided"] == ["headers", "recipients"]
        worker.answer(event, "declined", notes={"session": {"big": "x" * 60_000}})
        client.expect(250)
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.send(b"DATA\r\n")
        worker.answer(worker.event("data"), "declined", notes={"transaction": {"big": "x" * 60_000}})
        client.expect(354)
        client.send(b"Subject: x\r\n\r\n.\r\n")
        assert client.reply().code == 451
        scene.logged("event_too_large")
    worker.close()
    tame = scene.gatepost.python_worker(["data", "data_post"], pool="hostile", worker={"name": "tame"})
    scene.probe.start()
    time.sleep(0.3)
    scene.check(descriptors=1)
    scene.check = lambda descriptors=0: None  # type: ignore[method-assign]
    tame.close()


@proves("notify_dropped")
def test_21_a_slow_observer_delays_nobody(scene: Scene) -> None:
    """An observer that does not read loses notifications, or its connection; no session waits."""
    observer = scene.worker({"noop": {"observe": True}}, concurrency=0)
    observer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    with scene.victim() as client:
        for _ in range(20):
            client.send(b"NOOP\r\n" * 500)
            for _ in range(500):
                client.expect(250)
    assert scene.frontend.resident_octets() < scene.resident + SLACK_OCTETS


@proves("quarantined")
def test_54_a_crash_loop(scene: Scene) -> None:
    """A worker that says hello and dies, without a pause: it is quarantined, and the log stays short."""
    until = time.monotonic() + 2.5
    welcomes = rejects = 0
    while time.monotonic() < until:
        worker = scene.gatepost.raw_worker("hostile")
        try:
            worker.send(hello(["vrfy"], pool="hostile", worker={"name": "crasher"}))
            said = worker.read(2)
            if said["type"] == "welcome":
                welcomes += 1
            elif said["type"] == "reject":
                assert said["code"] in ("quarantined", "pool_full"), said
                assert said["retry_ms"] >= 0
                rejects += 1
        except (WorkerClosed, OSError):
            pass
        worker.close()
    assert welcomes + rejects > 20
    lines = len(scene.log().splitlines()) - 3 * scene.probe.count
    assert lines < 500, f"{lines} lines of log for {welcomes} welcomes and {rejects} rejects"


@proves("worker_quarantined")
def test_54_three_failures_in_a_row_are_a_quarantine(set_stage: Callable[..., Scene]) -> None:
    """A worker that lets three deadlines pass in a row is closed; the other half serves on."""
    scene = set_stage()
    good = scene.gatepost.python_worker(
        ["vrfy"], pool="hostile", worker={"name": "good"}, concurrency=1
    )
    bad = scene.worker(["vrfy"], worker={"name": "bad"}, concurrency=50)
    clients = [scene.victim() for _ in range(8)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    said = [message["type"] for message in bad.closed()]
    assert said.count("event") >= 3 and said[-1] == "bye", said
    for client in clients:
        assert client.reply().code in (252, 451)
        assert client.command("VRFY alice").code == 252, "the good worker serves alone"
        client.close()
    again = scene.attacker()
    again.send(hello(["vrfy"], pool="hostile", worker={"name": "bad"}))
    assert again.read()["type"] in ("reject", "welcome")
    good.close()


#: A worker in a process of its own: says hello, reads until an event comes, then runs the code given.
MAD_WORKER = r"""
import os, socket, sys, time
path, act = sys.argv[1:]
link = socket.socket(socket.AF_UNIX)
link.connect(path)
link.sendall(b'{"type":"hello","protocol":[1,1],"pool":"hostile","worker":{"name":"mad"},'
             b'"concurrency":1,"hooks":{"vrfy":{}}}\n')
lines = link.makefile("rb")
assert b'"welcome"' in lines.readline()
print("ready", flush=True)
while b'"event"' not in lines.readline():
    pass
if act == "memory-bomb":
    hoard = bytearray(300 << 20)
    hoard[::4096] = b"x" * len(hoard[::4096])
elif act == "fork-bomb":
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
else:
    until = time.monotonic() + 4
    while time.monotonic() < until:
        pass
time.sleep(30)
"""


@pytest.mark.parametrize("act", ["fork-bomb", "memory-bomb", "spin"])
def test_55_56_58_a_worker_process_that_goes_mad(scene: Scene, act: str) -> None:
    """A worker that forks, fills its memory or spins: its events fail by their deadlines, as any others."""
    log = scene.gatepost.folder / "mad.log"
    argv: list[str | Path] = [sys.executable, "-c", MAD_WORKER]
    mad = Program("mad", [*argv, scene.gatepost.socket("hostile"), act], log)
    try:
        mad.ready()
        with scene.victim() as client:
            client.send(b"VRFY alice\r\n")
            failed_by_policy(client)
        assert scene.frontend.children() == []
        assert mad.is_running, mad.tail()
    finally:
        mad.kill()
        mad.abandon()


def test_57_stopped_and_continued(scene: Scene) -> None:
    """Late answers are dropped; afterwards the worker is used as any other."""
    # Two, because three failures in a row would be a quarantine.
    worker = scene.worker(["vrfy"], concurrency=2)
    clients = [scene.victim() for _ in range(2)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    events = [worker.event("vrfy") for _ in clients]
    for client in clients:
        failed_by_policy(client)
    for event in events:
        worker.answer(event, "ok", reply={"text": ["late"]})
    for client in clients:
        client.send(b"VRFY bob\r\n")
    for _ in clients:
        event = worker.event("vrfy")
        worker.answer(event, "declined")
    for client in clients:
        client.expect(252)
        client.close()


def test_57_no_new_events_while_it_is_behind(scene: Scene) -> None:
    """A worker whose credit is used up by late events gets no other."""
    worker = scene.worker(["vrfy"], concurrency=1)
    other = scene.gatepost.python_worker(["vrfy"], pool="hostile", worker={"name": "other"})
    holding = None
    clients = [scene.victim() for _ in range(4)]
    for client in clients:
        client.send(b"VRFY alice\r\n")
    try:
        holding = worker.event("vrfy", 3)
    except AssertionError:
        pass
    replies = [client.reply(8).code for client in clients]
    assert set(replies) <= {252, 451} and replies.count(252) >= 3, replies
    if holding is not None:
        for client in clients:
            client.command("VRFY bob", 252)
        kinds = []
        try:
            while True:
                kinds.append(worker.read(0.3)["type"])
        except (AssertionError, OSError):
            pass
        assert "event" not in kinds, kinds
    for client in clients:
        client.close()
    other.close()
