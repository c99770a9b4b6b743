"""The SDK and its example are typed, to the letter of mypy."""

import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).resolve().parents[1]


def test_mypy_has_nothing_to_say():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "gatepost", "examples/policy.py"],
        cwd=SDK,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
