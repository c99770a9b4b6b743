"""The systems under load: Gatepost in several shapes here, all others in `peers.py`.

Each is a context manager that yields what a run needs to know of it.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))
sys.path.insert(0, str(ROOT / "bench"))

from harness.certificates import Certificate  # noqa: E402
from harness.gatepost import BINARIES, Gatepost  # noqa: E402
from harness.maildir import Maildir  # noqa: E402
from harness.program import Program  # noqa: E402

import peers  # noqa: E402


@dataclass
class System:
    """A system that runs."""

    name: str
    port: int
    #: Where TLS begins with the first octet; 0 if nowhere.
    tls_port: int = 0
    #: Its processes by role, if they are ours to look at.
    programs: dict[str, list[Program]] = field(default_factory=dict)
    #: Called between two rounds.
    clean: Callable[[], None] = lambda: None

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time of each role so far, user and system."""
        return {
            role: sum(_cpu_seconds(program.pid) for program in programs)
            for role, programs in self.programs.items()
        }

    def resident_octets(self) -> dict[str, int]:
        return {
            role: sum(program.resident_octets() for program in programs)
            for role, programs in self.programs.items()
        }


def _cpu_seconds(pid: int) -> float:
    """From schedstat, which counts nanoseconds where /proc/PID/stat counts ticks of 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


#: The plugins of the configuration that the project ships, as far as they need no other server.
DEFAULT_PLUGINS = (
    *("hosts_allow", "relay", "check_earlytalker", "count_unrecognized_commands 4"),
    *("badmailfrom", "badrcptto", "rcpt_ok", "headers reject 0", "loop", "queue/maildir {mail}"),
)


#: Messages of 10 MiB and what smtp-source adds are taken by every system.
LARGE = {"max_message_octets": 64 << 20}


@contextlib.contextmanager
def gatepost(
    name: str,
    plugins: tuple[str, ...] = ("rcpt_ok", "queue/discard"),
    worker: str | Callable[[Gatepost], Program] = "gatepost-worker",
    workers: int = 1,
    spool: str = peers.DISK,
    limits: dict[str, int] | None = None,
    certificate: Certificate | None = None,
    loops: int = 1,
    prepare: Callable[[Gatepost], None] = lambda server: None,
) -> Iterator[System]:
    """A frontend and its workers; logs only errors, as every system here.

    `worker` is a program of ours, or what starts another one; `spool` is where a folder for the spool is
    made; `prepare` may write control files before the programs start; `loops` is on how many processors the frontend works. Mail lies on `peers.DISK`, as with every other system.
    """
    server = Gatepost()
    disk = Path(tempfile.mkdtemp(prefix="gp", dir=peers.DISK))
    spooled = Path(tempfile.mkdtemp(prefix="gp", dir=spool))
    try:
        server.maildir = Maildir(disk / "mail")
        server.frontend_toml["spool_directory"] = str(spooled)
        server.plugins(*plugins)
        prepare(server)
        server.limits(max_sessions=0, max_sessions_per_ip=0, max_transactions=0, **(LARGE | (limits or {})))
        server.pool["minimum_workers"] = workers
        server.frontend_toml["log_level"] = "warning"
        server.frontend_toml["event_loops"] = loops
        tls_port = peers.free_port() if certificate else 0
        if certificate:
            server.frontend_toml["tls"] = {"certificate": [certificate.toml]}
            server.frontend_toml["listener"].append(
                {"name": "tls", "address": f"127.0.0.1:{tls_port}", "tls": "implicit"}
            )
        frontend = server.frontend(ready=False)
        started = [
            worker(server)
            if callable(worker)
            else server.start(worker, "--config", server.config, "--log-level", "warning")
            for _ in range(workers)
        ]
        for program in (frontend, *started):
            program.ready()

        rounds = itertools.count()

        def clean() -> None:
            # Put aside, not removed: where thousands of inodes were just freed, new ones are slow to find.
            new = server.maildir.path / "new"
            if new.exists():
                new.rename(disk / f"round{next(rounds)}")
                new.mkdir()

        roles = {"frontend": [frontend], "workers": started}
        clean_up = clean if server.maildir.path.exists() else lambda: None
        yield System(name, server.port, tls_port, roles, clean_up)
        server.stop()
    finally:
        server.remove()
        for folder in (disk, spooled):
            shutil.rmtree(folder, ignore_errors=True)


def python_worker(server: Gatepost) -> Program:
    """A worker of the Python SDK that answers every hook."""
    environment = {
        "GATEPOST_RUNTIME_DIRECTORY": str(server.folder / "run"),
        "PYTHONPATH": str(ROOT / "sdk" / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv: list[str | Path] = [sys.executable, ROOT / "bench" / "python_worker.py"]
    worker = Program("python-worker", argv, server.folder / "python.log", environment)
    server.programs.append(worker)
    return worker


@contextlib.contextmanager
def peer(name: str, start: Callable[[], AbstractContextManager[int]]) -> Iterator[System]:
    with start() as port:
        yield System(name, port)


#: Name → what starts it, in the order of the tables.
SYSTEMS: dict[str, Callable[[], AbstractContextManager[System]]] = {
    "smtp-sink": lambda: peer("smtp-sink", peers.smtp_sink),
    "gatepost-two-hooks": lambda: gatepost("gatepost-two-hooks"),
    "gatepost-every-hook": lambda: gatepost("gatepost-every-hook", ("bench/everything",), "BenchWorker"),
    "gatepost-every-hook-2": lambda: gatepost(
        "gatepost-every-hook-2", ("bench/everything",), "BenchWorker", workers=2
    ),
    "gatepost-every-hook-4": lambda: gatepost(
        "gatepost-every-hook-4", ("bench/everything",), "BenchWorker", workers=4
    ),
    "gatepost-python": lambda: gatepost("gatepost-python", worker=python_worker),
    "gatepost-maildir": lambda: gatepost("gatepost-maildir", DEFAULT_PLUGINS),
    "gatepost-maildir-tmpfs": lambda: gatepost(
        "gatepost-maildir-tmpfs", DEFAULT_PLUGINS, spool="/dev/shm"
    ),
    "postfix-milter-proxy": lambda: peer("postfix-milter-proxy", peers.postfix_with_milter),
    "postfix-milter-queue": lambda: peer(
        "postfix-milter-queue", lambda: peers.postfix_with_milter(queue=True)
    ),
    "qpsmtpd-prefork": lambda: peer("qpsmtpd-prefork", peers.qpsmtpd_prefork),
}
#: The runs without an option: what the project promises, and the systems that it is compared with.
DEFAULT = ("smtp-sink", "gatepost-two-hooks", "gatepost-every-hook", "gatepost-maildir")
__all__ = ["BINARIES", "DEFAULT", "SYSTEMS", "System"]
