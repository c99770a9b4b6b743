"""Medians, spreads, ratios: a table and bars of text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

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


def plot(results: Sequence[dict[str, Any]]) -> str:
    """An SVG: a group of bars a load, a bar a system, as long as its ratio to the reference of that load.

    Without a reference the bars are messages a second, each group by its own longest.
    """
    left, width, bar, rows, at = 190, 420, 15, [], 34
    for result in results:
        figures = summary(result["rates"])
        has_reference = REFERENCE in figures
        key = "ratio" if has_reference else "median"
        top = max(each[key] for each in figures.values()) or 1.0
        rows.append(f'<text x="8" y="{at}" font-weight="bold">{escape(result["load"])}</text>')
        at += 6
        for name, each in figures.items():
            colour = "#2b6cb0" if name.startswith("gatepost") else "#9aa5b1"
            note = f"{each['median']:.0f} msg/s" + (f", {each['ratio']:.2f} ×" if has_reference else "")
            length = width * each[key] / top
            rows.append(f'<text x="{left - 8}" y="{at + 12}" text-anchor="end">{escape(name)}</text>')
            rows.append(f'<rect x="{left}" y="{at + 2}" width="{length:.1f}" height="{bar - 3}" fill="{colour}"/>')
            rows.append(f'<text x="{left + length + 6:.1f}" y="{at + 12}">{note}</text>')
            at += bar
        at += 26
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 150}" height="{at}"'
    body = "\n".join(rows)
    return f'{head} font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


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
