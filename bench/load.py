"""Load: Postfix's smtp-source, and what a run of it says."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How messages are sent: `kept` connections carry many, others one each."""

    clients: int
    octets: int
    kept: bool

    @property
    def name(self) -> str:
        return f"{'kept' if self.kept else 'each'}, {self.clients} clients, {size(self.octets)}"


def size(octets: int) -> str:
    """4096 → `4 KiB`."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= factor and octets % factor == 0:
            return f"{octets // factor} {unit}"
    return f"{octets} B"


def send(port: int, load: Load, messages: int, timeout: float = 120) -> float:
    """Sends so many messages; returns messages a second.

    smtp-source ends with an error when any reply is not what it wants, so a system that refuses
    mail is never taken for a fast one.
    """
    argv = ["smtp-source", *(["-d"] if load.kept else []), "-m", str(messages)]
    argv += ["-s", str(min(load.clients, messages)), "-l", str(load.octets)]
    argv += ["-f", "bob@example.net", "-t", "alice@example.com", f"inet:127.0.0.1:{port}"]
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise RuntimeError(f"smtp-source ended with {done.returncode}: {done.stderr[-500:]}")
    return messages / seconds


def messages_for(port: int, load: Load, seconds: float) -> int:
    """How many messages take about `seconds`: found by sending ever more."""
    messages = max(load.clients, 10)
    while True:
        began = time.monotonic()
        rate = send(port, load, messages)
        if time.monotonic() - began > seconds / 4 or messages >= 1_000_000:
            return max(load.clients, int(rate * seconds))
        messages *= 4
