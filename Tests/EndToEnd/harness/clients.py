"""Programs that people send mail with."""

from __future__ import annotations

import shutil
import subprocess


def run(*argv: object, input: bytes = b"") -> str:
    """Runs a client that must succeed; returns its output."""
    if shutil.which(str(argv[0])) is None:
        raise AssertionError(f"{argv[0]} is not installed")
    done = subprocess.run(
        [str(each) for each in argv], input=input, capture_output=True, timeout=120
    )
    said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}:\n{said}"
    return said
