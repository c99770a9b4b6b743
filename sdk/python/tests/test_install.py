"""The command of README.md installs the package and leaves the folder as it was."""

import shutil
import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).resolve().parents[1]


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installation_leaves_nothing_in_the_clone(tmp_path):
    clone, installed = tmp_path / "clone", tmp_path / "installed"
    shutil.copytree(SDK, clone, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    before = tree(clone)
    # The build backend is Debian's, so that no network is needed.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", installed, clone], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert tree(clone) == before
    assert tree(clone / "gatepost").items() <= tree(installed / "gatepost").items()
