"""100 sessions × 100 messages at once: a 250 for each file, a file for each 250.

GATEPOST_STORM is the number of messages of a session: 100 by default, and 10 with debug programs,
which take 27 ms of processor time a message: 100 are four and a half minutes of it. The number of
sessions is always 100.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import threading

import pytest

from harness.gatepost import DELIVERING, IS_DEBUG, Gatepost
from harness.program import Program
from harness.storm import Result, storm

pytestmark = pytest.mark.xdist_group("storm")

SESSIONS = 100
MESSAGES = int(os.environ.get("GATEPOST_STORM", "10" if IS_DEBUG else "100"))


def stored(server: Gatepost) -> collections.Counter[str]:
    """How many files there are of each token."""
    return collections.Counter(
        message.header("Subject")[0].decode() for message in server.maildir.messages()
    )


def configured(server: Gatepost, workers: int) -> Program:
    server.plugins(*DELIVERING)
    server.limits(max_sessions_per_ip=0)
    server.pool["minimum_workers"] = workers
    frontend = server.frontend(ready=False)
    for _ in range(workers):
        server.worker(ready=False)
    for program in server.programs:
        program.ready()
    return frontend


def check(server: Gatepost, result: Result, messages: int) -> None:
    assert not result.problems, "\n".join([result.describe(), *result.problems[:20]])
    files = stored(server)
    missing = result.accepted - set(files)
    assert not missing, f"answered 250 and not there: {sorted(missing)[:20]}"
    assert len(result.accepted) + len(result.given_up) == SESSIONS * messages, result.describe()
    unasked = set(files) - result.accepted - result.deferred
    assert not unasked, f"there without any answer: {sorted(unasked)[:20]}"


def test_every_250_is_one_file(gatepost: Gatepost) -> None:
    frontend = configured(gatepost, workers=2)
    idle = len(frontend.descriptors())
    result = storm(gatepost.port, SESSIONS, MESSAGES, seconds=300)
    print(result.describe())
    check(gatepost, result, MESSAGES)
    assert set(stored(gatepost).values()) == {1}
    assert result.deferred == result.given_up == set()
    gatepost.spool_is_empty()
    assert len(frontend.descriptors()) <= idle + 2


@pytest.mark.parametrize("how", ["killed", "killed-and-stopped"])
def test_with_workers_killed_at_random(gatepost: Gatepost, how: str) -> None:
    """None is missing. queue/maildir is idempotent, so not even a death in it makes two of one."""
    messages = max(1, MESSAGES // 4)
    gatepost.pool.update(grace_ms=3_000, deadline_ms=4_000, max_deadline_ms=10_000, zombie_ms=5_000)
    frontend = configured(gatepost, workers=4)
    result = Result()
    chaos = Chaos(gatepost, result, stops=how != "killed")
    chaos.start()
    try:
        storm(gatepost.port, SESSIONS, messages, seconds=300, result=result)
    finally:
        chaos.end()
    print(f"{result.describe()}; {chaos.kills} workers killed, {chaos.stops} stopped")
    check(gatepost, result, messages)
    assert chaos.kills > 0
    # Two kills that hit one message while it was alone with its worker make poison of an innocent. Few
    # are ever asked alone twice, and each for some milliseconds.
    assert len(result.given_up) <= 1 + chaos.kills // 20, result.describe()
    if result.given_up:
        frontend.logged("poison")
    twice = {token for token, count in stored(gatepost).items() if count > 1}
    assert twice <= result.deferred, f"stored twice, deferred never: {sorted(twice - result.deferred)}"
    assert frontend.is_running
    gatepost.spool_is_empty()


class Chaos:
    """Kills a random worker twice a second and starts another in its place.

    The first dies when ten messages have been accepted, however fast the storm is.
    """

    def __init__(self, server: Gatepost, result: Result, stops: bool, interval: float = 0.5) -> None:
        self.server, self.result, self.interval = server, result, interval
        self.may_stop = stops
        self.kills = self.stops = 0
        self.workers = [each for each in server.programs if each.name.startswith("gatepost-worker")]
        self.random = random.Random(1)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="chaos", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def run(self) -> None:
        while len(self.result.accepted) < 10 and not self.over.wait(0.002):
            pass
        while not self.over.wait(self.interval if self.kills > 0 else 0):
            victim = self.random.choice(self.workers)
            if self.may_stop and self.kills > 0 and self.random.random() < 0.3:
                self.stops += 1
                victim.signal(signal.SIGSTOP)
                self.over.wait(self.interval / 2)
                victim.signal(signal.SIGCONT)
                continue
            self.kills += 1
            victim.kill()
            self.workers.remove(victim)
            self.workers.append(self.server.worker(ready=False))

    def end(self) -> None:
        self.over.set()
        self.thread.join(30)
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.ready()
