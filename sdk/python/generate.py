"""Writes gatepost/tables.py from protocol/hooks.json and protocol/words.json. With `--print`: to standard output."""

import json
import pprint
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTOCOL = HERE.parents[1] / "protocol"


def generated():
    """The text of gatepost/tables.py."""
    hooks = json.loads((PROTOCOL / "hooks.json").read_text("utf-8"))["hooks"]
    words = json.loads((PROTOCOL / "words.json").read_text("utf-8"))
    asked = [each for each in hooks if each["asked"]]
    tables = [
        ("WORDS", "Tuple[str, ...]", tuple(words["verdicts"])),
        ("NEEDS", "Tuple[str, ...]", tuple(words["needs"])),
        ("DECIDED", "Tuple[str, ...]", tuple(each["hook"] for each in asked)),
        ("NOTIFIED", "Tuple[str, ...]", tuple(each["hook"] for each in hooks if not each["asked"])),
        ("VERDICTS", "Dict[str, Tuple[str, ...]]", {each["hook"]: tuple(each["verdicts"]) for each in asked}),
        ("OK_CODES", "Dict[str, Tuple[int, ...]]", {each["hook"]: tuple(each["ok_codes"]) for each in asked}),
        ("OK_REPLY", "Dict[str, str]", {each["hook"]: each["ok_reply"] for each in asked}),
        ("ACTIONS_AT", "Dict[str, Tuple[str, ...]]", {each["hook"]: tuple(each["actions"]) for each in asked}),
        ("ACTIONS", "Dict[str, Tuple[str, ...]]", {op: tuple(keys) for op, keys in words["actions"].items()}),
        ("VIOLATIONS", "Tuple[str, ...]", tuple(words["violations"])),
        ("LIMITS", "Dict[str, int]", words["limits"]),
    ]
    text = '"""The tables of protocol/hooks.json and protocol/words.json. Made by sdk/python/generate.py."""\n\n'
    text += "from typing import Dict, Tuple\n"
    for name, kind, value in tables:
        text += f"\n{name}: {kind} = {pprint.pformat(value, width=110, compact=True, sort_dicts=False)}\n"
    return text


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        print(generated(), end="")
    else:
        (HERE / "gatepost" / "tables.py").write_text(generated(), "utf-8")
