"""`gatepost conform` passes every SDK, and finds each mistake of a worker that makes one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.gatepost import BINARIES, ROOT
from harness.trial_worker import MISTAKES
from test_languages import LANGUAGES

TRIAL = [sys.executable, ROOT / "Tests/EndToEnd/harness/trial_worker.py"]


def conform(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", "conform", *words],
        capture_output=True, text=True, timeout=180, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk/python"), "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )


def failures(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("FAIL")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sdk_conforms_to_the_letter(language: str) -> None:
    """The worker in shell reads JSON by jq, which hides much, and starts it for each refusal."""
    options = ["--events", "100"] if language == "shell" else ["--level", "strict"]
    done = conform(*options, "--", *LANGUAGES[language], GATEPOST_POOL="policy")
    assert done.returncode == 0 and failures(done) == [], done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" checks passed")


def test_the_worker_of_this_project_conforms(tmp_path: Path) -> None:
    config, run = tmp_path / "config", Path(f"/tmp/gatepost-conform-{os.getpid()}")
    config.mkdir()
    run.mkdir()
    (config / "frontend.toml").write_text(f'runtime_directory = "{run}"\n')
    (config / "me").write_text("mx.example.com\n")
    (config / "plugins").write_text("relay\nbadmailfrom\nrcpt_ok\nheaders\nqueue/discard\nlogging\n")
    done = conform(
        "--level", "strict", "--runtime-directory", run, "--", BINARIES / "gatepost-worker", "--config", config
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_that_was_written_by_the_specification_conforms() -> None:
    done = conform("--", *TRIAL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    done = conform("--level", "strict" if mistake == "no-limit" else "must", "--", *TRIAL, mistake)
    assert done.returncode == 1 and any(MISTAKES[mistake] in line for line in failures(done)), done.stdout + done.stderr


def test_a_command_that_cannot_be_started_is_said() -> None:
    done = conform("--", "/nowhere/worker")
    assert done.returncode == 1 and "it cannot be started" in done.stdout
    assert conform("--").returncode == 64
    assert conform("--events", "0", "--", "/bin/true").returncode == 64
