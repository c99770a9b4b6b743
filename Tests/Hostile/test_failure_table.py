"""Every row of protocol/failure.md has a test in this folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from proofs import proofs, rows

#: Rows that a test outside of this folder proves.
ELSEWHERE = {
    "shutdown": "Tests/EndToEnd/test_lifecycle.py",
    "shutdown_overdue": "Tests/EndToEnd/test_lifecycle.py",
}


def test_every_row_has_a_test() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(path.stem)
    missing = rows() - set(proofs) - set(ELSEWHERE)
    assert not missing, f"failure.md has rows without a test: {sorted(missing)}"
    unknown = set(proofs) - rows()
    assert not unknown, f"tests for rows that failure.md does not have: {sorted(unknown)}"
