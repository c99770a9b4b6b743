"""hooks.json and words.json against the schema, the prose, the transcripts and the Python SDK. (Swift's tests read them too.)"""

import json
import re
import sys

import pytest

from contract import PROTOCOL, ROOT, SCHEMAS, TRANSCRIPTS, is_message, transcript
from test_prose import FAILURES, rows

sys.path.insert(0, str(ROOT / "sdk" / "python"))

from gatepost import connection, event, header, verdict, wire, worker  # noqa: E402

HOOKS = {row["hook"]: row for row in json.loads((PROTOCOL / "hooks.json").read_text("utf-8"))["hooks"]}
WORDS = json.loads((PROTOCOL / "words.json").read_text("utf-8"))
LIMITS = WORDS["limits"]
DEFS = SCHEMAS["messages.json"]["$defs"]
ASKED = [hook for hook, row in HOOKS.items() if row["asked"]]
TOLD = [hook for hook, row in HOOKS.items() if not row["asked"]]


def text(name):
    return (PROTOCOL / name).read_text("utf-8")


def section(name, start, end="\n## "):
    return text(name).split(start)[1].split(end)[0]


def cells_of(part):
    """The cells of the rows of a part's tables, without the headings."""
    for row in re.findall(r"^\| `.*\|$(?!\n\|---)", part, re.M):
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def words_in(cell):
    return re.findall(r"`([a-z_]+)`", cell)


def first_cells(part):
    """The words in the first cells of a part's tables, in order."""
    return [word for cells in cells_of(part) for word in words_in(cells[0])]


# The tables themselves


def test_the_tables_have_no_members_that_nobody_explains():
    asked = ["hook", "asked", "transaction", "args", "deadline_ms", "side_effects", "ahead", "verdicts", "failures"]
    asked += ["ok_codes", "ok_reply", "actions"]
    for hook, row in HOOKS.items():
        assert list(row) == (asked if row["asked"] else asked[:4]), hook
        assert row["transaction"] in ("yes", "no", "maybe"), hook
    explained = section("README.md", "## 11.", "\n## ")
    for member in [*asked, *(key for key in WORDS if key != "comment")]:
        assert f"`{member}`" in explained, member


@pytest.mark.parametrize("hook", ASKED)
def test_a_row_uses_the_words_of_the_other_table(hook):
    row = HOOKS[hook]
    assert [word for word in WORDS["verdicts"] if word in row["verdicts"]] == list(row["verdicts"])
    assert list(row["failures"]) == WORDS["failure_policies"]
    assert [op for op in WORDS["actions"] if op in row["actions"]] == row["actions"]
    assert [other for other in ASKED if other in row["ahead"]] == row["ahead"]
    assert row["ok_reply"] in ("reply", "text", "none")
    assert bool(row["ok_codes"]) == (row["ok_reply"] == "reply")
    assert row["failures"]["skip"] == row["verdicts"]["declined"]
    for reply in [*row["verdicts"].values(), *row["failures"].values()]:
        assert re.fullmatch(r"go on|reply|[2-5]\d\d( \d\.\d\.\d)?(, close)?", reply), reply


# The schema


def test_the_schema_has_the_same_words_in_the_same_order():
    status = DEFS["status_worker"]["properties"]["state"]["enum"], DEFS["status_pool"]["properties"]["state"]["enum"]
    assert DEFS["decision_hook"]["enum"] == ASKED
    assert DEFS["notify_hook"]["enum"] == TOLD
    assert DEFS["message_type"]["enum"] == list(WORDS["messages"])
    assert DEFS["verdict_word"]["enum"] == WORDS["verdicts"]
    assert DEFS["failure_word"]["enum"] == WORDS["failures"]
    assert DEFS["policy_word"]["enum"] == WORDS["failure_policies"]
    assert status == (WORDS["worker_states"], WORDS["pool_states"])
    assert DEFS["args_reset_transaction"]["properties"]["reason"]["enum"] == WORDS["reset_reasons"]
    assert DEFS["args_disconnect"]["properties"]["reason"]["enum"] == WORDS["disconnect_reasons"]
    found = json.dumps(SCHEMAS["messages.json"])
    assert f'{{"type": "array", "items": {{"enum": {json.dumps(WORDS["needs"])}}}}}' in found
    assert f'"uniqueItems": true, "items": {{"enum": {json.dumps(WORDS["elided"])}}}' in found
    assert f'"propertyNames": {{"enum": {json.dumps(HOOKS["data_post_headers"]["ahead"])}}}' in found
    for codes in (WORDS["reject_codes"], WORDS["cancel_reasons"]):
        assert f'"{", ".join(codes)}; more may come"' in found


def test_the_schema_wants_the_same_of_an_event():
    choices = [choice for choice in DEFS["args_of_hook"]["allOf"] if "hook" in choice["if"]["properties"]]
    wanted = {hook: [[], "maybe"] for hook in HOOKS}
    for choice in choices:
        said = choice["if"]["properties"]["hook"]
        for hook in said.get("enum", [said.get("const")]):
            then = choice["then"]
            if "required" in then:
                wanted[hook][1] = "yes"
            if "properties" in then:
                wanted[hook][0] = DEFS[then["properties"]["args"]["$ref"].split("/")[-1]]["required"]
    for hook, (args, transaction) in wanted.items():
        assert HOOKS[hook]["args"] == args, hook
        assert (HOOKS[hook]["transaction"] == "yes") == (transaction == "yes"), hook


def test_the_schema_has_the_same_actions():
    said = {choice["properties"]["op"]["const"]: choice["required"] for choice in DEFS["action"]["oneOf"]}
    assert said == WORDS["actions"] and list(said) == list(WORDS["actions"])


def test_the_schema_has_the_same_limits():
    hello, said = DEFS["hello"]["properties"], DEFS["verdict"]["properties"]
    assert DEFS["short_text"]["maxLength"] == LIMITS["short_text"]
    assert DEFS["free_text"]["maxLength"] == LIMITS["free_text"]
    assert DEFS["integer"]["maximum"] == -DEFS["integer"]["minimum"] == LIMITS["integer"]
    assert f"{{0,{LIMITS['code'] - 1}}}" in DEFS["code"]["pattern"]
    assert f"{{0,{LIMITS['pool_name'] - 1}}}" in DEFS["pool_name"]["pattern"]
    assert f"{{1,{LIMITS['worker_name']}}}" in DEFS["worker_name"]["pattern"]
    assert (hello["max_frame"]["minimum"], hello["max_frame"]["maximum"]) == (LIMITS["least_max_frame"], LIMITS["most_max_frame"])
    assert hello["concurrency"]["maximum"] == LIMITS["concurrency"]
    assert hello["plugins"]["maxItems"] == LIMITS["plugins"]
    assert said["actions"]["maxItems"] == LIMITS["actions"]
    assert said["trace"]["maxItems"] == LIMITS["trace"]
    assert DEFS["reply"]["properties"]["text"]["maxItems"] == LIMITS["reply_lines"]
    assert DEFS["reply_line"]["maxLength"] == LIMITS["reply_line_octets"]
    assert f'"maxLength": {LIMITS["header_name_octets"]}' in json.dumps(DEFS["header_name"])


# The prose


def test_the_prose_lists_the_same_hooks():
    listed = re.findall(r"^## (`.*)$", text("events.md"), re.M)
    named = [word for heading in listed for word in re.findall(r"`([a-z_]+)`", heading) if word in HOOKS]
    assert sorted(named) == sorted(HOOKS)
    order = re.findall(r"[a-z_]+", section("events.md", "# The order of things", "`data_headers_end` is asked"))
    assert [word for word in order if word in HOOKS] == ASKED[: ASKED.index("queue") + 1] + ["quit"]
    for hook, row in HOOKS.items():
        named = [word for cells in argument_rows(hook) for word in words_in(cells[0])]
        assert set(row["args"]) <= set(named), hook


def argument_rows(hook):
    """The rows of the tables of `args` in the hook's section."""
    for part in re.split(r"^#+ ", text("events.md"), flags=re.M):
        if hook in words_in(part.split("\n")[0]):
            yield from cells_of(part)


def test_the_table_of_replies_is_the_same():
    said = {cells[0].strip("`"): cells[1:] for cells in rows("verdicts.md") if len(cells) == 8}
    assert list(said) == sorted(ASKED, key=list(said).index) and set(said) == set(ASKED)
    for hook, cells in said.items():
        assert cells == [HOOKS[hook]["verdicts"].get(word, "–") for word in WORDS["verdicts"]], hook


def test_the_table_of_ok_codes_is_the_same():
    said = {}
    for line in section("verdicts.md", "**Codes.**", "`done`: at").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        for hooks, codes in zip(cells[::2], cells[1::2]):
            for hook in re.findall(r"`([a-z_]+)`", hooks):
                said[hook] = [int(code) for code in codes.split(",")]
    assert said == {hook: HOOKS[hook]["ok_codes"] for hook in ASKED if HOOKS[hook]["ok_codes"]}
    silent = re.findall(r"`([a-z_]+)`", section("verdicts.md", "with `ok` at ", "\nwhere the client"))
    assert silent == [hook for hook in ASKED if HOOKS[hook]["ok_reply"] == "none"]


def test_the_table_of_actions_is_the_same():
    same, said = None, {}
    for cells in rows("verdicts.md"):
        if len(cells) == 3 and "." in cells[0]:
            same = same if cells[2] == "the same" else re.findall(r"`([a-z_]+)`", cells[2])
            said[cells[0].strip("`")] = same
    assert list(said) == list(WORDS["actions"])
    for op, hooks in said.items():
        assert hooks == [hook for hook in ASKED if op in HOOKS[hook]["actions"]], op


def test_the_prose_has_the_same_codes():
    assert [f"`{word}`" for word in WORDS["verdicts"]] == [
        cells[0] for cells in rows("verdicts.md") if len(cells) == 2 and cells[0].strip("`") in WORDS["verdicts"]
    ]
    assert first_cells(section("README.md", "**A broken line ends", "What follows such")) == WORDS["broken_lines"]
    assert first_cells(section("README.md", "| `needs` | adds |", "These parts cost")) == WORDS["needs"]
    keywords = section("README.md", "| keyword | what", "All workers")
    assert re.findall(r"^\| `([A-Z-]+)` \(RFC", keywords, re.M) == WORDS["extensions"]
    assert first_cells(section("README.md", "### `reject` (frontend)")) == WORDS["reject_codes"]
    assert first_cells(section("README.md", "## 8. ", "- **Retry")) == WORDS["failures"]
    assert first_cells(section("verdicts.md", "## Invalid verdicts")) == WORDS["violations"]
    invalid = re.findall(r"^\| `([a-z_]+)`", section("failure.md", "## Invalid verdicts"), re.M)
    assert sorted(invalid) == sorted(WORDS["violations"])
    assert set(WORDS["broken_lines"]) == {
        cells[5].strip("`").removeprefix("bye ") for name, cells in FAILURES.items() if name in first_cells(section("failure.md", "## Lines"))
    } - {"gone", "stays"}
    assert {code for cells in FAILURES.values() for code in re.findall(r"`reject (\w+)`", cells[5])} == set(WORDS["reject_codes"])
    messages = list(cells_of(section("README.md", "## 4. ", "Optional fields")))
    assert {word: cells[1] for cells in messages for word in words_in(cells[0])} == WORDS["messages"]
    assert {words_in(cells[0])[0]: cells[1] for cells in cells_of(section("README.md", "| `bye` code |"))} == WORDS["bye_codes"]
    cancel = re.search(r"\| `cancel` \|.*", text("README.md"))[0].split("`reason`")[1]
    assert words_in(cancel) == WORDS["cancel_reasons"]
    drains = section("README.md", "`reason` is a word for the log", "```")
    assert words_in(drains) == list(WORDS["drain_reasons"])


def test_the_prose_has_the_same_error_codes():
    listed = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([\w, –]+) \|", section("README.md", "**`error`**", "**`progress`**"), re.M)
    assert [(code, started, sdks) for code, started, sdks in listed] == [
        (entry["code"], entry["started"], ", ".join(entry["sdks"]) or "–") for entry in WORDS["error_codes"]
    ]


def test_the_prose_has_the_same_failure_policies():
    said = re.search(r"\| `policy` \| (.*) \|", text("failure.md"))[1]
    usual = {word: re.search(rf"`{word}` (\d\d\d \d\.\d\.\d)", said)[1] for word in ("tempfail", "reject")}
    except_ = dict(re.findall(r"`(connect|auth)` (\d\d\d \d\.\d\.\d)", said))
    answered = re.findall(r"`([a-z]+)`", said.split("answered as usual")[0].split("reject` 554 5.3.0")[1])
    for hook in ASKED:
        replies = HOOKS[hook]["failures"]
        if hook in answered:
            assert set(replies.values()) == {HOOKS[hook]["verdicts"]["declined"]}, hook
        else:
            close = ", close" if hook == "connect" else ""
            assert replies["tempfail"] == except_.get(hook, usual["tempfail"]) + close, hook
            assert replies["reject"] == usual["reject"] + close, hook


def test_the_prose_has_the_same_limits():
    readme, verdicts, failure = text("README.md"), text("verdicts.md"), text("failure.md")
    assert f"`concurrency` | 0…{LIMITS['concurrency']:,}, default {LIMITS['default_concurrency']} |" in readme
    span = f"{LIMITS['least_max_frame']:,}…{LIMITS['most_max_frame']:,}, default {LIMITS['default_max_frame']:,}"
    assert f"`max_frame` | {span} |" in readme
    assert f"SDKs ask for {LIMITS['sdk_max_frame']:,}" in readme
    assert f"themselves fit {LIMITS['handshake_frame']:,}" in readme
    assert f"Nesting is at most {LIMITS['nesting']};" in readme
    assert f"list of at most {LIMITS['actions']} (`limits.actions`)" in " ".join(verdicts.split()).replace("A list", "list")
    assert f"list of at most {LIMITS['trace']}" in verdicts
    assert f"1 to {LIMITS['reply_lines']} lines, each at most {LIMITS['reply_line_octets']} octets" in verdicts
    assert f"at most {LIMITS['notes_octets']:,} octets as compact JSON" in verdicts
    assert f"1 to {LIMITS['header_name_octets']} octets of 33 to 126 without the colon" in verdicts
    assert f"more than {LIMITS['header_line_octets']} octets (RFC 5322" in verdicts
    assert f"the value has at most {LIMITS['header_value_octets']:,} octets" in verdicts
    assert f"a host name: 1 to {LIMITS['client_name_octets']} octets" in verdicts
    assert f"string of at most {LIMITS['short_text']} characters" in verdicts
    assert f"with `challenge`, at most {LIMITS['challenge_octets']:,}\n  octets" in verdicts
    assert f"`state`, at most {LIMITS['state_octets']:,} octets" in verdicts
    assert LIMITS["login_steps"] == 8 and "the eighth message of a client is not answered with another" in verdicts
    assert f"more than {LIMITS['progress']} `progress` for one event" in failure
    assert LIMITS["losses"] == 3 and "is retried, twice at most, on another worker" in readme
    assert LIMITS["attempts"] == 8 and "until its deadline, eight times in all" in " ".join(readme.split())


# The transcripts


def test_events_of_the_transcripts_have_the_parts_that_the_table_says():
    seen = set()
    for path in TRANSCRIPTS:
        for step in transcript(path)[1]:
            line = step.get("line", {})
            if step.get("from") != "frontend" or line.get("type") not in ("event", "notify") or not is_message(line):
                continue
            row = HOOKS[line["hook"]]
            seen.add((line["hook"], "transaction" in line))
            assert row["transaction"] == "maybe" or ("transaction" in line) == (row["transaction"] == "yes"), path.name
            assert set(row["args"]) <= set(line["args"]), path.name
    assert {hook for hook, _ in seen} == set(HOOKS)


# The Python SDK


def test_the_python_sdk_has_the_same_words():
    assert verdict.WORDS == tuple(WORDS["verdicts"])
    assert worker.NEEDS == tuple(WORDS["needs"])
    assert worker.DECIDED == tuple(ASKED)
    assert worker.NOTIFIED == tuple(TOLD)
    named = [hook for hook, kind in worker.Worker.__annotations__.items() if "HookDecorator" in str(kind)]
    assert named == [*ASKED, *TOLD]
    ours = {kind for kind, sender in WORDS["messages"].items() if sender == "worker"}
    handshake = {"welcome", "reject"}
    assert connection._OURS == ours
    assert connection._TYPES == set(WORDS["messages"]) - ours - handshake
    source = (ROOT / "sdk/python/gatepost/event.py").read_text("utf-8")
    operations = set(re.findall(r'"op": "([a-z._]+)"', source))
    assert operations == set(WORDS["actions"])


def test_the_python_sdk_has_the_same_limits():
    assert wire.LARGEST == LIMITS["integer"]
    assert wire.DEEPEST == LIMITS["nesting"]
    assert header.LONGEST_LINE == LIMITS["header_line_octets"]
    assert verdict.MOST_LINES == LIMITS["reply_lines"]
    assert verdict.LONGEST_LINE == LIMITS["reply_line_octets"]
    assert connection.LONGEST_TEXT == LIMITS["free_text"]
    assert connection.SMALLEST_FRAME == LIMITS["least_max_frame"] == LIMITS["handshake_frame"]
    made = worker.Worker("demo")
    assert made.max_frame == LIMITS["sdk_max_frame"]
    made.hook("rcpt", plugin="p" * 200)(lambda _: None)
    assert len(made.hello()["plugins"][0]) == LIMITS["short_text"]


# Codes that are literals in the Python SDK


def test_the_python_sdk_sends_the_error_codes_that_the_table_says():
    source = "".join((ROOT / "sdk/python/gatepost" / name).read_text("utf-8") for name in ("connection.py", "worker.py"))
    said = re.findall(r'(?:\.fail\(\s*event,|_error\(id,) "([a-z_]+)", (True|False|event)', source)
    started = {entry["code"]: entry["started"] for entry in WORDS["error_codes"]}
    assert {code for code, _ in said} == {entry["code"] for entry in WORDS["error_codes"] if "Python" in entry["sdks"]}
    for code, value in said:
        assert started[code] in (value.lower(), "either"), code


def test_the_python_sdk_says_the_bye_codes_of_the_table():
    source = (ROOT / "sdk/python/gatepost/connection.py").read_text("utf-8")
    said = set(re.findall(r'(?:_close\(|leave\(self, code: str = )"([a-z_]+)"', source))
    assert said and said <= {code for code, sender in WORDS["bye_codes"].items() if sender == "worker"}
