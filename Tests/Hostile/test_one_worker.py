"""One worker misbehaves without a pause, beside one of the same pool that does well.

Whatever it does, for as long as GATEPOST_HOSTILE_SECONDS says (3 by default): each client of the pool gets a reply, the
frontend's memory stays where it was, the other pool's clients notice nothing (the scene's probe), and when the worker
has gone the pool is well again. Each test prints what it measured.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.program import Program
from harness.waiting import wait_until
from harness.wire import RawWorker, WorkerClosed, hello
from scene import SLACK_OCTETS, SLOWNESS, Scene

SECONDS = float(os.environ.get("GATEPOST_HOSTILE_SECONDS", 3 * SLOWNESS))


def pings(worker: RawWorker) -> None:
    """Pings and never reads."""
    worker.octets(b'{"type":"ping","n":1}\n' * 5_000)


def progress(worker: RawWorker) -> None:
    """Asks for more time for whatever it may hold, and never reads."""
    worker.octets(b"".join(b'{"type":"progress","id":%d,"extend_ms":1}\n' % id for id in range(1, 1_000)))


def silent(worker: RawWorker) -> None:
    """Reads everything and answers nothing, not even `ping`."""
    worker.line(time.monotonic() + 0.2)


def invalid(worker: RawWorker) -> None:
    """Answers each event at once, and never with a verdict."""
    event = worker.event(seconds=0.2)
    worker.answer(event, "perhaps")


def errors(worker: RawWorker) -> None:
    """Answers each event with `error`."""
    event = worker.event(seconds=0.2)
    worker.send({"type": "error", "id": event["id"], "code": "exception", "started": True})


def dies(worker: RawWorker) -> None:
    """Dies of each event."""
    worker.event(seconds=0.2)
    worker.reset()


def garbage(worker: RawWorker) -> None:
    """Answers each event with a line that is no message of the protocol."""
    worker.event(seconds=0.2)
    worker.octets(b"\xff\xfe{{{\n")


ACTS: dict[str, Callable[[RawWorker], None]] = {
    act.__name__: act for act in (pings, progress, silent, invalid, errors, dies, garbage)
}


class Villain:
    """A worker that does its act again and again, and dials again when it is closed."""

    def __init__(self, scene: Scene, act: Callable[[RawWorker], None]) -> None:
        self.scene, self.act = scene, act
        self.connections = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="villain", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.over.is_set():
            worker = self.scene.gatepost.raw_worker("hostile")
            worker.answers_pings = False
            worker.socket.settimeout(1)
            try:
                worker.send(hello(["vrfy"], pool="hostile", worker={"name": "villain"}, concurrency=8))
                if worker.read(2)["type"] == "welcome":
                    self.connections += 1
                    self.perform(worker)
            except OSError:
                pass
            except WorkerClosed:
                pass
            worker.close()
            self.over.wait(0.02)

    def perform(self, worker: RawWorker) -> None:
        while not self.over.is_set():
            try:
                self.act(worker)
            except WorkerClosed:
                return
            except AssertionError:
                # Nothing came for a while.
                continue
            except TimeoutError:
                continue

    def end(self) -> None:
        self.over.set()
        self.thread.join(10)


class Clients:
    """Sessions that ask the hostile pool without a pause."""

    def __init__(self, scene: Scene, count: int) -> None:
        self.scene = scene
        self.codes: collections.Counter[int] = collections.Counter()
        self.slowest = 0.0
        self.problem: str | None = None
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        try:
            with self.scene.victim() as client:
                while not self.over.wait(0.02):
                    began = time.monotonic()
                    self.codes[client.command("VRFY alice").code] += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
        except (AssertionError, OSError) as error:
            self.problem = str(error)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(20)
        assert self.problem is None, self.problem
        assert set(self.codes) <= {250, 451}, self.codes


def watched(scene: Scene, seconds: float, is_over: Callable[[], bool] = lambda: False) -> int:
    """Waits, and returns how far the frontend's memory rose."""
    until = time.monotonic() + seconds
    most = 0
    while time.monotonic() < until and not is_over():
        most = max(most, scene.frontend.resident_octets() - scene.resident)
        time.sleep(0.05)
    return most


def is_well_again(scene: Scene) -> float:
    """Seconds until five questions in a row are answered."""
    began = time.monotonic()
    with scene.victim() as client:
        wait_until(
            lambda: all(client.command("VRFY alice").code == 250 for _ in range(5)), 20, "well again", 0.05
        )
    return time.monotonic() - began


@pytest.mark.parametrize("name", ACTS)
def test_one_worker(set_stage: Callable[..., Scene], name: str) -> None:
    scene = set_stage(ping_ms=500)
    good = scene.gatepost.python_worker(
        ["vrfy"], lambda event: "ok", pool="hostile", worker={"name": "good"}, concurrency=16
    )
    clients = Clients(scene, 6)
    villain = Villain(scene, ACTS[name])
    rise = watched(scene, SECONDS)
    villain.end()
    recovery = is_well_again(scene)
    clients.end()
    print(
        f"{name}: {villain.connections} connections, replies {dict(clients.codes)}, slowest"
        f" {clients.slowest:.2f} s, memory +{rise >> 20} MiB, well again after {recovery:.2f} s"
    )
    assert villain.connections > 0 and clients.codes[250] > 0
    assert rise < SLACK_OCTETS
    good.close()


#: A worker of its own process that does well until it is stopped.
DECENT = r"""
import json, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
link.sendall(b'{"type":"hello","protocol":[1,1],"pool":"hostile","worker":{"name":"stopped"},'
             b'"concurrency":8,"hooks":{"vrfy":{}}}\n')
for line in link.makefile("rb"):
    message = json.loads(line)
    if message["type"] == "welcome":
        print("ready", flush=True)
    elif message["type"] == "event":
        link.sendall(b'{"type":"verdict","id":%d,"verdict":"ok"}\n' % message["id"])
    elif message["type"] == "ping":
        link.sendall(b'{"type":"pong","n":%d}\n' % message["n"])
"""


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
def test_one_worker_is_stopped(set_stage: Callable[..., Scene], is_busy: bool) -> None:
    """SIGSTOP: it is closed as a zombie, with events or without, and the other serves on."""
    scene = set_stage(ping_ms=500)
    log = scene.gatepost.folder / "stopped.log"
    argv: list[str | Path] = [sys.executable, "-c", DECENT, scene.gatepost.socket("hostile")]
    stopped = Program("stopped", argv, log)
    try:
        stopped.ready()
        good = scene.gatepost.python_worker(
            ["vrfy"], lambda event: "ok", pool="hostile", worker={"name": "good"}, concurrency=16
        )
        clients = Clients(scene, 6) if is_busy else None
        if is_busy:
            wait_until(lambda: clients.codes[250] > 20, 10, "both are asked")
        stopped.signal(signal.SIGSTOP)
        closed = rf"a worker is closed.*pid={stopped.pid}.*reason=(zombie|quarantined)"
        began = time.monotonic()
        rise = watched(scene, 15, lambda: "a worker is closed" in scene.log())
        scene.logged(closed)
        noticed = time.monotonic() - began
        if clients is not None:
            is_well_again(scene)
            clients.end()
        print(f"noticed after {noticed:.2f} s, memory +{rise >> 20} MiB, {clients and clients.codes}")
        assert rise < SLACK_OCTETS
        stopped.signal(signal.SIGCONT)
        good.close()
    finally:
        stopped.signal(signal.SIGCONT)
        stopped.kill()
        stopped.abandon()
