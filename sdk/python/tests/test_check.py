"""check() against every verdict of the golden transcripts, and the tables against protocol/."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SDK))

from gatepost.check import check  # noqa: E402
from gatepost.tables import VIOLATIONS  # noqa: E402

GOLDEN = SDK.parents[1] / "protocol" / "golden"
#: What only a frontend can know.
EXCEPTED = {"file_refused", "too_many_recipients", "error_malformed"}


def verdicts(pattern):
    """Each verdict with its event and the violation that the transcript names, None if it is valid."""
    for path in sorted(GOLDEN.glob(pattern)):
        events = {}
        for number, text in enumerate(path.read_text("utf-8").splitlines()[1:], 2):
            step = json.loads(text)
            line = step.get("line", {})
            if line.get("type") == "event":
                events[line["id"]] = line
            elif line.get("type") == "verdict" and line.get("id") in events and step.get("expect") in (None, "invalid_verdict"):
                yield pytest.param(events[line["id"]], line, step.get("violation"), id=f"{path.stem}:{number}")


@pytest.mark.parametrize("event, verdict, violation", list(verdicts("*.ndjson")))
def test_it_says_what_the_transcript_says(event, verdict, violation):
    if violation in EXCEPTED:
        pytest.skip("only a frontend knows")
    found = check(event, verdict)
    assert (found and found.id) == violation, found


def test_the_transcripts_break_rules_and_keep_them():
    invalid = [each.values[2] for each in verdicts("invalid-*.ndjson")]
    assert len(invalid) > 150 and set(invalid) - {None} <= set(VIOLATIONS)
    assert len(list(verdicts("verdict-*.ndjson"))) > 20


def test_the_tables_are_those_of_the_protocol():
    made = subprocess.run([sys.executable, SDK / "generate.py", "--print"], check=True, capture_output=True, text=True)
    assert made.stdout == (SDK / "gatepost/tables.py").read_text("utf-8"), "run sdk/python/generate.py"


def test_the_message_names_place_value_and_what_is_wrong():
    event = {"hook": "data_post", "args": {}, "notes": {}, "transaction": {"headers": [], "sender": None}}
    action = {"op": "header.add", "name": "X-A", "value": "a\nb"}
    found = check(event, {"verdict": "declined", "actions": [action]})
    assert found == ("header_value", 'actions[0].value: "a\\nb": a bare LF')
    found = check({**event, "hook": "rcpt"}, {"verdict": "deny", "reply": {"text": ["é"]}})
    assert found == ("reply_text", 'reply.text[0]: "é": not ASCII, and the session has no SMTPUTF8')
