"""Each suite and each file that `docs/threat-model.md` names in "tested in" exists."""

import re

import pytest
from blocks import ROOT

ROWS = [
    (number, line.strip().strip("|").split(" | ")[-1].strip())
    for number, line in enumerate((ROOT / "docs/threat-model.md").read_text(encoding="utf-8").splitlines(), 1)
    if line.startswith("|") and not line.startswith(("| attack |", "|---"))
]
#: A suite, and in brackets the files of it that are meant.
SUITE = re.compile(r"(?P<name>[\w/]+)(?: \((?P<files>[^)]*)\))?")


def folder(suite):
    return ROOT / suite if "/" in suite else ROOT / "Tests" / suite


def missing(cell):
    """Suites and names of a cell that do not exist, and what cannot be read."""
    position, found = 0, []
    while match := SUITE.match(cell, position):
        suite = folder(match["name"])
        if not suite.is_dir():
            found.append(match["name"])
        files = {path.name: path for path in suite.rglob("*") if path.is_file()}
        named = re.findall(r"`([^`]+)`", match["files"] or "")
        texts = [files[name].read_text(encoding="utf-8") for name in named if name in files]
        for name in named:
            word = name.partition("=")[0]
            is_case = word.isidentifier() and any(word in text for text in texts)
            is_path = "/" in name and (ROOT / name).exists()
            if not ({name, f"{name}.swift"} & files.keys() or is_case or is_path):
                found.append(f"{match['name']} ({name})")
        position = match.end()
        if not cell.startswith(", ", position):
            break
        position += 2
    return found if position == len(cell) else [*found, cell[position:]]


@pytest.mark.parametrize("number, cell", ROWS, ids=[str(number) for number, _ in ROWS])
def test_what_a_row_names_exists(number, cell):
    assert not missing(cell), f"docs/threat-model.md:{number}: {missing(cell)}"


@pytest.mark.parametrize(
    "cell",
    ["NoTests", "SMTPCoreTests (`NoTests`)", "EndToEnd (`none.py`)", "EndToEnd and others", "EndToEnd (`test_tls.py`, `no_case`)"],
)
def test_what_is_missing_is_found(cell):
    assert missing(cell)


def test_there_are_rows():
    assert len(ROWS) > 50
