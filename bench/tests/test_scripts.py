"""The benchmarks run, and what must stay flat is flat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

BENCH = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def run(script: str, *options: str) -> str:
    command = [sys.executable, BENCH / script, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_idle_connections_large_messages_and_many_recipients_are_cheap() -> None:
    """12 KiB a connection, 1 MiB a message of 50 MiB, linear time: bench/flat ends with 1 otherwise."""
    said = run("flat", "--idle", "1000")
    assert "1000 idle connections" in said and "50 MiB" in said and "1000 recipients" in said


def test_connections_that_are_held_are_cheap_and_are_kept() -> None:
    """12 KiB an idle connection, none lost: bench/held ends with 1 otherwise. One round judges no speed."""
    said = run("held", "--idle", "1000", "--slow", "50", "--rounds", "1", "--seconds", "0.5")
    assert "1000 idle and 50 slow connections" in said and "0 lost" in said


def test_latency_is_measured_for_each_reply() -> None:
    said = run("latency", "--systems", "gatepost-every-hook", "--rate", "50", "--seconds", "1")
    assert [line.split()[2] for line in said.splitlines()[1:]] == ["mail", "rcpt", "data", "message"]


def test_a_second_worker_is_worth_nearly_another() -> None:
    """1.9 on two quiet cores; whatever else runs there counts against it."""
    said = run("scale", "--rounds", "3", "--messages", "200")
    ratio = float(said.split()[-2])
    assert 1.5 < ratio < 2.1, said


def test_instructions_are_counted_by_function() -> None:
    said = run("instructions", "--system", "gatepost-two-hooks", "--messages", "20", "--functions", "3")
    assert "frontend" in said and "workers" in said
    assert said.count("%") == 6


def test_a_short_run_prints_a_table() -> None:
    said = run("run", "--rounds", "1", "--seconds", "0.2", "--systems", "smtp-sink,gatepost-two-hooks", "--modes", "kept")
    assert "smtp-sink" in said and "gatepost-two-hooks" in said and "1.00" in said


def test_the_plot_has_a_bar_for_each_system(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    run("run", "--rounds", "1", "--seconds", "0.2", "--systems", "smtp-sink,gatepost-python", "--plot", str(path))
    bars = [each for each in ElementTree.parse(path).iter(f"{SVG}rect") if each.get("x")]
    assert len(bars) == 2 * 2, "two systems in two modes"
    assert max(float(each.get("width", "0")) for each in bars) == 420
