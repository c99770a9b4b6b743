"""`gatepost workers` shows the connected workers, their versions and their states."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.program import PATIENCE
from harness.waiting import wait_until
from harness.wire import Message, accepting

CODE_UNAVAILABLE = 69


def workers(gatepost: Gatepost, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", "workers", "--config", gatepost.config, *options],
        capture_output=True,
        text=True,
        timeout=20,
    )


class Refusing:
    """A frontend without room: every connection is told so and closed."""

    def __init__(self, path: Path) -> None:
        self.dialled = 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.path = path
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                with client:
                    client.recv(65_536)
                    client.sendall(b'{"type":"reject","code":"pool_full","message":"full"}\n')
                self.dialled += 1

    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()
        self.path.unlink()


def test_two_versions_in_one_pool(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 2
    frontend = gatepost.frontend(ready=False)
    old = gatepost.python_worker(
        ["rcpt", "queue"], accepting(), worker={"name": "demo", "version": "1.0", "pid": 1}, plugins=["old"]
    )
    new = gatepost.python_worker(
        ["rcpt", "queue"], accepting(), worker={"name": "demo", "version": "2.0", "pid": 2}, plugins=["new"]
    )
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\nbody\r\n")
        client.quit()
    done = workers(gatepost)
    assert done.returncode == 0, done.stderr
    about, titles, *rows = done.stdout.splitlines()
    assert about.startswith("mx1: 0 sessions; policy ready, 0 waiting, 2 served, 0 failed"), about
    assert titles.split()[:4] == ["pool", "worker", "version", "state"]
    cells = [row.split() for row in rows]
    assert [(row[0], row[1], row[2], row[3], row[-1]) for row in cells] == [
        ("policy", "demo#1", "1.0", "ready", "old"),
        ("policy", "demo#2", "2.0", "ready", "new"),
    ]
    assert sum(int(row[5]) for row in cells) == 2
    status: Message = json.loads(workers(gatepost, "--json").stdout)
    assert [worker["version"] for worker in status["pools"][0]["workers"][:2]] == ["1.0", "2.0"]
    old.close()
    new.close()


def test_what_limits_refuse_and_end_is_counted(gatepost: Gatepost) -> None:
    """In `status`, and so in this command's output: nothing before the first, then the key of each limit."""
    gatepost.limits(max_sessions_per_ip=1, max_errors=1, data_timeout_ms=1_000, data_minimum_rate=0)
    gatepost.run()

    def lines() -> list[str]:
        done = workers(gatepost)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("since the start")]

    assert lines() == []
    with gatepost.connect() as client:
        client.ehlo()
        with gatepost.connect() as second:
            second.expect(421)
            second.closed()
        client.command("DATA", 503)
        client.command("DATA", 421)
        client.closed()
    with gatepost.connect() as client:
        client.expect(220)
        client.send(b"GET / HTTP/1.1\r\n")
        client.expect(554)
        client.closed()
    for message in (b"Subject: x\r\n\r\nx\n.\r\n.\r\n", None):
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
            if message is not None:
                client.send(message)
                client.expect(554)
            else:
                client.expect(421)
            client.closed()
    expected = (
        "since the start: refused by max_sessions_per_ip 1;"
        " ended by max_errors 1, other_protocol 1, smuggling 1, timeout 1"
    )
    wait_until(lambda: lines() == [expected], PATIENCE, lambda: f"{lines()}", 0.2)
    status: Message = json.loads(workers(gatepost, "--json").stdout)
    assert status["refused"]["max_sessions_per_ip"] == 1 and status["refused"]["max_sessions"] == 0
    assert {key for key, count in status["ended"].items() if count} == {
        "max_errors", "other_protocol", "smuggling", "timeout"
    }  # fmt: skip


def test_nothing_runs(gatepost: Gatepost) -> None:
    gatepost.write_frontend_toml()
    done = workers(gatepost)
    assert done.returncode == CODE_UNAVAILABLE
    assert "no frontend answers" in done.stderr


def test_whoever_looks_is_no_worker(gatepost: Gatepost) -> None:
    """The listeners stay shut, and an empty pool is asked as before."""
    gatepost.pool["minimum_workers"] = 1
    frontend = gatepost.frontend(ready=False)
    gatepost.raw_worker().close()
    done = workers(gatepost)
    assert done.returncode == 0, done.stderr
    assert "policy grace" in done.stdout or "policy empty" in done.stdout
    assert "listening" not in frontend.log()


def test_whoever_looks_is_neither_listed_nor_missed(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend()
    status: Message = json.loads(workers(gatepost, "--json").stdout)
    assert [pool["workers"] for pool in status["pools"]] == [[]]
    frontend.logged("a worker says bye.*stopping.*gatepost-workers-")
    assert "a worker left" not in frontend.log() and "a worker was lost" not in frontend.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_at_once_do_not_list_each_other_and_take_leave(gatepost: Gatepost, number: signal.Signals) -> None:
    frontend = gatepost.frontend()
    watching = gatepost.start("gatepost", "workers", "--config", gatepost.config, "--watch", "--json")
    watching.ready("{")
    status: Message = json.loads(workers(gatepost, "--json").stdout)
    assert [pool["workers"] for pool in status["pools"]] == [[]]
    watching.signal(number)
    assert watching.exit_code() == 0, watching.log()
    frontend.logged(f"a worker says bye.*stopping.*gatepost-workers-{watching.pid}")
    assert "a worker left" not in frontend.log() and "a worker was lost" not in frontend.log()
    assert "ended by" not in watching.log()


def test_the_configuration_folder_has_a_default(gatepost: Gatepost) -> None:
    gatepost.frontend()
    done = subprocess.run(
        [BINARIES / "gatepost", "workers"], cwd=gatepost.folder, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0 and done.stdout.startswith("mx1: 0 sessions"), done.stderr


def test_a_workers_words_command_no_terminal(gatepost: Gatepost) -> None:
    """What turns the direction of writing, or an escape, is shown and not obeyed."""
    gatepost.frontend()
    with gatepost.raw_worker() as worker:
        worker.hello(["rcpt"], worker={"name": "w", "version": "2\u202e.\x9b0", "pid": 1})
        shown, alone = workers(gatepost), workers(gatepost, "--json")
    assert r"2\u{202e}.\u{9b}0" in shown.stdout
    assert json.loads(alone.stdout)["pools"][0]["workers"][0]["version"] == "2\u202e.\x9b0"
    assert not set("\u202e\x9b\x1b") & set(shown.stdout + alone.stdout)


def test_watching_outlives_a_frontend(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend()
    watching = gatepost.start("gatepost", "workers", "--config", gatepost.config, "--watch")
    watching.ready("mx1: 0 sessions")
    frontend.stop()
    watching.logged("mx1.sock: the frontend")
    shown = len(watching.lines)
    gatepost.frontend()
    wait_until(lambda: len(watching.lines) > shown + 1, 10, "a line about the new frontend")
    assert watching.is_running
    assert watching.log().count("mx1.sock") <= 2, watching.log()
    watching.stop()


def test_watching_costs_no_descriptors(gatepost: Gatepost) -> None:
    """A frontend that refuses is dialled again and again, and each connection is closed."""
    gatepost.write_frontend_toml()
    gatepost.frontend()
    watching = gatepost.start("gatepost", "workers", "--config", gatepost.config, "--watch")
    watching.ready("mx1: 0 sessions")
    with Refusing(gatepost.socket(id="mx0")) as refusing:
        wait_until(lambda: refusing.dialled >= 1, 10, "a first dial")
        watching.logged("mx0.sock: the frontend refuses us: full")
        descriptors = f"/proc/{watching.pid}/fd"
        wait_until(lambda: refusing.dialled >= 2, 10, "a second dial")
        before = len(os.listdir(descriptors))
        wait_until(lambda: refusing.dialled >= 5, 10, "three dials more")
        assert len(os.listdir(descriptors)) <= before + 1
        assert watching.log().count("mx0.sock") == 1, watching.log()
    watching.stop()
