"""Each line that config/plugins shows commented is one that the worker takes, or asks more for by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / os.environ.get("GATEPOST_BIN", ".build/debug")
NAMES = set(re.findall(r"^\| \[([^\]]+)\]", (ROOT / "docs/plugins.md").read_text(encoding="utf-8"), re.MULTILINE))
LINES = [
    line[2:]
    for line in (ROOT / "config/plugins").read_text(encoding="utf-8").splitlines()
    if line.startswith("# ") and line[2:].split()[0] in NAMES and not line.endswith(".")
]
#: What cannot be there in a test: the start of what is said of it.
MISSING = {
    "ident/geoip db_dir /var/lib/GeoIP": "ident/geoip: ",
    "quit_fortune": "quit_fortune: ",
}


def test_there_are_lines() -> None:
    assert len(LINES) > 20 and MISSING.keys() <= set(LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_commented_line_can_be_taken_in(line: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "plugins").write_text(f"{line}\n", encoding="utf-8")
    done = subprocess.run(
        [BINARIES / "gatepost-worker", "--config", config, "--check"], capture_output=True, text=True, timeout=30
    )
    if line in MISSING and done.returncode:
        assert MISSING[line] in done.stderr
    else:
        assert done.returncode == 0, done.stderr
