"""The tables of the prose, held against the transcripts and the schema."""

import re

from contract import PROTOCOL, SCHEMAS, TRANSCRIPTS, transcript

WORDS = SCHEMAS["messages.json"]["$defs"]


def rows(name):
    """The cells of every table row of a document; \\| is no border."""
    for line in (PROTOCOL / name).read_text("utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


FAILURES = {cells[0].strip("`"): cells for cells in rows("failure.md") if len(cells) == 6}
HOOKS = {
    cells[0].strip("`"): dict(zip(["declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"], cells[1:]))
    for cells in rows("verdicts.md")
    if len(cells) == 8
}
ACTIONS = {cells[0].strip("`"): cells for cells in rows("verdicts.md") if len(cells) == 3 and "." in cells[0]}


def steps(predicate):
    for path in TRANSCRIPTS:
        events = {}
        for number, step in enumerate(transcript(path)[1], 2):
            line = step.get("line", {})
            if line.get("type") == "event":
                events[line["id"]] = line
            if predicate(step):
                yield path.name, number, step, events


def test_failure_rows_have_unique_ids_and_words_from_closed_sets():
    ids = [cells[0] for cells in rows("failure.md") if len(cells) == 6]
    assert len(ids) == len(set(ids)) > 60
    for name, (_, _, client, log, counted, worker) in FAILURES.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert client.strip("`") in {"nothing", "standard", "elsewhere", "policy", "spool", "closed", "gone"}, name
        assert log in {"debug", "info", "notice", "warning", "error", "critical"}, name
        assert re.fullmatch(r"`(rejected|violations|dropped|failures|lost|sessions|starts)`", counted), name
        assert re.fullmatch(r"`(stays|gone|drain|refused|(reject|bye) [a-z_]+)`", worker), name


def test_every_violation_of_a_transcript_has_its_row():
    for name, number, step, _ in steps(lambda step: "expect" in step):
        reason = step.get("violation", step["expect"])
        reason = "hello_malformed" if reason == "bad_hello" else reason
        assert reason in FAILURES, f"{name}:{number}: {reason}"
        if step["expect"] in {"frame_too_long", "bad_frame", "unknown_type", "bad_message", "unexpected_message"}:
            assert FAILURES[reason][5] == f"`bye {step['expect']}`", f"{name}:{number}"
        if step["expect"] == "invalid_verdict":
            assert FAILURES[reason][2] == "`policy`", f"{name}:{number}"


def test_the_verdict_table_agrees_with_the_transcripts():
    refused = set()
    for name, number, step, events in steps(lambda step: step.get("line", {}).get("type") == "verdict"):
        line = step["line"]
        if line.get("id") not in events:
            continue
        hook = events[line["id"]]["hook"]
        if step.get("violation") == "verdict_not_allowed":
            assert HOOKS[hook][line["verdict"]] == "–", f"{name}:{number}"
            refused.add((hook, line["verdict"]))
        elif "expect" not in step:
            assert HOOKS[hook][line["verdict"]] != "–", f"{name}:{number}"
    missing = {(h, v) for h, cells in HOOKS.items() for v, cell in cells.items() if cell == "–"} - refused
    assert not missing, f"no transcript refuses {sorted(missing)}"


def test_the_action_table_agrees_with_the_transcripts():
    same = None
    allowed = {}
    for name, (_, _, where) in ACTIONS.items():
        same = same if where == "the same" else set(re.findall(r"`([a-z_]+)`", where))
        allowed[name] = same
    assert set(allowed) == {choice["properties"]["op"]["const"] for choice in WORDS["action"]["oneOf"]}
    for name, number, step, events in steps(lambda step: isinstance(step.get("line", {}).get("actions"), list)):
        hook = events[step["line"]["id"]]["hook"]
        for action in step["line"]["actions"]:
            if name == "invalid-message-replace-order.ndjson":
                continue
            if step.get("violation") == "action_not_allowed":
                assert hook not in allowed[action["op"]], f"{name}:{number}"
            elif "expect" not in step:
                assert hook in allowed[action["op"]], f"{name}:{number}"
