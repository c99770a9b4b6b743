"""An installation of Gatepost: its folder, its configuration, its processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from . import toml
from .maildir import Maildir
from .ports import free_port
from .program import PATIENCE, Program
from .smtp import Dialogue
from .waiting import wait_until
from .wire import RawWorker, Worker

ROOT = Path(__file__).resolve().parents[3]
BINARIES = Path(os.environ.get("GATEPOST_BIN", ROOT / ".build" / "debug")).resolve()

#: Programs without optimisation: what counts octets one by one takes ten times as long.
IS_DEBUG = "debug" in BINARIES.parts

#: How many times longer programs may take that were built with a sanitizer.
SLOWNESS = float(os.environ.get("GATEPOST_SLOWNESS", "1"))
#: Added to limits of memory: the address sanitizer keeps freed memory for a while.
EXTRA_OCTETS = int(os.environ.get("GATEPOST_EXTRA_OCTETS", "0"))

#: The shortest configuration that delivers.
DELIVERING = ["rcpt_ok", "queue/maildir {mail}"]


class Gatepost:
    """A fresh folder under /tmp with `config/`, and the programs that were started in it.

    The folder's name is short, because the path of a Unix socket has at most 107 octets.
    """

    def __init__(self, **frontend: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gp", dir="/tmp"))
        self.config = self.folder / "config"
        self.port = free_port()
        self.programs: list[Program] = []
        self.maildir = Maildir(self.folder / "mail")
        #: The content of frontend.toml: change it before the frontend starts.
        self.frontend_toml: dict[str, Any] = {
            "id": "mx1",
            "runtime_directory": str(self.folder / "run"),
            "spool_directory": str(self.folder / "spool"),
            "shutdown_ms": 5_000,
            "listener": [{"name": "mx", "address": f"127.0.0.1:{self.port}"}],
            "pool": [{"name": "policy", "minimum_workers": 0}],
        }
        self.frontend_toml.update(frontend)
        self.config.mkdir()
        self.control("me", "mx1.example.com")
        self.control("rcpthosts", "example.com", "example.org")
        self.plugins(*DELIVERING)
        self._write_worker_toml(self.config, {})

    # Configuration

    @property
    def listener(self) -> dict[str, Any]:
        return self.frontend_toml["listener"][0]

    @property
    def pool(self) -> dict[str, Any]:
        """The first pool's table."""
        return self.frontend_toml["pool"][0]

    def offer_auth(self) -> None:
        """AUTH in clear text, and logins that fail without an end or a delay."""
        self.listener.update(auth=["PLAIN", "SCRAM-SHA-256"], auth_without_tls=True)
        self.limits(auth_failure_delay_ms=0, max_auth_failures=0, max_auth_failures_per_ip=0)

    def limits(self, **limits: int) -> None:
        self.frontend_toml.setdefault("limits", {}).update(limits)

    def control(self, name: str, *lines: str, config: str = "config") -> None:
        """Writes a control file as an editor does: a new file in the place of the old one."""
        path = self.folder / config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.replace(path)

    def plugins(self, *lines: str, config: str = "config") -> None:
        """Writes `plugins`; `{mail}` in a line is the Maildir, `{folder}` the folder."""
        names = {"mail": self.maildir.path, "folder": self.folder}
        text = [line.format(**names) if "{" in line else line for line in lines]
        self.control("plugins", *text, config=config)

    def worker_config(self, name: str, *plugins: str, **worker_toml: Any) -> str:
        """A second configuration folder, for workers of another pool; returns its name."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for each in ("me", "rcpthosts"):
            shutil.copy(self.config / each, folder / each)
        self.plugins(*plugins, config=name)
        self._write_worker_toml(folder, worker_toml)
        return name

    def worker_toml(self, **values: Any) -> None:
        self._write_worker_toml(self.config, values)

    def _write_worker_toml(self, folder: Path, values: dict[str, Any]) -> None:
        table = {"runtime_directory": str(self.folder / "run"), **values}
        (folder / "worker.toml").write_text(toml.dump(table))

    def write_frontend_toml(self) -> None:
        (self.config / "frontend.toml").write_text(toml.dump(self.frontend_toml))

    # Programs

    def start(
        self, program: str, *arguments: str | Path, name: str | None = None, **environment: str
    ) -> Program:
        """Starts one of the project's programs."""
        path = BINARIES / program
        if not path.exists():
            raise AssertionError(f"{path} is missing: build first, or set GATEPOST_BIN")
        number = sum(each.name.startswith(name or program) for each in self.programs)
        label = f"{name or program}-{number}"
        log = self.folder / f"{label}.log"
        started = Program(label, [path, *arguments], log, environment, cwd=self.folder)
        self.programs.append(started)
        return started

    def frontend(self, *arguments: str, ready: bool = True, config: str = "config") -> Program:
        """Starts gatepost-frontend and waits until it accepts mail."""
        if config == "config":
            self.write_frontend_toml()
        started = self.start("gatepost-frontend", "--config", self.folder / config, *arguments)
        if ready:
            started.ready()
        return started

    def worker(
        self, pool: str | None = None, *, config: str = "config", ready: bool = True
    ) -> Program:
        """Starts gatepost-worker; if `ready`, waits until the frontend welcomed it."""
        arguments: list[str | Path] = ["--config", self.folder / config]
        if pool is not None:
            arguments += ["--pool", pool]
        started = self.start("gatepost-worker", *arguments)
        if ready:
            started.ready()
        return started

    def run(self) -> tuple[Program, Program]:
        """A frontend with one worker, ready for mail."""
        frontend = self.frontend(ready=False)
        worker = self.worker()
        frontend.ready()
        return frontend, worker

    # Talking

    def connect(self, **options: Any) -> Dialogue:
        return Dialogue(self.port, **options)

    def socket(self, pool: str = "policy", id: str | None = None) -> Path:
        name = id or self.frontend_toml["id"]
        return self.folder / "run" / "pools" / pool / f"{name}.sock"

    def raw_worker(self, pool: str = "policy") -> RawWorker:
        return RawWorker(self.socket(pool))

    def python_worker(self, hooks: Any, *arguments: Any, pool: str = "policy", **fields: Any) -> Worker:
        return Worker(self.socket(pool), hooks, *arguments, pool=pool, **fields)

    # Looking

    def spool_files(self) -> list[Path]:
        """Messages in the spool, poison not counted."""
        spool = Path(self.frontend_toml["spool_directory"])
        return sorted(
            path
            for path in spool.rglob("*")
            if path.is_file() and "poison" not in path.relative_to(spool).parts
        )

    def sockets(self) -> list[Path]:
        return sorted((self.folder / "run").rglob("*.sock"))

    def logs(self) -> str:
        return "".join(program.tail() for program in self.programs)

    # Ending

    def stop(self) -> None:
        """SIGTERM to all that still run, newest first; nothing may be left behind."""
        problems = []
        for program in reversed(self.programs):
            if not program.is_running and program.expects_exit is None:
                continue
            was_running = program.is_running
            code = program.stop()
            if code != program.expects_exit and program.expects_exit is not None:
                how = "on SIGTERM" if was_running else "by itself"
                problems.append(f"{program.name} ended {how} with {code}{program.tail()}")
        if not problems and self.programs:
            problems += [f"left behind: {path}" for path in self.sockets() + self.spool_files()]
            # A worker that is killed leaves the file that it was writing in the Maildir's tmp.
            if all(program.expects_exit is not None for program in self.programs):
                problems += [f"left behind: {path}" for path in self.maildir.unfinished()]
        if problems:
            raise AssertionError("\n".join(problems))

    def remove(self, keep: bool = False) -> None:
        """Kills the programs that still run, and deletes the folder unless `keep`."""
        for program in self.programs:
            with contextlib.suppress(OSError):
                program.signal(signal.SIGCONT)
            program.abandon()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def spool_is_empty(self, seconds: float = PATIENCE) -> None:
        wait_until(lambda: not self.spool_files(), seconds, lambda: f"spool: {self.spool_files()}")
