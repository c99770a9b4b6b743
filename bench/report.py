"""Medians, spreads, ratios: a table and bars of text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

REFERENCE = "smtp-sink"


def summary(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each system's rates: median, least, most, and the median of its ratios to the reference.

    The ratio is taken round by round, so that what slows the machine down for a while slows both.
    """
    reference = rates.get(REFERENCE, [])
    result = {}
    for name, values in rates.items():
        ratios = [value / other for value, other in zip(values, reference)]
        result[name] = {
            "median": statistics.median(values),
            "least": min(values),
            "most": max(values),
            "ratio": statistics.median(ratios) if ratios else 0.0,
        }
    return result


def table(title: str, rates: dict[str, list[float]], cpu: dict[str, dict[str, float]]) -> str:
    """One load: a line a system."""
    figures = summary(rates)
    top = max(each["median"] for each in figures.values())
    lines = [title, f"  {'system':24} {'msg/s':>8} {'least':>8} {'most':>8} {'ratio':>6}  CPU µs a message"]
    for name, each in figures.items():
        spent = "  ".join(f"{role} {1e6 * value:.0f}" for role, value in cpu.get(name, {}).items())
        lines.append(
            f"  {name:24} {each['median']:8.0f} {each['least']:8.0f} {each['most']:8.0f}"
            f" {each['ratio']:6.2f}  {spent}"
        )
    lines += [f"  {name:24} {'█' * round(40 * each['median'] / top)}" for name, each in figures.items()]
    return "\n".join(lines) + "\n"


def median_cpu(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each role, the median of what it spent on a message."""
    roles = {role for sample in samples for role in sample}
    return {role: statistics.median(each[role] for each in samples) for role in sorted(roles)}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import os
    import platform

    model = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release()}
