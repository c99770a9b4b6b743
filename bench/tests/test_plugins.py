"""bench/plugins measures each plugin of docs/plugins.md; a few of its rows, and the whole modern set, run here."""

from __future__ import annotations

import re
from pathlib import Path

from test_scripts import run

ROOT = Path(__file__).resolve().parents[2]


def test_each_plugin_has_a_row() -> None:
    names = {line.split(",")[0] for line in run("plugins", "--names").splitlines()}
    table = (ROOT / "docs/plugins.md").read_text()
    assert names == set(re.findall(r"^\| \[([^\]]+)\]\(\.\./Sources/Plugins/", table, re.MULTILINE))


def cells(said: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in said.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_questions_round_trips_and_programs_are_counted() -> None:
    said = run("plugins", "--rows", "dnsbl,fcrdns,limit,virus/command", "--messages", "40", "--rounds", "1")
    table = cells(said)
    assert table["dnsbl"][3] == "3.0", said  # lists
    assert table["fcrdns"][3] == "2.0", said  # the name of an address, and its address
    assert table["limit, redis"][4] != "-" and table["limit, sqlite"][4] == "-", said
    assert int(table["virus/command"][2]) > 0, said  # a program ran
    assert int(table["dnsbl"][0].split()[0]) > int(table["rcpt_ok, queue/discard"][0].split()[0]), said


def test_a_row_that_is_not_there_is_named() -> None:
    try:
        run("plugins", "--rows", "nonsense")
    except AssertionError as error:
        assert "no such row: nonsense" in str(error)
    else:
        raise AssertionError("it was taken")


def test_the_modern_set_runs_beside_postfix() -> None:
    said = run("plugins", "--modern", "--messages", "20", "--rounds", "1")
    for mail in ("text", "html", "attachment"):
        assert re.search(rf"^\| {mail} \| Gatepost.*\| \d+ \|$", said, re.MULTILINE), said
        assert re.search(rf"^\| {mail} \| ratio \| \d", said, re.MULTILINE), said
