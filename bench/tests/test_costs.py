"""What a message costs in allocations and instructions, held against bench/limits.json.

Unlike time, that is the same on every machine and under every load, so a slowdown is seen when it is
made. A commit that needs more raises the limit and says why; a commit that needs a
fifth less lowers it, or the next slowdown hides in the gap.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))

import callgrind  # noqa: E402
import systems  # noqa: E402
from load import Load, send  # noqa: E402

LIMITS = json.loads((BENCH / "limits.json").read_text("utf-8"))
LOAD = Load(clients=20, octets=4_096, kept=True)
MESSAGES = 2_000


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts."""
    library = tmp_path_factory.mktemp("counter") / "malloc_counter.so"
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler, "no C compiler; the Swift toolchain has clang"
    source = Path(__file__).with_name("malloc_counter.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def per_message(system: systems.System, counts: Path) -> dict[str, dict[str, float]]:
    """Allocations and octets of each role for a message of a kept connection, once all is warm."""

    def read() -> dict[str, tuple[int, int]]:
        return {
            role: struct.unpack("QQ", (counts / str(programs[0].pid)).read_bytes())
            for role, programs in system.programs.items()
        }

    send(system.port, LOAD, MESSAGES)
    before = read()
    send(system.port, LOAD, MESSAGES)
    return {
        role: {
            "allocations": (after[0] - before[role][0]) / MESSAGES,
            "octets": (after[1] - before[role][1]) / MESSAGES,
        }
        for role, after in read().items()
    }


@pytest.mark.parametrize("name", LIMITS)
def test_costs(
    name: str, counter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEPOST_COUNTS", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", str(counter))
    start: Callable = systems.SYSTEMS[name]
    with start() as system:
        monkeypatch.delenv("LD_PRELOAD")
        costs = per_message(system, tmp_path)
    for role, cost in costs.items():
        hold(name, role, cost, slack=0.2)


@pytest.mark.parametrize("name", LIMITS)
def test_instructions(name: str, tmp_path: Path) -> None:
    """By one client, whose messages always take the same way: two runs differ by less than a thousandth."""
    messages = 200
    for role, counts in callgrind.measure(name, messages, tmp_path).items():
        hold(name, role, {"instructions": counts.total() / messages}, slack=0.1)


def hold(name: str, role: str, costs: dict[str, float], slack: float) -> None:
    """No cost is above its limit, nor so far below it that a slowdown could hide there."""
    for what, cost in costs.items():
        limit = LIMITS[name][role][what]
        print(f"{name}, {role}: {cost:.1f} {what} a message, limit {limit}")
        assert cost <= limit, f"{role}: {cost:.1f} {what} a message, the limit is {limit}"
        assert cost >= limit * (1 - slack), f"{role}: {cost:.1f} {what} a message: lower the limit of {limit}"
