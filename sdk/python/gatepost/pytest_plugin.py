"""The fixture `gatepost_session` for pytest, which finds it by itself where this package is installed."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List

import pytest

from .testing import TestSession
from .worker import Worker

SessionMaker = Callable[..., TestSession]


@pytest.fixture
def gatepost_session() -> Iterator[SessionMaker]:
    """`gatepost_session(worker, client_ip="192.0.2.7")` gives a `TestSession`, which ends with the test."""
    made: List[TestSession] = []

    def make(worker: Worker, **options: Any) -> TestSession:
        made.append(TestSession(worker, **options))
        return made[-1]

    yield make
    for session in made:
        session.close()
