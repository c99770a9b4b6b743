"""`gatepost workers`: who is there, in which version, and how they do."""

from __future__ import annotations

import json
import subprocess

from harness.gatepost import BINARIES, Gatepost
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
    watching.expects_exit = None
    watching.stop()
