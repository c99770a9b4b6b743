"""Which test proves which row of protocol/failure.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

FAILURES = Path(__file__).resolve().parents[2] / "protocol" / "failure.md"
#: The id of a row, and the names of the tests that prove it.
proofs: dict[str, set[str]] = {}
Test = TypeVar("Test", bound=Callable[..., None])


def proves(*ids: str) -> Callable[[Test], Test]:
    """Notes that a test proves these rows."""

    def note(test: Test) -> Test:
        for id in ids:
            proofs.setdefault(id, set()).add(test.__name__)
        return test

    return note


def rows() -> set[str]:
    """The ids of failure.md: the first cell of each row of its tables of six columns."""
    row = re.compile(r"^\| `([a-z_0-9]+)` \|(?:[^|\n]*\|){5}$", re.MULTILINE)
    return set(row.findall(FAILURES.read_text("utf-8")))
