"""The tables of the prose, held against the transcripts and the schema."""

import re

import pytest

from contract import PROTOCOL, SCHEMAS, TRANSCRIPTS, transcript

ROOT = PROTOCOL.parent
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


def test_every_violation_of_the_verdicts_page_has_its_row():
    text = (PROTOCOL / "verdicts.md").read_text("utf-8").split("## Invalid verdicts")[1]
    listed = re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `")))
    section = (PROTOCOL / "failure.md").read_text("utf-8").split("## Invalid verdicts")[1].split("\n## ")[0]
    rows_ = re.findall(r"^\| `([a-z_]+)`", section, re.M)
    assert sorted(listed) == sorted(rows_)


def test_failure_words_are_those_of_the_readme_and_the_schema():
    text = (PROTOCOL / "README.md").read_text("utf-8").split("## 8.")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", text, re.M)) == set(WORDS["failure_word"]["enum"])


def test_the_verdict_table_names_every_hook():
    assert set(HOOKS) == set(WORDS["decision_hook"]["enum"])


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


@pytest.mark.parametrize("hook", WORDS["decision_hook"]["enum"] + WORDS["notify_hook"]["enum"])
def test_every_hook_has_its_section(hook):
    headings = re.findall(r"^## (.*)$", (PROTOCOL / "events.md").read_text("utf-8"), re.M)
    assert any(f"`{hook}`" in heading for heading in headings)


def test_the_error_codes_of_both_sdks_are_listed_with_what_they_say_of_started():
    section = (PROTOCOL / "README.md").read_text("utf-8").split("**`error`**")[1].split("**`progress`**")[0]
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (true|false|either) \|", section, re.M))
    swift = (ROOT / "Sources/PolicyKit/Runtime/HookChain.swift").read_text("utf-8").split("enum ErrorCode")[1].split("\n}")[0]
    ours = {name for case in re.findall(r"^ +case (.+)$", swift, re.M) for name in [re.split(r"\W+", case.rstrip('"'))[-1]]}
    python = "".join((ROOT / "sdk/python/gatepost" / name).read_text("utf-8") for name in ("connection.py", "worker.py"))
    said = re.findall(r'(?:\.fail\(event|_error\(id), "([a-z_]+)", (True|False|event)', python)
    assert {"invalid_verdict", "exception", "overloaded"} < ours | {"exception"} and len(said) > 5
    assert (ours | {code for code, _ in said}) - set(listed) == set()
    for code, started in said:
        assert listed[code] in (started.lower(), "either"), code
