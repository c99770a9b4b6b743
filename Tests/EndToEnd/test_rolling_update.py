"""Rolling out policy under load: new workers come, old ones drain, and no session notices.

protocol/README.md §9: no 4yz, no second attempt, no delay beyond the slowest event that runs.
"""

from __future__ import annotations

import collections
import json
import subprocess
import threading
import time
from typing import Any

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.storm import Result, storm
from harness.waiting import wait_until
from harness.wire import Message, Worker

pytestmark = pytest.mark.xdist_group("storm")

CLIENTS = 20
GENERATIONS = 3


def test_programs_are_replaced_while_clients_send(gatepost: Gatepost) -> None:
    """gatepost-worker by gatepost-worker: every message is accepted at once, and there once."""
    gatepost.pool.update(grace_ms=0, minimum_workers=2)
    gatepost.limits(max_sessions_per_ip=0)
    frontend = gatepost.frontend(ready=False)
    serving = [gatepost.worker(ready=False) for _ in range(2)]
    frontend.ready()
    over = threading.Event()
    results: list[Result] = []

    def send() -> None:
        # One storm after the other, until the last old worker is gone.
        while not over.is_set():
            results.append(storm(gatepost.port, CLIENTS, 4, prefix=f"roll{len(results)}"))

    sender = threading.Thread(target=send, name="clients", daemon=True)
    sender.start()
    try:
        for generation in range(GENERATIONS):
            reached = len(results)
            wait_until(lambda: len(results) > reached, 60, f"mail through generation {generation}")
            for old in list(serving):
                serving.append(gatepost.worker())
                assert old.stop(60) == 0
                serving.remove(old)
    finally:
        over.set()
        sender.join(120)
    assert not sender.is_alive()
    for result in results:
        assert not result.problems, result.problems[:10]
        assert set(result.replies) == {220, 221, 250, 354}, result.describe()
    accepted = {token for result in results for token in result.accepted}
    files = collections.Counter(
        message.header("Subject")[0].decode() for message in gatepost.maildir.messages()
    )
    assert set(files) == accepted and set(files.values()) == {1}
    assert len(accepted) == len(results) * CLIENTS * 4
    assert "policy failed" not in frontend.log() and "was lost" not in frontend.log()
    status = subprocess.run(
        [BINARIES / "gatepost", "workers", "--config", gatepost.config, "--json"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    (pool,) = json.loads(status.stdout)["pools"]
    assert pool["failed"] == 0 and pool["served"] == 2 * len(accepted)
    gatepost.spool_is_empty()


#: How long each event takes, on purpose.
EVENT_SECONDS = 1.0


class SlowWorker(Worker):
    """Answers each event after a second, many at a time; drains as protocol/README.md §9 says."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        self.lock = threading.Lock()
        self.held = 0
        self.is_draining = False
        super().__init__(*arguments, **fields)

    def _handle(self, message: Message) -> None:
        if message.get("type") == "event":
            with self.lock:
                self.events.append(message)
                self.held += 1
            timer = threading.Timer(EVENT_SECONDS, self.finish, [message])
            timer.daemon = True
            timer.start()
        elif message.get("type") == "drain":
            with self.lock:
                self.is_draining = True
                self.leave_when_done()

    def finish(self, event: Message) -> None:
        with self.lock:
            self.held -= 1
            self.raw.answer(event, "ok")
            self.leave_when_done()

    def leave_when_done(self) -> None:
        if self.is_draining and self.held == 0:
            self.raw.send({"type": "bye", "code": "drained"})

    def retire(self) -> None:
        with self.lock:
            self._drains = True
            self.raw.send({"type": "drain", "reason": "stopping"})
        # The frontend closes after the bye.
        self._thread.join(EVENT_SECONDS + 10)
        assert not self._thread.is_alive(), "it did not get to leave"
        self.close()


class Client(threading.Thread):
    """Sends one VRFY after the other and remembers the slowest."""

    def __init__(self, server: Gatepost, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.server, self.over = server, over
        self.count = 0
        self.slowest = 0.0
        self.problem: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with self.server.connect() as client:
                client.ehlo()
                while not self.over.is_set():
                    began = time.monotonic()
                    client.command("VRFY alice", 250)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.count += 1
        except BaseException as error:
            self.problem = error


def test_nobody_waits_for_a_drain(gatepost: Gatepost) -> None:
    """Twenty clients, one event each at all times; no reply takes longer than one event takes."""
    gatepost.pool.update(grace_ms=0, minimum_workers=6)
    gatepost.limits(max_commands_without_message=0, max_sessions_per_ip=0)
    frontend = gatepost.frontend(ready=False)

    def another(number: int) -> SlowWorker:
        return SlowWorker(
            gatepost.socket(), ["vrfy"], worker={"name": f"v{number}", "pid": 1}, concurrency=CLIENTS
        )

    serving = [another(number) for number in range(6)]
    everybody = list(serving)
    frontend.ready()
    over = threading.Event()
    clients = [Client(gatepost, over) for _ in range(CLIENTS)]
    for number in range(6, 12):
        serving.append(another(number))
        everybody.append(serving[-1])
        serving[-1].saw("vrfy")
        old = serving.pop(0)
        assert old.events, "the old one had nothing to do"
        old.retire()
    over.set()
    for client in clients:
        client.join(10)
        assert client.problem is None, client.problem
    attempts = collections.Counter(event["attempt"] for worker in everybody for event in worker.events)
    assert set(attempts) == {1}, attempts
    assert attempts[1] == sum(client.count for client in clients)
    # To wait for another session's event and then for its own would be two seconds.
    assert max(client.slowest for client in clients) < 1.9 * EVENT_SECONDS
    assert "policy failed" not in frontend.log() and "was lost" not in frontend.log()
    for worker in serving:
        worker.close()
