"""Started as root, programs become another user for good; what they leave behind is not for others to read."""

from __future__ import annotations

import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness import certificates
from harness.gatepost import BINARIES, DELIVERING, Gatepost
from harness.program import Program
from harness.waiting import wait_until
from harness.wire import Message, accepting

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
USER = pwd.getpwnam("nobody")

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def status(pid: int | str, key: str) -> list[str]:
    """The words of a line of /proc/<pid>/status; `pid` may be that of a thread, as `<pid>/task/<thread>`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split()[1:]
    raise AssertionError(f"{pid} has no {key}")


def is_alive(pid: int) -> bool:
    try:
        return status(pid, "State")[0] != "Z"
    except FileNotFoundError:
        return False


def low_port() -> int:
    """A free port that only root may bind."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 512:
        pytest.skip("every user may bind every port here")
    # Not the same as another test that runs now.
    for port in random.sample(range(512, first), 50):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def is_the_user(pid: int, groups: list[int] | None = None) -> None:
    """Each thread for good: real, effective, saved and file system ids, groups, and no capability."""
    if groups is None:
        groups = os.getgrouplist("nobody", USER.pw_gid)
    for name in os.listdir(f"/proc/{pid}/task"):
        thread = f"{pid}/task/{name}"
        assert status(thread, "Uid") == [str(USER.pw_uid)] * 4
        assert status(thread, "Gid") == [str(USER.pw_gid)] * 4
        assert set(status(thread, "Groups")) == {str(group) for group in groups}
        for key in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status(thread, key)[0], 16) == 0, key


def keeps_its_memory(pid: int) -> None:
    """No core file, and no look by another process of its user: the files in /proc are root's then."""
    assert re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


@pytest.fixture
def private(gatepost: Gatepost) -> Gatepost:
    """An installation whose programs become `nobody`, with a low port."""
    gatepost.folder.chmod(0o711)
    gatepost.maildir.path.mkdir()
    os.chown(gatepost.maildir.path, USER.pw_uid, USER.pw_gid)
    gatepost.port = low_port()
    gatepost.listener["address"] = f"127.0.0.1:{gatepost.port}"
    gatepost.frontend_toml["user"] = "nobody"
    return gatepost


def run(gatepost: Gatepost) -> Program:
    gatepost.write_frontend_toml()
    program = gatepost.start("gatepost", "run", "--config", gatepost.config, "--workers", "1")
    program.ready()
    return program


def children(program: Program) -> dict[str, int]:
    """The processes that `gatepost run` started, by the names of their programs."""
    found = {}
    for pid in program.children():
        name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        found[Path(os.fsdecode(name)).name] = pid
    return found


@needs_root
def test_frontend_and_worker_become_the_user(private: Gatepost) -> None:
    private.pool["minimum_workers"] = 1
    supervisor = run(private)
    programs = children(supervisor)
    assert set(programs) == {"gatepost-frontend", "gatepost-worker"}
    for pid in programs.values():
        is_the_user(pid)
        keeps_its_memory(pid)
    with private.connect() as client:
        client.ehlo()
        client.deliver(MESSAGE)
        client.quit()
    stored = private.maildir.only().path.stat()
    assert (stored.st_uid, stored.st_mode & 0o777) == (USER.pw_uid, 0o600)
    shared = (private.folder / "run").stat()
    assert (shared.st_uid, shared.st_gid, shared.st_mode & 0o7777) == (0, USER.pw_gid, 0o1771)
    own = (private.folder / "spool").stat()
    assert (own.st_uid, own.st_gid, own.st_mode & 0o7777) == (USER.pw_uid, USER.pw_gid, 0o751)


@needs_root
def test_a_frontend_that_is_started_again_binds_and_becomes_the_user_again(private: Gatepost) -> None:
    supervisor = run(private)
    first = children(supervisor)["gatepost-frontend"]
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        second = children(supervisor).get("gatepost-frontend", first)
        if second == first:
            return False
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", private.port)) == 0

    wait_until(is_back, 30, "a new frontend listens")
    is_the_user(children(supervisor)["gatepost-frontend"])


@needs_root
def test_no_program_outlives_its_supervisor(private: Gatepost) -> None:
    """The kernel forgets to kill a child with its parent when the child changes its user."""
    supervisor = run(private)
    programs = children(supervisor)
    supervisor.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in programs.values()), 20, "they end with it")
    shutil.rmtree(private.folder / "run" / "pools")


@needs_root
def test_the_address_is_bound_before_workers_come_and_open_only_then(private: Gatepost) -> None:
    private.pool["minimum_workers"] = 1
    private.write_frontend_toml()
    frontend = private.frontend(ready=False)
    wait_until(lambda: private.socket().exists(), 20, "the pool's socket is there")
    is_the_user(frontend.pid)
    with socket.socket() as client:
        with pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", private.port))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        with pytest.raises(OSError):
            other.bind(("127.0.0.1", private.port))
    private.worker(ready=False).ready()
    frontend.ready()
    with private.connect() as client:
        client.ehlo()
        client.quit()


@needs_root
def test_certificates_are_read_as_the_user_at_the_start_and_at_sighup(private: Gatepost) -> None:
    certificate = certificates.make(private.folder, "mx", "mx1.example.com")
    private.frontend_toml["tls"] = {"certificate": [certificate.toml], "reload_ms": 0}
    private.listener["tls"] = "starttls"
    key = Path(certificate.toml["key"])
    key.chmod(0o600)
    frontend = private.frontend(ready=False)
    assert frontend.exit_code() == 78
    frontend.expects_exit = None
    assert str(key) in frontend.log() and "Permission denied" in frontend.log()
    os.chown(key, 0, USER.pw_gid)
    key.chmod(0o640)
    frontend, _ = private.run()
    before = frontend.log_position()
    frontend.signal(signal.SIGHUP)
    frontend.logged("reloaded", after=before)
    frontend.logged("certificates", after=before)
    assert "cannot be loaded" not in frontend.log()[before:]


@needs_root
def test_a_configuration_that_the_user_cannot_read_is_named(private: Gatepost) -> None:
    private.write_frontend_toml()
    private.config.chmod(0o700)
    frontend = private.start("gatepost-frontend", "--config", private.config)
    assert frontend.exit_code() == 78
    assert 'user: "nobody" cannot read this file' in frontend.log()
    frontend.expects_exit = None


@needs_root
def test_another_user_cannot_become_it(private: Gatepost) -> None:
    """A program that is the user already goes on; one that is neither the user nor root ends."""
    private.listener["address"] = "127.0.0.1:0"
    private.write_frontend_toml()
    for folder in ("run", "spool"):
        (private.folder / folder).mkdir()
        os.chown(private.folder / folder, USER.pw_uid, USER.pw_gid)
    binary = BINARIES / "gatepost-frontend"
    command = ["setpriv", "--reuid", "daemon", "--regid", "daemon", "--clear-groups", binary, "--config", private.config]
    if subprocess.run([*command[:6], "test", "-x", binary]).returncode != 0:
        pytest.skip("another user cannot start the programs where they were built")
    stranger = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert stranger.returncode == 69
    assert "cannot become (start as root, or as this user) nobody" in stranger.stderr
    command[2] = "nobody"
    command[4] = "nogroup"
    own = Program("gatepost-frontend-own", command, private.folder / "own.log", cwd=private.folder)
    private.programs.append(own)
    own.ready()
    is_the_user(own.pid, groups=[])
    keeps_its_memory(own.pid)


def start_with_umask(gatepost: Gatepost, umask: int) -> Program:
    """`gatepost run` as an operator starts it whose umask is this one."""
    gatepost.write_frontend_toml()
    words = f'umask {umask:04o}; exec "$0" run --config "$1" --workers 1'
    command = ["/bin/sh", "-c", words, BINARIES / "gatepost", gatepost.config]
    program = Program("gatepost-run", command, gatepost.folder / "run.log", cwd=gatepost.folder)
    gatepost.programs.append(program)
    program.ready()
    return program


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=["none", "usual", "strict"])
def test_modes_do_not_depend_on_the_umask(gatepost: Gatepost, umask: int) -> None:
    gatepost.plugins(*DELIVERING)
    start_with_umask(gatepost, umask)
    run, spool = gatepost.folder / "run", gatepost.folder / "spool"
    expected = {
        run: 0o750,
        run / "gatepost-mx1.pid": 0o644,
        run / "mx1.lock": 0o640,
        run / "pools": 0o755,
        run / "pools" / "policy": 0o755,
        gatepost.socket(): 0o660,
        spool: 0o751,
        spool / "mx1": 0o750,
        spool / "mx1" / "out": 0o751,
        spool / "mx1" / "out" / "policy": 0o770,
        spool / "poison": 0o700,
    }
    assert {path: path.stat().st_mode & 0o7777 for path in expected} == expected
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(MESSAGE)
        client.quit()
    assert gatepost.maildir.only().path.stat().st_mode & 0o777 == 0o600
    assert gatepost.maildir.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=["none", "strict"])
def test_a_message_in_the_spool_is_for_the_group(gatepost: Gatepost, umask: int) -> None:
    modes = []

    def look(event: Message) -> Message | str:
        if event["hook"] == "data_post":
            modes.append(Path(event["transaction"]["message"]["path"]).stat().st_mode & 0o7777)
        return accepting()(event)  # type: ignore[return-value]

    gatepost.write_frontend_toml()
    words = f'umask {umask:04o}; exec "$0" --config "$1"'
    command = ["/bin/sh", "-c", words, BINARIES / "gatepost-frontend", gatepost.config]
    frontend = Program("gatepost-frontend-umask", command, gatepost.folder / "umask.log", cwd=gatepost.folder)
    gatepost.programs.append(frontend)
    hooks = {"rcpt": {}, "data_post": {"needs": ["message"]}, "queue": {}}
    with gatepost.python_worker(hooks, look):
        frontend.ready()
        with gatepost.connect() as client:
            client.ehlo()
            client.deliver(MESSAGE)
            client.quit()
    assert modes == [0o640]


@pytest.mark.parametrize("is_allowed", [False, True], ids=["default", "core_dumps"])
def test_core_files(gatepost: Gatepost, is_allowed: bool) -> None:
    """A crash writes the memory of a program to a file only with `core_dumps = true`."""
    if is_allowed:
        gatepost.frontend_toml["core_dumps"] = True
    gatepost.write_frontend_toml()
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    for program in gatepost.run():
        allowed = resource.prlimit(program.pid, resource.RLIMIT_CORE)
        assert allowed == (limit if is_allowed else (0, 0))
