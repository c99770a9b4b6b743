"""Instructions that a program spends on a message, counted by valgrind's callgrind.

Time differs from run to run; instructions of one client, whose messages come one after the other, do
not, by more than a part in a thousand. Only the program's own count: not the kernel's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import systems
from harness import gatepost as harness  # its folder is put in the path by systems
from load import Load, send

HERE = Path(__file__).resolve().parent
LOAD = Load(clients=1, octets=4_096, kept=True)
PROGRAMS = ("gatepost-frontend", "gatepost-worker", "BenchWorker")

WRAPPER = """#!/bin/sh
exec env LD_PRELOAD={shim} valgrind --quiet --tool=callgrind --callgrind-out-file={folder}/out.$$ {program} "$@"
"""


def measure(name: str, messages: int, folder: Path) -> dict[str, Counter[str]]:
    """Of each role of a system: function → instructions of so many messages, once all is warm.

    `folder` gets the programs under callgrind, and the files that it writes.
    """
    binaries = harness.BINARIES
    _wrap(binaries, folder)
    harness.BINARIES = folder
    try:
        with systems.SYSTEMS[name]() as system:
            pids = {role: programs[0].pid for role, programs in system.programs.items()}
            send(system.port, LOAD, messages)
            for pid in pids.values():
                _control("--zero", pid)
            send(system.port, LOAD, messages)
            return {role: _dumped(pid, folder) for role, pid in pids.items()}
    finally:
        harness.BINARIES = binaries


def _wrap(binaries: Path, folder: Path) -> None:
    """Puts programs into `folder` that run those of `binaries` under callgrind.

    Without debug information, of whose format valgrind 3.19 knows nothing; names of functions stay.
    """
    if shutil.which("valgrind") is None:
        raise RuntimeError("no valgrind; scripts/packages has it")
    shim = folder / "shim.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "callgrind.c"], check=True)
    for name in PROGRAMS:
        if not (binaries / name).exists():
            continue
        program = folder / f"{name}.stripped"
        subprocess.run(["objcopy", "--strip-debug", binaries / name, program], check=True)
        wrapper = folder / name
        wrapper.write_text(WRAPPER.format(shim=shim, folder=folder, program=program))
        wrapper.chmod(0o755)


def _dumped(pid: int, folder: Path) -> Counter[str]:
    """Instructions since they were set to zero, by the function that they stand in."""
    before = set(folder.glob(f"out.{pid}*"))
    _control("--dump", pid)
    new = set(folder.glob(f"out.{pid}*")) - before
    if len(new) != 1:
        raise RuntimeError(f"callgrind wrote {len(new)} files for process {pid}")
    return _by_function(new.pop().read_text())


def _control(option: str, pid: int) -> None:
    done = subprocess.run(["callgrind_control", option, str(pid)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or "OK" not in done.stdout:
        raise RuntimeError(f"callgrind_control {option} {pid}: {done.stdout}{done.stderr}")


def _by_function(profile: str) -> Counter[str]:
    """Sums the lines of callgrind's format that are not about a call."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    function, is_call = "", False
    for line in profile.splitlines():
        if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line):
            if match[2]:
                names[match[1]] = match[2]
            if line.startswith("fn="):
                function = names[match[1]]
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[0-9+*-]", line):
            if not is_call:
                counts[function] += int(line.split()[-1])
            is_call = False
    return counts
