"""Sockets, users, spool and fairness (protocol/failure.md)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.gatepost import SLOWNESS, Gatepost
from harness.ports import free_port
from harness.waiting import wait_until
from harness.wire import Message, accepting
from proofs import proves
from scene import DEADLINE_MS, Scene, failed_by_policy


def refuses(gatepost: Gatepost, *codes: int) -> str:
    """The frontend must not start; returns its log."""
    frontend = gatepost.frontend(ready=False)
    code = frontend.exit_code()
    frontend.expects_exit = None
    assert code in codes, f"ended with {code}{frontend.tail()}"
    assert frontend.log().strip(), "it ended without a word"
    return frontend.log()


@proves("socket_stale")
def test_61_a_stale_socket(gatepost: Gatepost) -> None:
    """No process listens on the socket that is there, so it is replaced."""
    path = gatepost.socket()
    path.parent.mkdir(parents=True)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(path))
    dead.close()
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")


@proves("socket_taken")
def test_61_a_live_socket_is_not_stolen(gatepost: Gatepost) -> None:
    """A process listens on the socket: the frontend does not start and does not unlink it."""
    path = gatepost.socket()
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as alive:
        alive.bind(str(path))
        alive.listen()
        inode = path.stat().st_ino
        log = refuses(gatepost, 69, 75, 78)
        assert str(path) in log or "mx1" in log
        assert path.stat().st_ino == inode
    path.unlink()


@proves("socket_foreign")
@pytest.mark.parametrize("what", ["file", "folder", "symlink", "symlink-to-socket"])
def test_62_something_else_lies_there(gatepost: Gatepost, what: str) -> None:
    """What is no socket is named in the error and not removed."""
    path = gatepost.socket()
    path.parent.mkdir(parents=True)
    target = gatepost.folder / "target"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    elif what == "symlink":
        target.write_text("precious")
        path.symlink_to(target)
    else:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(target))
        path.symlink_to(target)
    log = refuses(gatepost, 69, 73, 77, 78)
    assert "mx1.sock" in log, log
    assert os.path.lexists(path)
    if what == "file":
        assert path.read_text() == "precious"
    if what == "symlink":
        assert target.read_text() == "precious"
    path.rmdir() if what == "folder" else path.unlink()
    target.unlink(missing_ok=True)


@proves("socket_foreign")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of another user")
@pytest.mark.parametrize("what", ["socket", "folder", "lock"])
def test_62_it_belongs_to_another_user(gatepost: Gatepost, what: str) -> None:
    """It is named in the error and not touched, and the frontend does not start."""
    path = gatepost.socket()
    path.parent.mkdir(parents=True)
    if what == "socket":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
            stale.bind(str(path))
    elif what == "folder":
        path = path.parent
    else:
        path = path.parents[2] / "mx1.lock"
        path.touch()
    os.chown(path, 65534, 65534)
    inode = path.lstat().st_ino
    log = refuses(gatepost, 78)
    assert f"{path} belongs to another user (uid 65534)" in log, log
    assert (path.lstat().st_ino, path.lstat().st_uid) == (inode, 65534)
    if what == "socket":
        path.unlink()


@proves("socket_foreign")
def test_62_the_lock_is_a_link(gatepost: Gatepost) -> None:
    """A link in place of the lock is not followed."""
    path = gatepost.socket().parents[2] / "mx1.lock"
    path.parent.mkdir(parents=True)
    target = gatepost.folder / "target"
    path.symlink_to(target)
    log = refuses(gatepost, 78)
    assert f"{path} is a link" in log, log
    assert not target.exists()


def test_62_a_folder_that_anybody_can_write(gatepost: Gatepost) -> None:
    """If every user can make a socket in the folder, the frontend does not start."""
    folder = gatepost.socket().parent
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    log = refuses(gatepost, 69, 73, 77, 78)
    assert str(folder) in log, log


@proves("socket_foreign")
def test_63_a_path_too_long(gatepost: Gatepost) -> None:
    """The mistake is found when the configuration is read."""
    gatepost.frontend_toml["runtime_directory"] = str(gatepost.folder / ("d" * 100))
    log = refuses(gatepost, 78)
    assert "107" in log and "runtime_directory" in log, log


@proves("socket_removed")
def test_64_a_socket_that_was_deleted(scene: Scene) -> None:
    """The frontend makes it again or says so in the log; open connections go on."""
    worker = scene.worker(["vrfy"])
    scene.gatepost.socket("hostile").unlink()
    with scene.victim() as client:
        client.send(b"VRFY alice\r\n")
        worker.answer(worker.event("vrfy"), "ok")
        client.expect(250)
    wait_until(
        lambda: scene.gatepost.socket("hostile").exists() or "hostile" in scene.log(),
        10,
        "the socket made again, or a log line",
    )


@proves("user_denied")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_65_another_user(set_stage: Callable[..., Scene]) -> None:
    """Even if every user may open the socket: `reject user_denied`."""
    scene = set_stage(socket_mode="0666")
    path = scene.gatepost.socket("hostile")
    for folder in (path.parent, *path.parent.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n"
        "try: s.sendall(b'{\"type\":\"hello\",\"protocol\":[1,1],\"pool\":\"hostile\",'\n"
        "    b'\"worker\":{\"name\":\"x\"},\"concurrency\":1,\"hooks\":{\"vrfy\":{}}}\\n')\n"
        "except OSError: pass\n"
        "sys.stdout.buffer.write(s.recv(65536))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, user=65534, timeout=20
    )
    assert b'"user_denied"' in done.stdout, done
    scene.logged("65534")
    with scene.victim() as client:
        client.command("VRFY alice", 252)


@proves("socket_taken")
def test_66_the_same_id(gatepost: Gatepost) -> None:
    """The second frontend refuses to start, the first goes on."""
    gatepost.frontend()
    worker = gatepost.python_worker(["rcpt", "queue"], accepting())
    gatepost.listener["address"] = f"127.0.0.1:{free_port()}"
    refuses(gatepost, 69, 75, 78)
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
    worker.close()


def test_66_two_frontends_share_workers(gatepost: Gatepost) -> None:
    """With ids of their own they may: a worker dials every socket in the pool's folder."""
    gatepost.frontend(ready=False)
    worker = gatepost.worker()
    gatepost.programs[0].ready()
    first = gatepost.port
    gatepost.port = free_port()
    gatepost.frontend_toml["id"] = "mx2"
    gatepost.listener["address"] = f"127.0.0.1:{gatepost.port}"
    gatepost.frontend()
    for port in (first, gatepost.port):
        gatepost.port = port
        with gatepost.connect() as client:
            client.ehlo()
            wait_until(
                lambda: client.command("MAIL FROM:<bob@example.net>").code == 250, 5, "a worker"
            )
            client.command("RCPT TO:<alice@example.com>", 250)
            assert client.data(b"Subject: x\r\n\r\n").code == 250
            client.quit()
    assert worker.is_running
    assert len(gatepost.maildir) == 2


def test_68_different_plugins_in_one_pool(scene: Scene) -> None:
    """A hook goes to the workers that registered it, also if workers of one pool differ."""
    one = scene.gatepost.python_worker(["vrfy"], pool="hostile", worker={"name": "one"})
    two = scene.gatepost.python_worker(["noop", "vrfy"], pool="hostile", worker={"name": "two"})
    with scene.victim() as client:
        for _ in range(10):
            client.command("VRFY alice", 252)
            client.command("NOOP", 250)
    assert "noop" not in one.hooks_seen()
    assert two.hooks_seen().count("noop") == 10
    one.close()
    with scene.victim() as client:
        client.command("VRFY alice", 252)
    two.close()


def test_70_drain_under_load(set_stage: Callable[..., Scene]) -> None:
    """Workers connect and drain while sessions run: no failure, no delay, no second attempt."""
    scene = set_stage(grace_ms=0)
    attempts: list[int] = []

    def handle(event: Message) -> str:
        attempts.append(event["attempt"])
        time.sleep(0.002)
        return "ok"

    def fresh(number: int):
        return scene.gatepost.python_worker(
            ["vrfy"], handle, pool="hostile", worker={"name": f"v{number}"}
        )

    over = threading.Event()
    problems: list[str] = []

    def run() -> None:
        try:
            with scene.victim() as client:
                while not over.is_set():
                    client.command("VRFY alice", 250)
        except AssertionError as error:
            problems.append(str(error))

    workers = [fresh(0), fresh(1)]
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(2, 12):
        workers.append(fresh(number))
        old = workers.pop(0)
        old.drain()
        time.sleep(0.15)
    over.set()
    for thread in threads:
        thread.join(10)
    assert not problems, problems[0]
    assert set(attempts) == {1}
    for worker in workers:
        worker.close()


def test_70_the_frontend_stops_while_events_are_out(gatepost: Gatepost) -> None:
    """SIGTERM with events in flight: each client gets its reply, then 421."""
    frontend = gatepost.frontend()
    held: list[Message] = []
    worker = gatepost.python_worker(["mail"], held.append, concurrency=1_000)
    # As many as a worker gets before its first answer (slow start).
    clients = [gatepost.connect() for _ in range(4)]
    for client in clients:
        client.ehlo()
        client.send(b"MAIL FROM:<bob@example.net>\r\n")
    wait_until(lambda: len(held) == 4, 10, "4 events")
    frontend.signal(signal.SIGTERM)
    time.sleep(0.2)
    for event in held:
        worker.raw.answer(event, "ok")
    for client in clients:
        assert client.reply().code in (250, 421), client.describe("")
    frontend.exit_code(10)
    worker.close()


@proves("message_lost")
@pytest.mark.parametrize("how", ["deleted", "truncated"])
def test_71_the_spool_file_is_gone(gatepost: Gatepost, how: str) -> None:
    """What cannot be read any more is not accepted: 4yz, and no session suffers."""
    # The worker of pool first dials one socket: with a second event loop, a session could come to one that has none.
    gatepost.frontend_toml["event_loops"] = 1
    gatepost.frontend_toml["pool"] = [
        {"name": "first", "minimum_workers": 0},
        {"name": "second", "minimum_workers": 1},
    ]
    config = gatepost.worker_config("second", "rcpt_ok", "queue/maildir {mail}")
    frontend = gatepost.frontend(ready=False)
    gatepost.worker("second", config=config)

    def vandal(event: Message) -> str:
        path = Path(event["transaction"]["message"]["path"])
        path.unlink() if how == "deleted" else os.truncate(path, 10)
        return "declined"

    worker = gatepost.python_worker({"data_post": {"needs": ["message"]}}, vandal, pool="first")
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        reply = client.data(b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 3_000)
        assert 400 <= reply.code < 500, client.describe(str(reply))
        client.command("NOOP", 250)
    worker.close()
    assert len(gatepost.maildir) == 0
    gatepost.spool_is_empty()


@proves("message_lost")
def test_71_the_spool_is_full(gatepost: Gatepost) -> None:
    """No space for the message: 452, the session goes on, small mail too once there is."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    spool = gatepost.folder / "spool"
    spool.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", spool])
    if mounted.returncode != 0:
        pytest.skip("cannot mount here")
    try:
        gatepost.run()
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            reply = client.data(b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 40_000)
            assert reply.code in (451, 452) and reply.status == "4.3.1", client.describe(str(reply))
            client.deliver(b"Subject: small\r\n\r\n")
            client.quit()
        gatepost.stop()
    finally:
        subprocess.run(["umount", spool], check=True)


@proves("out_full")
def test_71_a_worker_fills_the_disk(gatepost: Gatepost) -> None:
    """A replacement that there is no room to copy is refused; the next message goes on."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    spool = gatepost.folder / "spool"
    spool.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", spool]).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        gatepost.frontend()
        out = spool / "mx1" / "out" / "policy"

        def fill(event: Message) -> Message | str:
            if event["hook"] != "data_post":
                return accepting()(event)  # type: ignore[return-value]
            with (out / "huge").open("wb") as file:
                try:
                    file.write(b"X: y\r\n\r\n" + b"z" * 70 + b"\r\n" * 4_000_000)
                except OSError:
                    pass
            return {
                "verdict": "declined",
                "actions": [{"op": "message.replace", "path": "huge"}],
            }

        worker = gatepost.python_worker(["rcpt", "data_post", "queue"], fill)
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope()
            reply = client.data(b"Subject: x\r\n\r\n")
            assert 400 <= reply.code < 500, client.describe(str(reply))
            worker.handler = accepting()
            (out / "huge").unlink(missing_ok=True)
            client.deliver(b"Subject: small\r\n\r\n")
        worker.close()
        gatepost.stop()
    finally:
        subprocess.run(["umount", spool], check=True)


@proves("out_full")
def test_71_what_workers_leave_is_removed_at_start(gatepost: Gatepost) -> None:
    """Files, links and folders that no verdict can name any more are removed; the targets of links stay."""
    out = gatepost.folder / "spool" / "mx1" / "out"
    target = gatepost.folder / "target"
    target.mkdir()
    (target / "precious").write_text("precious")
    for pool in ["policy", "gone"]:
        (out / pool / "deep" / "deeper").mkdir(parents=True)
        (out / pool / "deep" / "deeper" / "file").write_text("x")
        (out / pool / "link").symlink_to(target)
        os.mkfifo(out / pool / "fifo")
        (out / pool).joinpath(os.fsdecode(b"caf\xe9")).write_text("x")
    gatepost.run()
    assert {pool.name: list(pool.iterdir()) for pool in out.iterdir()} == {"policy": [], "gone": []}
    assert (target / "precious").read_text() == "precious"


@proves("out_full")
def test_71_what_the_last_worker_left_is_removed(gatepost: Gatepost) -> None:
    """Once no worker is connected, files are removed without waiting for the longest deadline."""
    gatepost.frontend()
    out = gatepost.folder / "spool" / "mx1" / "out" / "policy"
    worker = gatepost.python_worker(["rcpt"], accepting())
    (out / "left").write_text("x")
    worker.close()
    wait_until(lambda: not list(out.iterdir()), 30, "an empty folder")


def test_72_many_workers_one_session(set_stage: Callable[..., Scene]) -> None:
    """100 workers with endless credit and one session."""
    scene = set_stage(max_connections=200)
    workers = [scene.worker(["vrfy"], concurrency=100) for _ in range(100)]
    with scene.victim() as client:
        client.send(b"VRFY alice\r\n")
        failed_by_policy(client)
    for worker in workers:
        worker.close()


def test_72_many_sessions_one_slot(set_stage: Callable[..., Scene]) -> None:
    """100 sessions and one worker that takes one event at a time: all served, in order."""
    patience = round(DEADLINE_MS * SLOWNESS)
    scene = set_stage(deadline_ms=patience, max_deadline_ms=patience)
    served: list[str] = []

    def handle(event: Message) -> str:
        served.append(event["args"]["argument"])
        return "ok"

    worker = scene.gatepost.python_worker(
        ["vrfy"], handle, pool="hostile", worker={"name": "narrow"}, concurrency=1
    )
    clients = [scene.victim() for _ in range(100)]
    for number, client in enumerate(clients):
        client.send(b"VRFY user%d\r\n" % number)
    for client in clients:
        client.expect(250)
        client.close()
    assert len(served) == 100
    worker.close()
