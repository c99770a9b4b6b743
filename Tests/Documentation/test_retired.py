"""docs/plugins.md says of every retired plugin what the worker says of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "Sources/Plugins/RetiredPlugins.swift").read_text(encoding="utf-8")
TEXTS = dict(re.findall(r'private let (\w+) =\s*"([^"]*)"', SOURCE))
RETIRED = {
    name: (text or TEXTS[constant]) + (" (left out)" if effect == "ignored" else "")
    for name, effect, text, constant in re.findall(
        r'RetiredPlugin\(\s*"([^"]+)",\s*\.(\w+),\s*(?:"([^"]*)"|(\w+))\s*\)', SOURCE
    )
}


def test_the_table_has_every_name_with_its_text() -> None:
    table = (ROOT / "docs/plugins.md").read_text(encoding="utf-8").partition("## qpsmtpd's plugins")[2]
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", table, re.MULTILINE)
    said = {name: text for names, text in rows for name in re.findall(r"`([^`]+)`", names)}
    assert RETIRED and said == RETIRED


def test_no_name_is_a_plugins() -> None:
    names = {
        each
        for source in (ROOT / "Sources/Plugins").rglob("*.swift")
        for line in re.findall(r"static let (?:name|aliases) = (.*)", source.read_text(encoding="utf-8"))
        for each in re.findall(r'"([^"]+)"', line)
    }
    assert len(names) > 20 and not names & RETIRED.keys()
