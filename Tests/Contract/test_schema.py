"""Every golden line and every example of the prose is what the schema says; what must be refused is refused."""

import json

import jsonschema
import pytest

from contract import PROTOCOL, SCHEMAS, TRANSCRIPTS, blocks, check_message, is_message, raw_octets, transcript, validator

names = [path.name for path in TRANSCRIPTS]
PROSE = sorted(PROTOCOL.rglob("*.md"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=names)
def test_transcript_has_the_form_that_the_readme_gives(path):
    assert path.read_bytes().endswith(b"\n")
    form = validator("golden.json")
    header, steps = transcript(path)
    for line in [header, *steps]:
        form.validate(line)
    assert "comment" in header and all("comment" not in step for step in steps)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=names)
def test_golden_lines_agree_with_the_schema(path):
    for number, step in enumerate(transcript(path)[1], 2):
        if "line" not in step:
            continue
        try:
            check_message(step["line"])
            fits = None
        except jsonschema.ValidationError as error:
            fits = error
        refused = step.get("expect") in {"bad_message", "unknown_type", "bad_hello"}
        if path.name == "bad-hello-range.ndjson":  # a pair that runs backwards: beyond a schema
            continue
        if refused and step["line"].get("type") != "verdict":
            assert fits is not None, f"{path.name}:{number}: the schema takes what the transcript calls {step['expect']}"
        elif step.get("expect") not in {"invalid_verdict", "bad_message", "bad_hello", "unexpected_message"}:
            assert fits is None, f"{path.name}:{number}: {fits}"


# Rules that need the event, or more than a schema can say; all others the schema must see as well.
BEYOND = {
    "verdict_not_allowed", "reply_missing", "reply_not_allowed", "reply_code", "reply_status", "reply_text",
    "notes_no_transaction", "notes_too_large", "action_not_allowed", "unknown_header", "unknown_recipient",
    "address_invalid", "header_name", "header_value", "hook_not_reached", "no_recipients", "path_invalid",
    "value_invalid", "challenge_missing", "challenge_not_allowed", "challenge_too_large",
}


@pytest.mark.parametrize("path", [p for p in TRANSCRIPTS if p.name.startswith("invalid-")], ids=lambda p: p.name)
def test_the_schema_refuses_invalid_verdicts(path):
    for number, step in enumerate(transcript(path)[1], 2):
        if step.get("expect") == "invalid_verdict" and step["violation"] not in BEYOND and "line" in step:
            assert not is_message(step["line"]), f"{path.name}:{number}: {step['violation']}"


def test_unknown_words_are_refused_and_unknown_fields_are_not():
    good = {"type": "verdict", "id": 1, "verdict": "ok", "actions": [{"op": "header.delete", "id": 1}]}
    assert is_message(good)
    assert is_message({**good, "later": {"x": 1}})
    assert is_message({**good, "actions": [{"op": "header.delete", "id": 1, "later": 1}]})
    assert not is_message({**good, "verdict": "accept"})
    assert not is_message({**good, "actions": [{"op": "header.insert", "id": 1}]})
    assert not is_message({**good, "type": "teapot"})
    assert not is_message({**good, "id": 1.0})
    assert not is_message({**good, "plugin": {"b64": "YQ"}})


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(PROTOCOL).as_posix())
def test_examples_of_the_prose(path):
    """A ```json block holds messages, one after the other, each on one line or over several."""
    form = validator("golden.json") if path.parent.name == "golden" else None
    for number, text in blocks(path, "json"):
        examples, rest = [], text.lstrip()
        while rest:
            example, end = json.JSONDecoder().raw_decode(rest)
            examples.append(example)
            rest = rest[end:].lstrip()
        for example in examples:
            try:
                (form.validate if form else check_message)(example)
            except jsonschema.ValidationError as error:
                pytest.fail(f"{path.name}:{number}: {error}")


def test_every_hook_and_every_verdict_has_a_transcript():
    hooks, verdicts, operations, codes = set(), set(), set(), set()
    for path in TRANSCRIPTS:
        for step in transcript(path)[1]:
            line = step.get("line", {})
            if line.get("type") in ("event", "notify"):
                hooks.add(line["hook"])
            if line.get("type") == "verdict" and "expect" not in step:
                verdicts.add(line["verdict"])
                operations.update(action["op"] for action in line.get("actions") or [])
            codes.add(line.get("type"))
    words = SCHEMAS["messages.json"]["$defs"]
    assert hooks == set(words["decision_hook"]["enum"]) | set(words["notify_hook"]["enum"])
    assert verdicts == set(words["verdict_word"]["enum"])
    assert operations == {choice["properties"]["op"]["const"] for choice in words["action"]["oneOf"]}
    assert set(words["message_type"]["enum"]) <= codes


def test_lines_fit_their_frame():
    for path in TRANSCRIPTS:
        for step in transcript(path)[1]:
            if "from" in step and step.get("expect") != "frame_too_long":
                assert len(raw_octets(step)) <= 70000
