"""Each row of `docs/rfc.md` names a test, and the test exists."""

import re

import pytest
from blocks import ROOT

ROW = re.compile(r"^\| (?P<clause>RFC \d+ §[\d.]+) \| (?P<demand>.+) \| `(?P<file>[^`]+)`(?:: (?P<name>.+))? \|$")
LINES = [
    (number, line)
    for number, line in enumerate((ROOT / "docs/rfc.md").read_text(encoding="utf-8").splitlines(), 1)
    if line.startswith("|") and not line.startswith(("| clause", "|---"))
]


def is_there(file, name):
    """Whether the file has that test; a dialogue is a test as a whole."""
    path = ROOT / file
    if not path.is_file():
        return False
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".smtp":
        return name is None
    if path.suffix == ".swift":
        return name is not None and f"func `{name}`(" in text
    return name is not None and re.search(rf"^def {re.escape(name)}\(", text, re.MULTILINE) is not None


@pytest.mark.parametrize("number, line", LINES, ids=[str(number) for number, _ in LINES])
def test_the_test_of_a_row_exists(number, line):
    row = ROW.match(line)
    assert row, f"docs/rfc.md:{number} is not clause, demand and test: {line}"
    assert is_there(row["file"], row["name"]), f"docs/rfc.md:{number}: no test {row['name']!r} in {row['file']}"


def test_a_test_that_is_missing_is_found():
    assert not is_there("Tests/Documentation/test_rfc.py", "test_of_nothing")
    assert not is_there("Tests/EndToEnd/dialogues/none.smtp", None)
    assert not is_there("Tests/SMTPCoreTests/Session/SMTPChunkTests.swift", "a dialogue")


#: What EHLO offers and what that rests on; then what says who wrote a message.
RFCS = {5321, 2920, 1870, 6152, 3030, 2033, 3461, 3207, 6531, 2034, 3463, 4954, 9422, 8689, 6710, 4865}
RFCS |= {6376, 7208, 8301, 8463, 8601, 8616, 8617, 9989, 9990}


def test_each_row_stands_below_its_rfc():
    """And each RFC has rows."""
    heading, found = "", set()
    for line in (ROOT / "docs/rfc.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line
        elif row := ROW.match(line):
            number = re.match(r"RFC (\d+)", row["clause"])[1]
            assert number in re.findall(r"\d{4}", heading), f"{row['clause']} below {heading}"
            found.add(int(number))
    assert RFCS <= found


def test_no_row_stands_twice():
    assert len(LINES) == len({line for _, line in LINES})
