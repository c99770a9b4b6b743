"""The standing fault test: eight workers that crash, hang, leak and lie, killed and stopped on top.

GATEPOST_FAULT_SECONDS is how long clients send (default 5); it runs for hours as well.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import threading
from pathlib import Path

import pytest

from harness.gatepost import EXTRA_OCTETS, SLOWNESS, Gatepost
from harness.ports import free_port
from harness.program import Program
from harness.storm import Result, storm
from harness.waiting import wait_until

pytestmark = pytest.mark.xdist_group("fault")

SECONDS = float(os.environ.get("GATEPOST_FAULT_SECONDS", 5 * SLOWNESS))
WORKERS, CLIENTS = 8, 50
FAULTY = Path(__file__).with_name("faulty_worker.py")


class Chaos:
    """Keeps eight workers running, kills one every 50 ms, stops one every second."""

    def __init__(self, server: Gatepost, sockets: list[Path], journal: Path, seed: int) -> None:
        self.server, self.sockets, self.journal = server, sockets, journal
        self.random = random.Random(seed)
        self.started = self.kills = self.stops = 0
        self.over = threading.Event()
        self.workers: list[Program] = []
        self.stopped: list[Program] = []
        self.thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        for _ in range(WORKERS):
            self._start()

    def _start(self) -> None:
        self.started += 1
        name = f"faulty{self.started}"
        # Without site-packages it is there in half the time.
        argv: list[str | Path] = [sys.executable, "-S", "-E", FAULTY, name, self.journal, str(self.started)]
        log = self.server.folder / "faulty.log"
        self.workers.append(Program(name, [*argv, *self.sockets], log))

    def begin(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        turn = 0
        while not self.over.wait(0.05):
            turn += 1
            for worker in [each for each in self.workers if not each.is_running]:
                self._replace(worker)
            victim = self.random.choice(self.workers)
            if turn % 20 == 0:
                self.stops += 1
                victim.signal(signal.SIGSTOP)
                self.stopped.append(victim)
            if turn % 20 == 15 and self.stopped:
                self.stopped.pop(0).signal(signal.SIGCONT)
            if victim not in self.stopped:
                self.kills += 1
                victim.kill()
                self._replace(victim)

    def _replace(self, worker: Program) -> None:
        worker.abandon()
        self.workers.remove(worker)
        self._start()

    def end(self) -> None:
        self.over.set()
        self.thread.join(30)
        for worker in self.workers:
            worker.kill()
            worker.abandon()


def start(gatepost: Gatepost, id: str) -> Program:
    gatepost.frontend_toml["id"] = id
    gatepost.listener["address"] = f"127.0.0.1:{gatepost.port}"
    gatepost.pool.update(
        deadline_ms=1_000, max_deadline_ms=2_000, grace_ms=1_000, zombie_ms=2_000, hooks={}
    )
    gatepost.limits(max_sessions_per_ip=0, max_transactions=0)
    return gatepost.frontend()


def check(result: Result, journal: collections.Counter[str]) -> None:
    assert not result.problems, "\n".join([result.describe(), *result.problems[:20]])
    assert len(result.accepted) > 50, result.describe()
    missing = result.accepted - set(journal)
    assert not missing, f"answered 250 and not stored: {sorted(missing)[:10]}"
    unasked = set(journal) - result.accepted - result.deferred
    assert not unasked, f"stored and never answered: {sorted(unasked)[:10]}"
    twice = {token for token, count in journal.items() if count > 1}
    assert twice <= result.deferred, f"twice without a 4yz: {sorted(twice - result.deferred)[:10]}"


def stored(path: Path) -> collections.Counter[str]:
    return collections.Counter(path.read_text().split())


def test_fault(gatepost: Gatepost) -> None:
    frontend = start(gatepost, "mx1")
    journal = gatepost.folder / "journal"
    chaos = Chaos(gatepost, [gatepost.socket()], journal, seed=1)
    storm(gatepost.port, 5, 0.5, prefix="warm", may_end=True)
    resident, descriptors = frontend.resident_octets(), len(frontend.descriptors())
    chaos.begin()
    try:
        result = storm(gatepost.port, CLIENTS, SECONDS, seconds=SECONDS + 60, may_end=True)
    finally:
        chaos.end()
    print(f"{result.describe()}; {chaos.kills} killed, {chaos.stops} stopped, {chaos.started} started")
    files = stored(journal)
    for token in [each for each in files if each.startswith("warm")]:
        del files[token]
    check(result, files)
    # The eight workers of the base line are gone by now, so there are fewer descriptors.
    wait_until(
        lambda: len(frontend.descriptors()) <= descriptors,
        10,
        lambda: f"{descriptors} descriptors before, now {frontend.descriptors()}",
    )
    grown = frontend.resident_octets() - resident
    assert grown < (32 << 20) + EXTRA_OCTETS, f"{grown} octets more than before"
    gatepost.spool_is_empty()


def test_fault_with_two_frontends(gatepost: Gatepost) -> None:
    """The same, the workers shared by two."""
    frontends = []
    ports = [gatepost.port, free_port()]
    for number, port in enumerate(ports, 1):
        gatepost.port = port
        frontends.append(start(gatepost, f"mx{number}"))
    journal = gatepost.folder / "journal"
    sockets = [gatepost.socket(id="mx1"), gatepost.socket(id="mx2")]
    chaos = Chaos(gatepost, sockets, journal, seed=2)
    chaos.begin()
    results: dict[int, Result] = {}

    def send(number: int) -> None:
        results[number] = storm(
            ports[number],
            CLIENTS // 2,
            SECONDS / 2,
            prefix=f"mx{number}",
            seconds=SECONDS + 60,
            may_end=True,
        )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        chaos.end()
    files = stored(journal)
    for number, result in results.items():
        mine = {token: count for token, count in files.items() if token.startswith(f"mx{number}-")}
        check(result, collections.Counter(mine))
    assert all(each.is_running for each in frontends)
    gatepost.spool_is_empty()
