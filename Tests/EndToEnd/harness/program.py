"""A child process: started, known to be ready, watched, ended by its pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from .waiting import wait_until

#: How long a program may take to start or end. Debug binaries on a busy machine are slow.
PATIENCE = float(os.environ.get("GATEPOST_PATIENCE", "20"))


class Program:
    """One process with its standard output in `lines` and its standard error in a file."""

    def __init__(
        self,
        name: str,
        argv: list[str | Path],
        log: Path,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log_path = log
        self.lines: list[str] = []
        self.expects_exit: int | None = 0
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(each) for each in argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
            )
        self._changed = threading.Condition()
        self._at_end = False
        self._reader = threading.Thread(target=self._read, name=f"{name} stdout", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._at_end = True
            self._changed.notify_all()

    # Waiting

    def ready(self, prefix: str = "ready", seconds: float = PATIENCE) -> str:
        """Waits for the line on standard output that starts with `prefix` and returns it."""

        def found() -> str | None:
            return next((line for line in self.lines if line.startswith(prefix)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._at_end, seconds)
            line = found()
        if line is None:
            state = "is still running" if self.is_running else f"ended with {self.exit_code()}"
            raise AssertionError(f"{self.name} said no line `{prefix} …`; it {state}{self.tail()}")
        return line

    def is_ready(self, prefix: str = "ready") -> bool:
        with self._changed:
            return any(line.startswith(prefix) for line in self.lines)

    def logged(self, pattern: str, seconds: float = 5, after: int = 0) -> str:
        """Waits for a log line that `pattern` (a regular expression) matches, and returns it.

        `after` is a position that `log_position()` gave: what was logged before does not count.
        """

        def found() -> str | None:
            for line in self.log()[after:].splitlines():
                if re.search(pattern, line):
                    return line
            return None

        return wait_until(found, seconds, lambda: f"{self.name} logging /{pattern}/{self.tail()}")

    def log_position(self) -> int:
        return len(self.log())

    def exit_code(self, seconds: float = PATIENCE) -> int:
        """Waits for the end of the process."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(
                f"{self.name} (pid {self.pid}) did not end in {seconds:g} s{self.tail()}"
            ) from None

    # Acting

    def signal(self, number: int) -> None:
        if self.is_running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits until the kernel is done with it."""
        self.expects_exit = None
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM; returns the exit code, which is -15 for a program that does not handle it."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return self.exit_code(seconds)

    def abandon(self) -> None:
        """Ends whatever is left without asking how."""
        if self.is_running:
            self._process.kill()
        self._process.wait()
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    # Looking

    def log(self) -> str:
        try:
            return self.log_path.read_text("utf-8", "backslashreplace")
        except FileNotFoundError:
            return ""

    def tail(self, lines: int = 25) -> str:
        """The end of the log, to append to a message; if the program crashed, its message about that."""
        log = self.log().splitlines()
        last = log[-lines:]
        for number, line in enumerate(log):
            if re.search(r"^Fatal |^Simultaneous accesses|Program crashed:", line):
                last = log[number : number + 4 * lines]
                break
        text = "\n".join(f"    {line}" for line in last) or "    (empty)"
        return f"\n  log of {self.name} (pid {self.pid}), last {len(last)} lines:\n{text}"

    def resident_octets(self) -> int:
        return self._status("VmRSS") * 1024

    def peak_octets(self) -> int:
        return self._status("VmHWM") * 1024

    def cpu_seconds(self) -> float:
        """What it has used of the processor so far, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise AssertionError(f"{self.name} (pid {self.pid}) has no {key}: it ended{self.tail()}")

    def descriptors(self) -> list[str]:
        """What the process has open, as /proc shows it."""
        folder = Path(f"/proc/{self.pid}/fd")
        found = []
        for entry in folder.iterdir():
            try:
                found.append(os.readlink(entry))
            except FileNotFoundError:
                continue
        return sorted(found)

    def children(self) -> list[int]:
        """The pids of its child processes."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        found = set(text.split())
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                found |= set((task / "children").read_text().split())
            except FileNotFoundError:
                continue
        return sorted(int(pid) for pid in found)
