"""Rolling out policy under load: new workers come, old ones drain, and no session notices.

protocol/README.md §9: no 4yz, no second attempt, no delay beyond the slowest event that runs.
"""

from __future__ import annotations

import collections
import json
import subprocess
import threading
from typing import Any

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.program import PATIENCE
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


class HoldingWorker(Worker):
    """Holds each event until the test lets it answer; drains as protocol/README.md §9 says."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        self.lock = threading.Lock()
        self.held: list[Message] = []
        self.is_draining = False
        super().__init__(*arguments, **fields)

    def _handle(self, message: Message) -> None:
        with self.lock:
            match message.get("type"):
                case "event":
                    self.events.append(message)
                    self.held.append(message)
                case "ping":
                    self.raw.send({"type": "pong", "n": message["n"]})
                case "drain":
                    self.is_draining = True

    def retire(self) -> None:
        """Asks to leave, and waits until the frontend agrees: no event comes any more."""
        self.raw.send({"type": "drain", "reason": "stopping"})
        wait_until(lambda: self.is_draining, PATIENCE, "the frontend agrees")

    def answer(self) -> None:
        with self.lock:
            for event in self.held:
                self.raw.answer(event, "ok")
            self.held = []

    def leave(self) -> None:
        self.answer()
        self.raw.send({"type": "bye", "code": "drained"})
        # The frontend closes after the bye.
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it did not get to leave"
        self.close()


def test_nobody_waits_for_a_drain(gatepost: Gatepost) -> None:
    """While a worker drains, events that it holds are unanswered, and other workers are asked all the same."""
    gatepost.pool.update(grace_ms=0, minimum_workers=6, deadline_ms=120_000, max_deadline_ms=120_000)
    gatepost.limits(max_commands_without_message=0, max_sessions_per_ip=0)
    frontend = gatepost.frontend(ready=False)

    def another(number: int) -> HoldingWorker:
        return HoldingWorker(
            gatepost.socket(), ["vrfy"], worker={"name": f"v{number}", "pid": 1}, concurrency=2 * CLIENTS
        )

    serving = [another(number) for number in range(6)]
    everybody = list(serving)
    frontend.ready()
    clients = [gatepost.connect() for _ in range(CLIENTS)]
    for client in clients:
        client.ehlo()
        client.send(b"VRFY alice\r\n")

    def held() -> int:
        return sum(len(worker.held) for worker in serving)

    wait_until(lambda: held() == CLIENTS, PATIENCE, "each client's event is with a worker")
    for number in range(6, 12):
        everybody.append(another(number))
        serving.append(everybody[-1])
        old = serving.pop(0)
        assert old.held, "the old one had nothing to do"
        old.retire()
        before = held()
        # One client more: nobody has answered anything, and still its event is with a worker.
        clients.append(gatepost.connect())
        clients[-1].ehlo()
        clients[-1].send(b"VRFY alice\r\n")
        wait_until(lambda: held() == before + 1, PATIENCE, "the next event is with another worker")
        old.leave()
    for worker in serving:
        worker.answer()
    for client in clients:
        client.expect(250)
        client.close()
    attempts = [event["attempt"] for worker in everybody for event in worker.events]
    assert attempts == [1] * len(clients)
    assert "policy failed" not in frontend.log() and "was lost" not in frontend.log()
    for worker in serving:
        worker.close()
