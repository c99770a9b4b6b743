"""One plugin traps, hangs, exits or leaks: what other clients notice, and how soon mail flows again.

The worker is Tests/FaultyWorker, whose plugin does what the sender's local part says.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.gatepost import BINARIES, SLOWNESS, Gatepost
from harness.program import Program
from harness.smtp import Dialogue
from harness.waiting import wait_until
from scene import Probe

#: How long each fault is repeated.
SECONDS = float(os.environ.get("GATEPOST_HOSTILE_SECONDS", 3 * SLOWNESS))
#: hang_ms, the two seconds from SIGTERM to SIGKILL, and a start on a busy machine.
HANG_SECONDS = 3 + 2 + 15 * SLOWNESS


def mail(client: Dialogue, sender: str) -> int:
    """The code of the reply to MAIL from `sender`@example.net, which may take as long as a deadline."""
    client.send(f"MAIL FROM:<{sender}@example.net>\r\n".encode())
    return client.reply(20 * SLOWNESS).code


def faulty_worker(gatepost: Gatepost) -> Program:
    worker = gatepost.start("FaultyWorker", "--config", gatepost.config)
    # It may end by its own fault.
    worker.expects_exit = None
    worker.ready()
    return worker


@pytest.mark.parametrize("fault", ["trap", "abort", "segv", "exit"])
def test_a_crash_is_answered(gatepost: Gatepost, fault: str) -> None:
    gatepost.plugins("faulty")
    frontend = gatepost.frontend(ready=False)
    workers = [faulty_worker(gatepost) for _ in range(2)]
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        # The second worker is asked once the first has died, and dies as well.
        assert mail(client, fault) == 451
    for worker in workers:
        assert worker.exit_code() != 0


def test_a_backtrace_that_was_asked_for_keeps_no_client_waiting(gatepost: Gatepost) -> None:
    gatepost.plugins("faulty")
    gatepost.pool.update(grace_ms=200)
    frontend = gatepost.frontend(ready=False)
    # A crash reporter that goes on for longer than any client waits here.
    reporter, began = gatepost.folder / "reporter", gatepost.folder / "began"
    reporter.write_text(f"#!/bin/sh\ntouch {began}\nexec sleep 40\n")
    reporter.chmod(0o755)
    worker = gatepost.start(
        "FaultyWorker", "--config", gatepost.config,
        SWIFT_BACKTRACE=f"enable=yes,swift-backtrace={reporter}",
    )
    worker.expects_exit = None
    worker.ready()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        assert mail(client, "trap") == 451
    frontend.logged("worker_lost")
    wait_until(began.exists, 20 * SLOWNESS, "the crash reporter")
    assert worker.is_running
    worker.kill()


class UnderRun:
    """`gatepost run` with two of the faulty workers in the place of gatepost-worker."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        programs = gatepost.folder / "bin"
        programs.mkdir()
        for name, program in (
            ("gatepost", "gatepost"),
            ("gatepost-frontend", "gatepost-frontend"),
            ("gatepost-worker", "FaultyWorker"),
        ):
            # A program looks for the others beside itself, so these are files and no links.
            shutil.copy(BINARIES / program, programs / name)
        gatepost.plugins("faulty")
        gatepost.frontend_toml["hang_ms"] = 3_000
        gatepost.pool.update(
            minimum_workers=2, deadline_ms=2_000, zombie_ms=60_000, grace_ms=10_000
        )
        gatepost.write_frontend_toml()
        self.run = Program(
            "run",
            [programs / "gatepost", "run", "--config", gatepost.config, "--workers", "2"],
            gatepost.folder / "run.log",
            cwd=gatepost.folder,
        )
        gatepost.programs.append(self.run)
        self.run.ready()

    def workers(self) -> set[int]:
        found = set()
        for pid in self.run.children():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if words[0].endswith(b"gatepost-worker"):
                found.add(pid)
        return found

    def frontend_octets(self) -> int:
        for pid in self.run.children():
            status = Path(f"/proc/{pid}/status").read_text()
            if status.startswith("Name:\tgatepost-fronte"):
                return int(status.split("VmRSS:")[1].split()[0]) * 1024
        raise AssertionError(f"no frontend{self.run.tail()}")

    def is_whole(self) -> bool:
        """Two workers are there and take mail."""
        if len(self.workers()) != 2:
            return False
        with self.gatepost.connect() as client:
            client.ehlo()
            return mail(client, "well") == 250


@pytest.fixture
def under_run(gatepost: Gatepost) -> UnderRun:
    return UnderRun(gatepost)


@pytest.mark.parametrize("fault", ["loop", "block"])
def test_a_worker_that_hangs_is_replaced(under_run: UnderRun, fault: str) -> None:
    before = under_run.workers()
    with under_run.gatepost.connect() as client:
        client.ehlo()
        assert mail(client, fault) == 451
    began = time.monotonic()
    wait_until(
        lambda: len(under_run.workers() - before) >= 1 and under_run.is_whole(),
        HANG_SECONDS,
        lambda: f"the worker was not replaced{under_run.run.tail()}",
        0.2,
    )
    print(f"{fault}: well again after {time.monotonic() - began:.1f} s")
    assert "hangs: no sign of life for" in under_run.run.log()


def test_a_stopped_frontend_is_replaced(under_run: UnderRun) -> None:
    (victim,) = set(under_run.run.children()) - under_run.workers()
    os.kill(victim, signal.SIGSTOP)
    wait_until(
        lambda: victim not in under_run.run.children() and len(under_run.run.lines) > 1,
        HANG_SECONDS,
        lambda: f"no second line that says ready{under_run.run.tail()}",
        0.2,
    )
    wait_until(under_run.is_whole, HANG_SECONDS, "two workers that take mail", 0.2)
    assert "frontend hangs: no sign of life for" in under_run.run.log()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGPIPE"])
def test_a_signal_that_means_nothing_ends_nothing(under_run: UnderRun, name: str) -> None:
    before = sorted(under_run.run.children())
    for pid in [*before, under_run.run.pid]:
        os.kill(pid, getattr(signal, name))
    assert under_run.is_whole()
    assert sorted(under_run.run.children()) == before


def test_a_stopped_worker_is_replaced(under_run: UnderRun) -> None:
    victim = min(under_run.workers())
    os.kill(victim, signal.SIGSTOP)
    wait_until(
        lambda: victim not in under_run.workers() and under_run.is_whole(),
        HANG_SECONDS,
        lambda: f"the worker was not replaced{under_run.run.tail()}",
        0.2,
    )


def test_a_plugin_that_waits_is_left_alone(under_run: UnderRun) -> None:
    before = under_run.workers()
    with under_run.gatepost.connect() as client:
        client.ehlo()
        # Twice as long as hang_ms; the deadline of the hook is shorter.
        assert mail(client, "wait") == 451
    assert under_run.workers() == before


@pytest.mark.parametrize("fault", ["trap", "exit"])
def test_mail_flows_beside_a_faulty_plugin(under_run: UnderRun, fault: str) -> None:
    probe = Probe(under_run.gatepost)
    probe.warm_up()
    resident = under_run.frontend_octets()
    over = time.monotonic() + SECONDS
    refused = 0
    attempts = 0

    def good() -> None:
        nonlocal refused, attempts
        while time.monotonic() < over:
            attempts += 1
            with under_run.gatepost.connect(seconds=20) as client:
                client.ehlo()
                refused += mail(client, "well") != 250

    innocent = threading.Thread(target=good, daemon=True)
    innocent.start()
    while time.monotonic() < over:
        with under_run.gatepost.connect(seconds=20) as client:
            client.ehlo()
            if mail(client, fault) == 250:
                client.command("RCPT TO:<jo@example.com>", 250)
                client.command("DATA", 354)
                client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                client.reply()
    innocent.join(30)
    began = time.monotonic()
    wait_until(
        under_run.is_whole, 30 * SLOWNESS, lambda: f"not well again{under_run.run.tail()}", 0.2
    )
    grown = under_run.frontend_octets() - resident
    print(
        f"{fault}: {refused} of {attempts} innocent clients refused, {grown >> 10} KiB more,"
        f" well after {time.monotonic() - began:.1f} s"
    )
    assert grown < (24 << 20)
