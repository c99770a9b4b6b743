"""`gatepost run` and `gatepost check` with programs beside them that only pretend."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = pathlib.Path(os.environ.get("GATEPOST_BIN", ROOT / ".build/debug"))

# Under nohup SIGHUP is ignored, programs inherit that, and a shell cannot trap what it was born to ignore.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

FRONTEND = """#!/bin/bash
[[ -f "$0.code" ]] && exit "$(cat "$0.code")"
trap 'echo "frontend drains" >&2; exit 0' TERM
trap 'echo "frontend reloads" >&2' HUP
echo $$ >"$0.pid.$$"
echo "ready 127.0.0.1:2525 $*"
while :; do sleep 0.05; done
"""

WORKER = """#!/bin/bash
[[ "$*" == *--check* ]] && { cat "$0.out"; cat "$0.err" >&2; exit "$(cat "$0.code")"; }
[[ -f "$0.code" ]] && exit "$(cat "$0.code")"
[[ -f "$0.stubborn" ]] && trap '' TERM || trap 'echo "worker drains" >&2; exit 0' TERM
# The first beat is in the pipe before a test can stop this process: until it comes, `gatepost run` gives
# a child a minute for its start.
printf . >&3
echo $$ >"$0.pid.$$"
echo "ready"
while :; do printf . >&3; sleep 0.05; done
"""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition, seconds=10.0):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "not within time"
        time.sleep(0.01)


class Installation:
    """A folder with `gatepost` and two programs that pretend, and a configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.gatepost = folder / "gatepost"
        shutil.copy(BUILT / "gatepost", self.gatepost)
        for name, text in [("gatepost-frontend", FRONTEND), ("gatepost-worker", WORKER)]:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.config = folder / "config"
        self.config.mkdir()
        (self.config / "plugins").write_text("rcpt_ok\n")
        self.running = []

    def install_worker(self):
        """From here on `gatepost-worker` is the true one."""
        (self.folder / "gatepost-worker").unlink()
        (self.folder / "gatepost-worker").symlink_to(BUILT / "gatepost-worker")

    def pids(self, name):
        """The processes of a program that still live, in no order."""
        found = self.folder.glob(f"{name}.pid.*")
        return [pid for pid in (int(f.name.rsplit(".", 1)[1]) for f in found) if is_alive(pid)]

    def frontends(self):
        return self.pids("gatepost-frontend")

    def workers(self):
        return self.pids("gatepost-worker")

    def run(self, *arguments, workers=2, **options):
        process = subprocess.Popen(
            [self.gatepost, "run", "--config", self.config, "--workers", str(workers), *arguments],
            stdout=subprocess.PIPE,
            stderr=open(self.folder / "stderr", "ab"),
            text=True,
            **options,
        )
        self.running.append(process)
        return process

    def check(self, through=()):
        """`gatepost check`, started by the command `through`."""
        return subprocess.run(
            [*through, self.gatepost, "check", "--config", "config"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def errors(self):
        return (self.folder / "stderr").read_text()


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.wait()
    for pid in made.frontends() + made.workers():
        os.kill(pid, signal.SIGKILL)
