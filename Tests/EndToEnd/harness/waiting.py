"""Waiting for something with a deadline, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    seconds: float,
    what: str | Callable[[], str],
    interval: float = 0.01,
) -> T:
    """Calls `condition` until it returns something true and returns that.

    Raises AssertionError with `what`, which may be a function that looks at the scene.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {text}")
        time.sleep(interval)
