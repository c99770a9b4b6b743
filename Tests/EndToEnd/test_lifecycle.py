"""Starting, reloading and stopping the programs (protocol/README.md §9)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.ports import free_port
from harness.waiting import wait_until
from harness.wire import Message, accepting


def test_sigterm_finishes_what_runs(gatepost: Gatepost) -> None:
    """Idle sessions get 421 4.3.2, a running transaction its 250; then exit 0, nothing left."""
    frontend, worker = gatepost.run()
    with gatepost.connect() as busy, gatepost.connect() as idle:
        idle.ehlo()
        busy.ehlo()
        busy.envelope()
        busy.command("DATA", 354)
        busy.send(b"Subject: under way\r\n\r\n")
        frontend.signal(signal.SIGTERM)
        reply = idle.expect(421)
        assert reply.status == "4.3.2", idle.describe(str(reply))
        idle.closed()
        assert frontend.is_running
        wait_until(lambda: not _listens(gatepost.port), 5, "the listener closed")
        busy.send(b"last line\r\n.\r\n")
        busy.expect(250)
        busy.expect(421)
        busy.closed()
    assert frontend.exit_code() == 0
    assert len(gatepost.maildir) == 1
    assert gatepost.sockets() == []
    assert worker.is_running, "a worker waits for the next frontend"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_shutdown_is_bounded(gatepost: Gatepost) -> None:
    """A client that does not go on holds the frontend for `shutdown_ms` and no longer."""
    gatepost.frontend_toml["shutdown_ms"] = 700
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        frontend.signal(signal.SIGTERM)
        assert frontend.exit_code(5) == 0
        assert client.reply().code == 421


def test_a_second_sigterm_ends_at_once(gatepost: Gatepost) -> None:
    gatepost.frontend_toml["shutdown_ms"] = 60_000
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        frontend.signal(signal.SIGTERM)
        wait_until(lambda: not _listens(gatepost.port), 5, "the listener closed")
        frontend.signal(signal.SIGTERM)
        frontend.exit_code(5)
    frontend.expects_exit = None


def test_a_worker_drains(gatepost: Gatepost) -> None:
    """SIGTERM to a worker: it answers the events that it holds, new ones go to others, exit 0."""
    frontend = gatepost.frontend(ready=False)
    first = gatepost.worker()
    second = gatepost.worker()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        for round in range(20):
            if round == 10:
                first.signal(signal.SIGTERM)
            client.deliver(b"Subject: %d\r\n\r\n" % round)
        client.quit()
    assert first.exit_code() == 0
    assert second.is_running
    assert len(gatepost.maildir) == 20


def test_sighup_keeps_sessions(gatepost: Gatepost) -> None:
    """A reload changes the limits of the next session and closes no session."""
    frontend, _ = gatepost.run()
    with gatepost.connect() as before:
        before.ehlo()
        before.command("MAIL FROM:<bob@example.net>", 250)
        gatepost.limits(max_message_octets=77_777)
        gatepost.write_frontend_toml()
        at = frontend.log_position()
        frontend.signal(signal.SIGHUP)

        def size() -> str:
            with gatepost.connect() as client:
                return next(line for line in client.ehlo().lines if line.startswith("SIZE"))

        wait_until(lambda: size() == "SIZE 77777", 5, "the new limit")
        before.command("RCPT TO:<alice@example.com>", 250)
        assert before.data(b"Subject: x\r\n\r\n" + b"a" * 70 + b"\r\n").code == 250
        before.quit()
    assert "77777" in frontend.log()[at:] or "reload" in frontend.log()[at:].lower()


def test_sighup_with_a_broken_file_changes_nothing(gatepost: Gatepost) -> None:
    frontend, _ = gatepost.run()
    at = frontend.log_position()
    path = gatepost.config / "frontend.toml"
    good = path.read_text()
    path.write_text(good + "\n[limits]\nmax_recipeints = 200\n")
    frontend.signal(signal.SIGHUP)
    line = frontend.logged("max_recipeints", after=at)
    assert "frontend.toml:" in line, f"file and line are missing: {line}"
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
        client.quit()


def test_sighup_says_what_cannot_change(gatepost: Gatepost) -> None:
    frontend, _ = gatepost.run()
    at = frontend.log_position()
    gatepost.listener["address"] = f"127.0.0.1:{free_port()}"
    gatepost.write_frontend_toml()
    frontend.signal(signal.SIGHUP)
    frontend.logged("not before a restart.*listener", after=at)
    with gatepost.connect() as client:
        client.ehlo()


def test_sighup_takes_what_it_can(gatepost: Gatepost) -> None:
    """Limits, deadlines and policies count at once, though an id in the same file has to wait."""
    frontend, worker = gatepost.run()
    gatepost.frontend_toml["id"] = "other"
    gatepost.frontend_toml["log_level"] = "debug"
    gatepost.limits(command_timeout_ms=1_000)
    gatepost.pool.update(on_failure="reject", grace_ms=0)
    gatepost.write_frontend_toml()
    at = frontend.log_position()
    frontend.signal(signal.SIGHUP)
    line = frontend.logged("not before a restart", after=at)
    assert "keys=id" in line.replace('"', ""), line
    frontend.logged("reloaded", after=at)
    with gatepost.connect() as silent:
        silent.ehlo()
        assert silent.reply(5).code == 421, "the new timeout"
    worker.kill()
    frontend.logged("a worker (was lost|left)", after=at)
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        # The new policy, and no grace.
        client.command("RCPT TO:<alice@example.com>", 554)


def test_workers_are_drained_in_the_end(gatepost: Gatepost) -> None:
    """After the last session a worker gets `drain`, once, and says bye (protocol/README.md §9)."""
    gatepost.pool["minimum_workers"] = 2
    frontend = gatepost.frontend(ready=False)
    with gatepost.raw_worker() as worker, gatepost.raw_worker() as leaving:
        for each in (worker, leaving):
            each.hello(["rcpt"], worker={"name": "w", "pid": 1})
        frontend.ready()
        leaving.send({"type": "drain", "reason": "stopping"})
        assert leaving.expect("drain")["reason"] == "requested"
        with gatepost.connect() as client:
            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.send(b"RCPT TO:<alice@example.com>\r\n")
            event = worker.event("rcpt")
            frontend.signal(signal.SIGTERM)
            wait_until(lambda: not _listens(gatepost.port), 5, "the listener closed")
            assert not worker.has_more(0.2), "drain before the session is over"
            worker.answer(event, "ok")
            client.expect(250)
            client.close()
        assert worker.expect("drain")["reason"] == "shutdown"
        wait_until(lambda: gatepost.sockets() == [], 5, "the socket is gone before the workers are")
        assert frontend.is_running
        worker.send({"type": "drain", "reason": "shutdown"})
        worker.send({"type": "bye", "code": "drained"})
        assert worker.closed() == [], "one drain, and no bye after the worker's own"
        leaving.send({"type": "bye", "code": "drained"})
        assert leaving.closed() == [], "no second drain"
        assert frontend.exit_code(5) == 0


def test_a_worker_that_does_not_drain_holds_nobody(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend(ready=False)
    with gatepost.raw_worker() as worker:
        worker.hello(["rcpt"], worker={"name": "w", "pid": 1})
        frontend.ready()
        frontend.signal(signal.SIGTERM)
        worker.expect("drain")
        assert worker.expect("bye", 5)["code"] == "shutdown"
        assert frontend.exit_code(5) == 0


@pytest.mark.parametrize("name", ["default", "nobody"])
def test_sockets_of_systemd_go_by_name(gatepost: Gatepost, name: str) -> None:
    """The listener whose name is the socket's FileDescriptorName takes it; another socket is closed."""
    gatepost.listener["name"] = "default"
    gatepost.write_frontend_toml()
    passed = socket.create_server(("127.0.0.1", 0))
    port = passed.getsockname()[1]
    # The descriptor becomes 3, and LISTEN_PID the process's own, as systemd does.
    script = (
        "import os, sys\n"
        "given = int(sys.argv[1])\n"
        "if given != 3: os.dup2(given, 3); os.close(given)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES=sys.argv[2])\n"
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    frontend = subprocess.Popen(
        [
            "/usr/bin/python3", "-c", script, str(passed.fileno()), name,
            BINARIES / "gatepost-frontend", "--config", gatepost.config,
        ],
        pass_fds=[passed.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    passed.close()
    try:
        with gatepost.python_worker(["rcpt"]):
            assert frontend.stdout is not None
            expected = port if name == "default" else gatepost.port
            assert frontend.stdout.readline() == f"ready 127.0.0.1:{expected}\n"
            assert _listens(port) == (name == "default")
    finally:
        frontend.terminate()
        _, log = frontend.communicate(timeout=10)
    assert ("socket=nobody" in log.replace('"', "")) == (name == "nobody"), log


def test_a_second_frontend_with_the_same_id_refuses(gatepost: Gatepost) -> None:
    """And leaves the first one's socket alone."""
    gatepost.run()
    inode = gatepost.socket().stat().st_ino
    second = gatepost.start(
        "gatepost-frontend", "--config", gatepost.config, "--listen", f"127.0.0.1:{free_port()}"
    )
    assert second.exit_code() in (69, 75, 78)
    second.expects_exit = None
    assert "mx1" in second.log(), second.tail()
    assert gatepost.socket().stat().st_ino == inode
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")


def test_kill_9_and_start_again(gatepost: Gatepost) -> None:
    """The stale socket is replaced, leftovers are swept, workers come back by themselves."""
    frontend, worker = gatepost.run()
    message = b"Subject: left over\r\n\r\n" + b"x" * 60 + b"\r\n"
    with gatepost.connect() as client, gatepost.connect() as half:
        client.ehlo()
        client.deliver(b"Subject: before\r\n\r\n")
        half.ehlo()
        half.envelope()
        half.command("DATA", 354)
        half.send(message * 3_000)
        wait_until(gatepost.spool_files, 5, "a message of 250 KB in the spool")
        frontend.kill()
    assert gatepost.socket().exists()
    again = gatepost.frontend(ready=False)
    again.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: after\r\n\r\n")
        client.quit()
    assert worker.is_running
    gatepost.spool_is_empty()
    subjects = [message.header("Subject") for message in gatepost.maildir.messages()]
    assert subjects == [[b"before"], [b"after"]]


def test_a_socket_that_was_deleted(gatepost: Gatepost) -> None:
    """A cleaner of old files takes the socket: connections go on, new workers find it again."""
    frontend, _ = gatepost.run()
    gatepost.socket().unlink()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
    try:
        wait_until(gatepost.socket().exists, 10, "the socket made again")
    except AssertionError:
        frontend.logged(r"mx1\.sock")


def test_spool_and_sockets_are_private(gatepost: Gatepost) -> None:
    gatepost.run()
    assert gatepost.socket().stat().st_mode & 0o777 == 0o660
    spool = gatepost.folder / "spool" / "mx1"
    assert spool.stat().st_mode & 0o007 == 0


EXITS = {
    "unknown-flag": (64, ["--config", "{config}", "--colour", "red"]),
    "no-such-config": (78, ["--config", "{folder}/nowhere"]),
    "bad-listen": (64, ["--config", "{config}", "--listen", "nonsense"]),
}


@pytest.mark.parametrize(
    ("program", "name"),
    [
        *(("gatepost-frontend", name) for name in EXITS),
        *(("gatepost-worker", name) for name in EXITS if name != "bad-listen"),
    ],
)
def test_exit_codes(gatepost: Gatepost, program: str, name: str) -> None:
    """sysexits: 64 usage, 78 configuration."""
    code, arguments = EXITS[name]
    gatepost.write_frontend_toml()
    names = {"config": gatepost.config, "folder": gatepost.folder}
    started = gatepost.start(program, *(word.format(**names) for word in arguments))
    assert started.exit_code() == code, started.tail()
    started.expects_exit = code
    assert started.log().strip(), "it ended without a word"


def test_a_port_in_use_is_69(gatepost: Gatepost) -> None:
    with socket.create_server(("127.0.0.1", gatepost.port)):
        frontend = gatepost.frontend(ready=False)
        worker = gatepost.worker(ready=False)
        assert frontend.exit_code() == 69, frontend.tail()
        frontend.expects_exit = 69
    assert str(gatepost.port) in frontend.log()
    worker.kill()


def test_configuration_errors_come_all_at_once(gatepost: Gatepost) -> None:
    """File, line and key of each; exit 78."""
    path = gatepost.config / "frontend.toml"
    path.write_text('id = "mx1"\nshutdown_ms = "soon"\nnonsense = 1\n\n[limits]\nmax_errors = -1\n')
    frontend = gatepost.start("gatepost-frontend", "--config", gatepost.config)
    assert frontend.exit_code() == 78
    frontend.expects_exit = 78
    for expected in ("frontend.toml:2", "shutdown_ms", "frontend.toml:3", "nonsense", "max_errors"):
        assert expected in frontend.log(), frontend.tail()


def test_a_plugin_that_cannot_load_keeps_the_worker_away(gatepost: Gatepost) -> None:
    """Exit 78 with file and line, never a worker that half works (lessons R-24)."""
    gatepost.plugins("rcpt_ok", "no_such_plugin", "badmailfrom nonsense 1")
    worker = gatepost.worker(ready=False)
    assert worker.exit_code() == 78, worker.tail()
    worker.expects_exit = 78
    assert "plugins:2" in worker.log() and "no_such_plugin" in worker.log(), worker.tail()
    assert "plugins:3" in worker.log(), worker.tail()


# gatepost run, gatepost check


def test_run_is_both_programs_under_one_roof(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 1
    gatepost.write_frontend_toml()
    run = gatepost.start("gatepost", "run", "--config", gatepost.config, "--workers", "2")
    ready = run.ready()
    assert str(gatepost.port) in ready, ready
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
    pids = run.children()
    assert len(pids) == 3, f"children: {[_command(pid) for pid in pids]}"
    victim = next(pid for pid in pids if "gatepost-worker" in _command(pid))
    os.kill(victim, signal.SIGKILL)
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: y\r\n\r\n")
    wait_until(
        lambda: len(run.children()) == 3 and victim not in run.children(), 10, "a new worker"
    )
    children = run.children()
    assert run.stop() == 0, run.tail()
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]
    assert len(gatepost.maildir) == 2


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def test_run_listens_where_it_is_told(gatepost: Gatepost) -> None:
    gatepost.write_frontend_toml()
    other = free_port()
    run = gatepost.start(
        "gatepost", "run", "--config", gatepost.config, "--listen", f"127.0.0.1:{other}"
    )
    assert str(other) in run.ready()
    gatepost.port = other
    with gatepost.connect() as client:
        client.ehlo()
    assert run.stop() == 0


def check(gatepost: Gatepost) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", "check", "--config", gatepost.config],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_check_prints_who_is_asked_what(gatepost: Gatepost) -> None:
    gatepost.plugins("check_earlytalker", "badmailfrom", "rcpt_ok", "queue/maildir {mail}")
    gatepost.write_frontend_toml()
    done = check(gatepost)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("rcpt", "rcpt_ok", "mail", "badmailfrom", "queue", "queue/maildir", "policy"):
        assert word in done.stdout, done.stdout
    assert not gatepost.maildir.path.exists(), "a check changes nothing"


def test_check_finds_all_errors(gatepost: Gatepost) -> None:
    gatepost.write_frontend_toml()
    path = gatepost.config / "frontend.toml"
    path.write_text(path.read_text().replace("minimum_workers = 0", 'minimum_workers = "no"'))
    gatepost.plugins("rcpt_ok", "no_such_plugin")
    (gatepost.config / "worker.toml").write_text("concurrency = 0\nwhat = 1\n")
    done = check(gatepost)
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    for word in ("minimum_workers", "no_such_plugin", "concurrency", "what", "plugins:2"):
        assert word in said, said


# Two pools, notes, drains on the wire


def test_pools_are_asked_in_order(gatepost: Gatepost) -> None:
    """A later pool sees the notes and header edits of the earlier; the first decision ends it."""
    gatepost.frontend_toml["pool"] = [
        {"name": "first", "minimum_workers": 0},
        {"name": "second", "minimum_workers": 0},
    ]
    gatepost.frontend()

    def first(event: Message) -> Message | str:
        if event["hook"] == "mail":
            return {"verdict": "declined", "notes": {"session": {"seen": 1}}}
        if event["hook"] == "data_post":
            add = {"op": "header.add", "name": "X-First", "value": " yes"}
            return {"verdict": "declined", "actions": [add]}
        return {"verdict": "deny"} if "denied" in str(event["args"]) else "declined"

    asked = {"mail": {}, "rcpt": {}, "data_post": {"needs": ["headers"]}}
    one = gatepost.python_worker(asked, first, pool="first")
    two = gatepost.python_worker(asked | {"queue": {}}, accepting(), pool="second")
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<denied@example.com>", 550)
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\ny\r\n").code == 250
        client.quit()
    assert two.saw("mail")["notes"]["session"] == {"seen": 1}
    names = [field["name"] for field in two.saw("data_post")["transaction"]["headers"]]
    assert names[0] == "X-First" and "Subject" in names, names
    recipients = [event["args"]["recipient"]["address"] for event in two.events if event["hook"] == "rcpt"]
    assert recipients == ["alice@example.com"]
    one.close()
    two.close()
