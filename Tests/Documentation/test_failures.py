"""docs/failures.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^\| (.+?) \| .+ \| (.+) \|$", (ROOT / "docs/failures.md").read_text(encoding="utf-8"), re.MULTILINE)
SUITES = {
    name
    for source in (ROOT / "Tests").rglob("*.swift")
    for name in re.findall(r"\b(?:struct|class) (\w+Tests)\b", source.read_text(encoding="utf-8"))
}
CHECKS = [(failure, test) for failure, tests in ROWS for test in re.findall(r"`([^`]+)`", tests)]


@pytest.mark.parametrize(("failure", "test"), CHECKS)
def test_the_test_of_a_failure_is_there(failure: str, test: str) -> None:
    assert (ROOT / test).exists() if "/" in test else test in SUITES, failure
