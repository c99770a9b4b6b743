"""ControlFile: the rules of the lines, includes, and edits."""

import os
import sys
from pathlib import Path

SDK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SDK))

from gatepost.control import ControlFile  # noqa: E402


def write(path, octets):
    """As an editor does: a new file in the place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(octets)
    os.replace(fresh, path)


def test_lines_includes_and_edits(tmp_path, caplog):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir(), second.mkdir()
    file = ControlFile("list", [str(first), str(second)])
    assert file.lines() == [] and not file.exists
    write(second / "list", b"\xef\xbb\xbf# comment\r\n\n  one two \n$include more\n#x\nthree # kept\n")
    write(second / "more", b"inner\n")
    assert file.lines() == ["one two", "inner", "three # kept"] and file.exists
    assert file.words() == ["one", "inner", "three"]
    write(second / "more", b"changed\n")
    assert file.words() == ["one", "changed", "three"]
    write(first / "list", b"nearer\n")
    assert file.lines() == ["nearer"]
    for broken in (b"\xff\n", b"$include list\n", b"$include ../x\n", b"$include\n", b"$include none\n"):
        caplog.clear()
        write(first / "list", broken)
        assert file.lines() == file.lines() == ["nearer"]
        assert len(caplog.records) == 1 and "last good lines" in caplog.text
    os.unlink(first / "list")
    assert file.words() == ["one", "changed", "three"]
