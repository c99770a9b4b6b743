"""What processes have used: the CPU of a process and of all below it, and their memory."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of the process alone, with threads that have ended; the kernel's clock of the process counts nanoseconds."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def ended_children_seconds(pid: int) -> float:
    """Of children that have ended and were waited for, with theirs; counts ticks of 10 ms."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / TICKS
    return 0.0


def family(pid: int) -> list[int]:
    """The process and all below it that run."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found


def family_seconds(pid: int) -> float:
    """Of a process, all below it, and those of them that have ended."""
    return sum(cpu_seconds(each) + ended_children_seconds(each) for each in family(pid))


def family_octets(pid: int) -> int:
    """Memory of a process and all below it; what several share counts in parts (PSS)."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1_024
    return total
