"""Fixtures that Tests/EndToEnd and Tests/Hostile share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .gatepost import Gatepost

#: Keep the folders of tests under /tmp, for looking at them.
KEEP = bool(os.environ.get("GATEPOST_KEEP"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A failure shows the end of every log of the installations that the test used."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Gatepost):
                report.sections.append((f"installation in {value.folder}", value.logs()))


@pytest.fixture
def gatepost(request: pytest.FixtureRequest) -> Iterator[Gatepost]:
    """An installation that nothing was started in yet; it is checked and removed afterwards."""
    installation = Gatepost()
    try:
        yield installation
        if not getattr(request.node, "failed", False):
            installation.stop()
    finally:
        installation.remove(KEEP)


@pytest.fixture(scope="module")
def make_gatepost() -> Iterator[Callable[..., Gatepost]]:
    """Makes installations that live as long as the module's tests."""
    made: list[Gatepost] = []

    def make(**frontend: Any) -> Gatepost:
        made.append(Gatepost(**frontend))
        return made[-1]

    try:
        yield make
        for installation in made:
            installation.stop()
    finally:
        for installation in made:
            installation.remove(KEEP)


@pytest.fixture(scope="module")
def serving(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    """A frontend with one worker that delivers mail for example.com to a Maildir."""
    installation = make_gatepost()
    installation.run()
    return installation
