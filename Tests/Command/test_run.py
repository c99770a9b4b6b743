"""`gatepost run` starts and restarts its programs, stops them in order, and leaves none behind."""

import json
import os
import signal
import socket
import time

import pytest
from conftest import eventually, is_alive


def started(installation, **options):
    process = installation.run(**options)
    assert process.stdout.readline().startswith("ready 127.0.0.1:2525")
    eventually(lambda: len(installation.workers()) == options.get("workers", 2))
    return process


def test_ready_is_the_frontends_line_and_arguments_are_passed(installation):
    process = installation.run("--listen", "127.0.0.1:2600", workers=0)
    line = process.stdout.readline()
    assert line == f"ready 127.0.0.1:2525 --config {installation.config} --listen 127.0.0.1:2600\n"


def test_a_killed_worker_is_started_again_for_ever(installation):
    process = started(installation)
    for _ in range(4):
        victim = installation.workers()[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in installation.workers() and len(installation.workers()) == 2)
    assert process.poll() is None
    assert installation.errors().count("was killed by signal 9; started again in") == 4


def test_its_lines_are_json_as_the_configuration_says(installation):
    (installation.config / "frontend.toml").write_text('log_format = "json"\n')
    started(installation)
    os.kill(installation.workers()[0], signal.SIGKILL)
    eventually(lambda: "started again in" in installation.errors())
    lines = [json.loads(line) for line in installation.errors().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if "started again in" in line["message"]]
    assert {"time", "level", "program", "message"} == set(line), line
    assert line["program"] == "gatepost"


def test_a_stopped_worker_is_killed_and_started_again(installation):
    # The other worker, whose beats may be late on a busy machine, must not count as hanging.
    (installation.config / "frontend.toml").write_text("hang_ms = 8000\n")
    process = started(installation)
    victim, other = installation.workers()
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: victim not in installation.workers() and len(installation.workers()) == 2, 60)
    assert other in installation.workers() and process.poll() is None
    assert "hangs: no sign of life for" in installation.errors()
    assert "was killed by signal 9; started again in 50 ms" in installation.errors()


def descriptors(pid):
    """What a process has open. A name that goes while it is read is bash's, which moves descriptors about."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def test_a_child_inherits_no_descriptor_that_the_supervisor_was_given(installation):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    given = os.readlink(f"/proc/self/fd/{write_end}")
    try:
        process = started(installation, close_fds=False)
        assert given in descriptors(process.pid)
        for pid in installation.workers() + installation.frontends():
            assert given not in descriptors(pid)
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGPIPE"])
def test_a_signal_that_means_nothing_ends_nothing(installation, name):
    process = started(installation)
    process.send_signal(getattr(signal, name))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_a_killed_frontend_is_started_again(installation):
    process = started(installation)
    os.kill(installation.frontends()[0], signal.SIGKILL)
    assert process.stdout.readline().startswith("ready")
    assert len(installation.frontends()) == 1


def test_sigterm_drains_the_frontend_and_then_the_workers(installation):
    process = started(installation)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    drained = [line for line in installation.errors().splitlines() if "drains" in line]
    assert drained == ["frontend drains", "worker drains", "worker drains"]
    assert not installation.frontends() and not installation.workers()


def test_ctrl_c_reaches_run_alone(installation):
    process = started(installation)
    groups = {os.getpgid(pid) for pid in installation.workers() + installation.frontends()}
    assert os.getpgid(process.pid) not in groups
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


def test_a_second_sigterm_kills(installation):
    (installation.folder / "gatepost-worker.stubborn").touch()
    process = started(installation)
    process.send_signal(signal.SIGTERM)
    eventually(lambda: not installation.frontends())
    time.sleep(0.2)
    assert process.poll() is None and len(installation.workers()) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert not installation.workers()


def test_no_orphan_outlives_a_killed_run(installation):
    (installation.folder / "gatepost-worker.stubborn").touch()
    process = started(installation)
    children = installation.workers() + installation.frontends()
    assert len(children) == 3
    os.kill(children[0], signal.SIGSTOP)
    process.kill()
    process.wait()
    eventually(lambda: not any(is_alive(pid) for pid in children))


def test_sighup_replaces_the_workers_one_for_one(installation):
    process = started(installation)
    before = set(installation.workers())
    process.send_signal(signal.SIGHUP)
    eventually(lambda: len(installation.workers()) == 2 and not before & set(installation.workers()))
    eventually(lambda: "frontend reloads" in installation.errors())
    assert len(installation.frontends()) == 1


def test_sighup_with_broken_plugins_keeps_the_old_workers(installation):
    process = started(installation)
    before = set(installation.workers())
    (installation.folder / "gatepost-worker.code").write_text("78")
    process.send_signal(signal.SIGHUP)
    eventually(lambda: installation.errors().count("the old one stays") == 2)
    assert set(installation.workers()) == before


@pytest.mark.parametrize("program", ["gatepost-frontend", "gatepost-worker"])
def test_a_mistake_at_the_start_ends_run_with_its_code(installation, program):
    (installation.folder / f"{program}.code").write_text("78")
    if program == "gatepost-worker":
        (installation.folder / "gatepost-frontend").write_text("#!/bin/sh\nsleep 60\n")
    process = installation.run()
    assert process.wait(timeout=10) == 78


def test_a_broken_configuration_starts_nobody(installation):
    (installation.config / "frontend.toml").write_text("idd = 1\nshutdown_ms = 'x'\n")
    process = installation.run()
    assert process.wait(timeout=10) == 78
    errors = installation.errors().splitlines()
    assert len(errors) == 2 and "frontend.toml:1: idd" in errors[0]
    assert not installation.frontends()


def test_a_program_that_is_missing_is_named(installation):
    (installation.folder / "gatepost-worker").unlink()
    process = installation.run()
    assert process.wait(timeout=10) == 69
    assert "gatepost-worker is not there" in installation.errors()


@pytest.mark.parametrize("arguments", [["--workers", "-1"], ["--listen", "mx:25"], ["--nonsense"]])
def test_wrong_arguments_are_a_usage_error(installation, arguments):
    process = installation.run(*arguments)
    assert process.wait(timeout=10) == 64


def test_systemd_is_told_when_mail_is_accepted(installation, monkeypatch):
    path = str(installation.folder / "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    listener.settimeout(10)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    started(installation)
    assert listener.recv(100) == b"READY=1"
    for pid in installation.workers() + installation.frontends():
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"NOTIFY_SOCKET" not in file.read()


def test_the_process_is_in_a_file_and_a_second_run_is_refused(installation):
    process = started(installation)
    file = installation.folder / "var/run/gatepost.pid"
    assert file.read_text() == f"{process.pid}\n"
    second = installation.run()
    assert second.wait(timeout=10) == 69
    assert "already running" in installation.errors()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert not file.exists()


def test_a_file_left_by_a_killed_run_is_taken_over(installation):
    process = started(installation)
    children = installation.workers() + installation.frontends()
    process.kill()
    process.wait()
    eventually(lambda: not any(is_alive(pid) for pid in children))
    assert started(installation).poll() is None


def test_two_frontends_with_ids_of_their_own_share_a_folder(installation):
    first = started(installation, workers=0)
    (installation.config / "frontend.toml").write_text('id = "mx2"\n')
    second = started(installation, workers=0)
    folder = installation.folder / "var/run"
    assert (folder / "gatepost.pid").read_text() == f"{first.pid}\n"
    assert (folder / "gatepost-mx2.pid").read_text() == f"{second.pid}\n"
    third = installation.run()
    assert third.wait(timeout=10) == 69
    assert "already running, see " in installation.errors()
    assert "gatepost-mx2.pid" in installation.errors()


@pytest.mark.parametrize("what", ["link", "second name", "folder all can write", "foreign"])
def test_a_process_file_that_another_user_could_have_made_is_refused(installation, what):
    folder = installation.folder / "var/run"
    folder.mkdir(parents=True)
    file = folder / "gatepost.pid"
    victim = installation.folder / "victim"
    victim.write_text("precious\n")
    if what == "link":
        file.symlink_to(victim)
    elif what == "second name":
        file.hardlink_to(victim)
    elif what == "foreign":
        if os.getuid() != 0:
            pytest.skip("only root can make a file of another user")
        file.write_text("precious\n")
        os.chown(file, 65534, 65534)
    else:
        folder.chmod(0o777)
    assert installation.run().wait(timeout=10) == 69
    assert f'runtime_directory = "{folder}" in frontend.toml: {folder}' in installation.errors()
    assert victim.read_text() == "precious\n"
    assert not installation.frontends()


def test_a_folder_that_cannot_be_made_is_named_with_its_key(installation):
    (installation.config / "frontend.toml").write_text('runtime_directory = "/proc/gatepost"\n')
    assert installation.run().wait(timeout=10) == 69
    assert (
        'runtime_directory = "/proc/gatepost" in frontend.toml: cannot make the folder '
        "/proc/gatepost: No such file or directory; name a folder this user may write"
    ) in installation.errors()
