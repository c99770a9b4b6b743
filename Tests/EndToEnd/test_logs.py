"""Logs: one line for each session and each transaction, with the pool, worker and plugin that decided."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.gatepost import ROOT, Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until
from harness.wire import Message, accepting

REFUSED = {"text": ["not today"]}
BODY = b"Subject: x\r\n\r\n..dots\r\n"
HALF = b"Subject: x\r\n\r\nhalf"


@pytest.fixture
def refusing(gatepost: Gatepost) -> Callable[[str], Gatepost]:
    """A frontend whose worker refuses at one hook."""

    def start(hook: str) -> Gatepost:
        frontend = gatepost.frontend()
        asked = ["connect", "ehlo", "mail", "rcpt", "data_post", "queue"]
        answer = {"verdict": "deny", "plugin": "the_plugin", "reply": REFUSED}
        worker = gatepost.python_worker(
            asked, accepting(**{hook: answer}), worker={"name": "the-worker", "pid": 1}
        )
        gatepost.logs_of = frontend  # type: ignore[attr-defined]
        gatepost.worker_to_close = worker  # type: ignore[attr-defined]
        return gatepost

    return start


@pytest.mark.parametrize("hook", ["connect", "ehlo", "mail", "rcpt", "data_post", "queue"])
def test_a_refusal_names_its_author(refusing: Callable[[str], Gatepost], hook: str) -> None:
    server = refusing(hook)
    with server.connect() as client:
        for line in ("", "EHLO client.example", "MAIL FROM:<bob@example.net>"):
            reply = client.command(line) if line else client.reply()
            if not reply.is_positive:
                break
        else:
            reply = client.command("RCPT TO:<alice@example.com>")
            if reply.is_positive:
                reply = client.data(b"Subject: x\r\n\r\ny\r\n")
        assert "not today" in reply.text, client.describe(str(reply))
    line = server.programs[0].logged("the_plugin")
    for word in ("the-worker", "policy", hook, str(reply.code), "not today"):
        assert word in line, f"{word} is missing: {line}"
    server.worker_to_close.close()  # type: ignore[attr-defined]


def test_one_line_a_session_and_one_a_transaction(serving: Gatepost) -> None:
    frontend = serving.programs[0]
    at = frontend.log_position()
    with serving.connect() as client:
        client.ehlo("summary.example")
        client.deliver(b"Subject: 1\r\n\r\n", "one@example.net")
        client.deliver(b"Subject: 2\r\n\r\n", "two@example.net")
        client.quit()
    frontend.logged("summary.example", after=at)
    # A line about the worker may come late: the log has a thread of its own.
    lines = [line for line in frontend.log()[at:].splitlines() if " session=" in line]
    assert len([line for line in lines if "one@example.net" in line]) == 1, lines
    assert len([line for line in lines if "two@example.net" in line]) == 1, lines
    (transaction,) = [line for line in lines if "one@example.net" in line]
    assert "queue/maildir" in transaction and "250" in transaction, transaction
    assert len(lines) == 3, "\n".join(lines)


def test_client_octets_are_escaped(serving: Gatepost) -> None:
    """Nothing that a client sends makes a line of its own or moves a cursor."""
    frontend = serving.programs[0]
    at = frontend.log_position()
    with serving.connect() as client:
        client.expect(220)
        client.send(b"EHLO \x1b[2J\x07evil\r\n")
        client.reply()
        client.send(b"\x1b]0;title\x07 forged\x0bline\xc2\x85more\xe2\x80\xa8\r\n")
        client.reply()
        client.send(b"MAIL FROM:<\x1b[31m@example.net>\r\n")
        client.reply()
        client.command("QUIT", 221)
    frontend.logged(r"127\.0\.0\.1", after=at)
    log = frontend.log_path.read_bytes()
    for octets in (b"\x1b", b"\x07", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\r"):
        assert octets not in log


@pytest.mark.parametrize("program", ["frontend", "worker"])
def test_json_logs(gatepost: Gatepost, program: str) -> None:
    """`--log-format json`: each line an object with a message and the facts beside it."""
    gatepost.write_frontend_toml()
    frontend = gatepost.start("gatepost-frontend", "--config", gatepost.config, "--log-format", "json")
    worker = gatepost.start("gatepost-worker", "--config", gatepost.config, "--log-format", "json")
    frontend.ready()
    worker.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
        client.quit()
    assert frontend.stop() == 0 and worker.stop() == 0
    log = {"frontend": frontend, "worker": worker}[program].log()
    lines: list[Message] = [json.loads(line) for line in log.splitlines()]
    assert lines and all(isinstance(line, dict) for line in lines)
    keys = set.intersection(*(set(line) for line in lines))
    assert {"level", "message"} <= keys, keys


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_client_and_a_worker_say_ends_no_quote(gatepost: Gatepost, log_format: str) -> None:
    """A quotation mark with a combining mark is one; so is one that a worker's plugin name has."""
    frontend = gatepost.frontend("--log-format", log_format, ready=False)
    plugin = 'p\x1b[31m"\u0301 result=accepted'
    answer = {"verdict": "deny", "plugin": plugin, "reply": REFUSED}
    worker = gatepost.python_worker(["rcpt"], accepting(rcpt=answer))
    frontend.ready()
    with gatepost.connect() as client:
        client.expect(220)
        client.send('EHLO x"\u0301=\u009b31m\u202ex\r\n'.encode())
        client.reply()
        client.send('MAIL FROM:<"a\\"\u0301 result=accepted"@b.test> SMTPUTF8\r\n'.encode())
        client.reply()
        client.command("RCPT TO:<bob@example.com>", 550)
        client.command("QUIT", 221)
    frontend.logged("session.*quit")
    worker.close()
    log = frontend.log()
    assert not any(character in log for character in "\x1b\u0301\u009b\u202e"), log
    if log_format == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert plugin in [line.get("plugin") for line in lines], log
    else:
        assert r'plugin="p\u{1b}[31m\"\u{301} result=accepted"' in log, log


def test_a_log_that_nobody_reads_stops_no_session(gatepost: Gatepost) -> None:
    """Standard error is a pipe of one page that stays full."""
    path = gatepost.folder / "gatepost-frontend-0.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    frontend = gatepost.frontend(ready=False)
    frontend.log_path = gatepost.folder / "nobody reads"
    frontend.log_path.touch()
    worker = gatepost.python_worker(["rcpt"], accepting())
    frontend.ready()
    for _ in range(40):
        with gatepost.connect() as client:
            client.ehlo("a.host.with.a.long.name.so.that.its.line.is.long.example")
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.command("RSET", 250)
            client.command("QUIT", 221)
    worker.close()
    assert frontend.stop() == 0
    octets = b""
    while chunk := os.read(reader, 65_536):
        octets += chunk
    os.close(reader)
    assert octets.endswith(b"\n") and 1_000 < len(octets) <= 4_096, len(octets)


def test_log_level(gatepost: Gatepost) -> None:
    gatepost.frontend("--log-level", "error")
    worker = gatepost.python_worker(["rcpt", "queue"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
    worker.close()
    assert gatepost.programs[0].log() == ""


# What a line says of whom, read from JSON logs.


@pytest.fixture
def said(gatepost: Gatepost) -> Callable[..., list[Message]]:
    """Runs one dialogue against a worker's answers; returns the frontend's lines about sessions."""

    def run(hooks: Any, answer: Any, dialogue: Callable[[Dialogue], None]) -> list[Message]:
        frontend = gatepost.frontend("--log-format", "json")
        worker = gatepost.python_worker(hooks, answer, worker={"name": "w", "pid": 1})
        with gatepost.connect() as client:
            client.ehlo()
            dialogue(client)
        frontend.logged('"message":"session"')
        worker.close()
        lines = [json.loads(line) for line in frontend.log().splitlines()]
        return [line for line in lines if "session" in line]

    return run


def refusing_eve(event: Message) -> Message:
    if event["hook"] == "rcpt" and event["args"]["recipient"]["local"].startswith("eve"):
        return {"verdict": "deny", "plugin": "the_plugin", "reply": REFUSED}
    return {"verdict": "ok" if event["hook"] in ("rcpt", "queue") else "declined"}


def test_each_refused_recipient_has_a_line(said: Callable[..., list[Message]]) -> None:
    def dialogue(client: Dialogue) -> None:
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<eve@example.com>", 550)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.command("RCPT TO:<eve2@example.com>", 550)
        client.data(BODY)
        client.quit()

    *refusals, transaction, session = said(["rcpt", "queue"], refusing_eve, dialogue)
    assert [line["recipient"] for line in refusals] == ["eve@example.com", "eve2@example.com"]
    for line in refusals:
        assert line["message"] == "a recipient was refused" and line["client"] == "127.0.0.1"
        assert (line["hook"], line["verdict"], line["reason"]) == ("rcpt", "deny", "policy")
        assert line["reply"].startswith("550 ") and "not today" in line["reply"]
        assert (line["plugin"], line["pool"]) == ("the_plugin", "policy")
        assert line["worker"].startswith("w#")
        assert line["transaction"] == transaction["transaction"]
        assert line["session"] == transaction["session"] == session["session"]
    assert transaction["result"] == "accepted" and transaction["end"] == "done"
    assert transaction["octets"] == len(BODY) and transaction["reply"].startswith("250 ")
    assert (transaction["recipients"], transaction["recipients_refused"]) == (1, 2)
    assert (session["accepted"], session["not_accepted"], session["errors"]) == (1, 0, 0)


def refused_then(*lines: str) -> Callable[[Dialogue], None]:
    """A transaction with a refused and a granted recipient, then `lines`; then the client is gone."""

    def dialogue(client: Dialogue) -> None:
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<eve@example.com>", 550)
        client.command("RCPT TO:<alice@example.com>", 250)
        for line in lines:
            client.command(line)

    return dialogue


def gone_inside_the_message(client: Dialogue) -> None:
    refused_then("DATA")(client)
    client.send(HALF)


def silent_inside_the_message(client: Dialogue) -> None:
    gone_inside_the_message(client)
    client.expect(421)


@pytest.mark.parametrize(
    ("dialogue", "end", "reason", "octets"),
    [
        (refused_then("RSET"), "rset", None, None),
        (refused_then("EHLO again.example"), "hello", None, None),
        (refused_then("QUIT"), "quit", None, None),
        (refused_then(), "client_gone", None, None),
        (gone_inside_the_message, "client_gone", None, len(HALF)),
        (silent_inside_the_message, "timeout", "timeout", len(HALF)),
    ],
)
def test_a_transaction_ends_as_it_ended(
    gatepost: Gatepost,
    said: Callable[..., list[Message]],
    dialogue: Callable[[Dialogue], None],
    end: str,
    reason: str | None,
    octets: int | None,
) -> None:
    """The plugin that refused a recipient before has no part in it."""
    if end == "timeout":
        gatepost.limits(data_timeout_ms=1_000)
    lines = said(["rcpt", "queue"], refusing_eve, dialogue)
    (transaction,) = [line for line in lines if line["message"] == "transaction"]
    assert transaction["result"] == "not accepted" and transaction["end"] == end
    assert transaction["recipients_refused"] == 1
    assert not {"plugin", "worker", "hook", "verdict"} & set(transaction), transaction
    assert transaction.get("reason") == reason
    assert ("reply" in transaction) == (reason is not None)
    assert transaction.get("octets") == octets


def test_the_size_of_a_refused_message_is_its_own(said: Callable[..., list[Message]]) -> None:
    answer = {"verdict": "deny", "plugin": "the_plugin", "reply": REFUSED}

    def dialogue(client: Dialogue) -> None:
        client.envelope()
        assert client.data(BODY).code == 554

    lines = said(["rcpt", "data_post"], accepting(data_post=answer), dialogue)
    (transaction,) = [line for line in lines if line["message"] == "transaction"]
    assert transaction["octets"] == len(BODY) and transaction["end"] == "done"
    assert (transaction["plugin"], transaction["hook"]) == ("the_plugin", "data_post")


@pytest.mark.parametrize("hook", ["rcpt", "data", "data_headers_end"])
def test_a_refusal_that_closes_the_session_ends_the_transaction(
    said: Callable[..., list[Message]], hook: str
) -> None:
    answer = {"verdict": "deny_disconnect", "plugin": "the_plugin", "reply": REFUSED}

    def dialogue(client: Dialogue) -> None:
        client.send(b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n")
        if hook == "data_headers_end":
            for _ in range(3):
                client.reply()
            client.send(BODY)
        client.drain()

    lines = said(["rcpt", hook], accepting(**{hook: answer}), dialogue)
    transaction, session = lines[-2:]
    for line in (transaction, session):
        assert line["end"] == "refused" and line["reason"] == "policy"
        assert (line["plugin"], line["hook"], line["verdict"]) == ("the_plugin", hook, "deny_disconnect")


def test_a_message_that_is_too_big_has_its_size_and_its_reason(
    gatepost: Gatepost, said: Callable[..., list[Message]]
) -> None:
    gatepost.limits(max_message_octets=65_536)
    body = BODY + b"line\r\n" * 20_000

    def dialogue(client: Dialogue) -> None:
        client.envelope()
        assert client.data(body).code == 552

    lines = said(["rcpt"], accepting(), dialogue)
    (transaction,) = [line for line in lines if line["message"] == "transaction"]
    assert transaction["octets"] == len(body) and transaction["end"] == "done"
    assert transaction["reason"] == "message_too_big" and transaction["reply"].startswith("552 ")


def test_a_replaced_message_has_the_size_that_came(
    gatepost: Gatepost, said: Callable[..., list[Message]]
) -> None:
    def answer(event: Message) -> Message:
        if event["hook"] != "data_post":
            return refusing_eve(event)
        out = Path(gatepost.frontend_toml["spool_directory"]) / "mx1" / "out" / "policy"
        (out / "new").write_bytes(b"Subject: new\r\n\r\n" + b"much longer\r\n" * 99)
        return {"verdict": "declined", "actions": [{"op": "message.replace", "path": "new"}]}

    def dialogue(client: Dialogue) -> None:
        client.deliver(BODY)

    lines = said(["rcpt", "data_post", "queue"], answer, dialogue)
    (transaction,) = [line for line in lines if line["message"] == "transaction"]
    assert transaction["result"] == "accepted" and transaction["octets"] == len(BODY)


def test_what_smtp_refuses_has_a_line_with_its_reason(said: Callable[..., list[Message]]) -> None:
    """No line of the client but MAIL and RCPT is shown: AUTH's has a password."""
    commands = [
        ("RCPT TO:<early@example.com>", "503", "bad_sequence"),
        ("MAIL FROM:<a b@example.net>", "501", "bad_address"),
        ("AUTH PLAIN AHNlY3JldA==", "502", "not_offered"),
        ("AHNlY3JldA==", "500", "unrecognized_command"),
    ]

    def dialogue(client: Dialogue) -> None:
        for line, code, _ in commands:
            client.command(line, int(code))
        client.quit()

    *refusals, session = said(["rcpt"], accepting(), dialogue)
    assert [line["message"] for line in refusals] == ["a command was refused"] * len(commands)
    for line, (command, code, reason) in zip(refusals, commands):
        assert line["reply"].startswith(code) and line["reason"] == reason
        assert line["session"] == session["session"] and line["client"] == "127.0.0.1"
        assert line.get("command") == (command if command[:4] in ("MAIL", "RCPT") else None)
    assert "AHNlY3JldA" not in json.dumps(refusals)
    assert session["errors"] == len(commands)


def test_too_many_errors_are_the_reason_of_the_end(
    gatepost: Gatepost, said: Callable[..., list[Message]]
) -> None:
    gatepost.limits(max_errors=2)

    def dialogue(client: Dialogue) -> None:
        for code in (503, 503, 421):
            client.command("DATA", code)

    *refusals, session = said(["rcpt"], accepting(), dialogue)
    assert len(refusals) == 2
    assert session["reason"] == "too_many_errors" and session["reply"].startswith("421 ")


def test_refusals_that_a_client_causes_at_will_are_counted(said: Callable[..., list[Message]]) -> None:
    """So many lines a second and session; each that is missing is in some `lines_suppressed`."""
    count = 400

    def dialogue(client: Dialogue) -> None:
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.send(b"RCPT TO:<eve@example.com>\r\n" * count)
        for _ in range(count):
            client.expect(550)
        client.command("QUIT", 221)

    lines = said(["rcpt"], refusing_eve, dialogue)
    refusals = [line for line in lines if line["message"] == "a recipient was refused"]
    assert len(refusals) + sum(line.get("lines_suppressed", 0) for line in lines) == count
    assert len(refusals) < count


def test_every_recipient_that_was_granted_is_named(said: Callable[..., list[Message]]) -> None:
    names = [f"a.recipient.with.a.long.name.{index}@example.com" for index in range(30)]

    def dialogue(client: Dialogue) -> None:
        client.command("MAIL FROM:<bob@example.net>", 250)
        for name in names:
            client.command(f"RCPT TO:<{name}>", 250)
        client.data(BODY)
        client.quit()

    transaction, *more, session = said(["rcpt", "queue"], accepting(), dialogue)
    assert transaction["recipients"] == 30 and len(more) == 3
    assert {line["message"] for line in more} == {"more recipients"}
    assert all(line["transaction"] == transaction["transaction"] for line in more)
    others = [name for line in more for name in line["addresses"].split(",")]
    assert [transaction["recipient"], *others] == names


def keys_in_the_documentation() -> dict[str, set[str]]:
    """The keys of each line, from the table of docs/operating.md."""
    text = (ROOT / "docs" / "operating.md").read_text()
    section = text.split("## What the log says of mail", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([a-z ]+)` \|[^|]*\| (.*) \|$", section, re.MULTILINE)
    return {line: set(re.findall(r"`(\w+)`", keys)) for line, keys in rows}


def refusing_by_name(event: Message) -> Message | None:
    """An answer by the local part that is asked about, or by the hook."""
    asked = event["args"]
    path = asked.get("recipient", asked.get("sender", {}))
    name = path.get("local", asked.get("name", event["hook"]))
    if name in ("failing", "data", "vrfy"):
        return {"type": "error", "code": "exception", "message": "broken"}
    if name in ("eve", "mallory", "refused"):
        return {"verdict": "deny", "plugin": "the_plugin"}
    return {"verdict": "ok" if event["hook"] in ("rcpt", "queue") else "declined"}


def test_the_documentation_has_the_keys_of_each_line(gatepost: Gatepost) -> None:
    """Whatever a line has stands there, and what stands there is in some line."""
    gatepost.limits(
        max_errors=100_000, max_refused_recipients=100_000, max_commands_per_second=100, max_commands_without_message=0
    )
    gatepost.pool["hooks"] = {hook: {"on_failure": "skip"} for hook in ("data", "vrfy")}
    frontend = gatepost.frontend("--log-format", "json")
    hooks = ["helo", "mail", "rcpt", "data", "queue", "vrfy"]
    worker = gatepost.python_worker(hooks, refusing_by_name, worker={"name": "w"})

    def has_suppressed(message: str) -> bool:
        return re.search(f'"{message}".*"lines_suppressed"', frontend.log()) is not None

    with gatepost.connect() as client:
        client.expect(220)
        for line in (
            *("HELO refused", "EHLO client.example", "MAIL FROM:<mallory@example.net>"),
            *("MAIL FROM:<failing@example.net>", "MAIL FROM:<bob@example.net>", "RCPT TO:<eve@example.com>"),
            *("RCPT TO:<failing@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"),
            *("DATA", "x\r\n.", "MAIL FROM:<bob@example.net>"),
        ):
            client.command(line)
        for recipient, message in [
            ("eve@example.com", "a recipient was refused"),
            ("a b@example.com", "a command was refused"),
        ]:
            wait_until(
                lambda: client.command(f"RCPT TO:<{recipient}>") and has_suppressed(message),
                20,
                f"lines of `{message}` that were suppressed",
            )
        for _ in range(50):
            client.command("RCPT TO:<a b@example.com>", 501)
        client.command("RSET", 250)
        # Before our reply came, so that this is an early talker; VRFY fails and is skipped.
        client.send(b"EHLO client.example\r\nVRFY bob\r\nQUIT\r\n")
        for _ in range(3):
            client.reply()
    with gatepost.connect() as client:
        client.expect(220)
        client.command("HELO failing", 451)
        client.quit()
    with gatepost.connect() as client:
        client.socket.sendall(b"RSET\r\n" * 3_000)
        client.drain()
    wait_until(lambda: frontend.log().count('"message":"session"') == 3, 20, frontend.log)
    worker.close()
    documented = keys_in_the_documentation()
    seen: dict[str, set[str]] = {}
    for text in frontend.log().splitlines():
        line = json.loads(text)
        if line["message"] in documented:
            keys = set(line) - {"time", "level", "program", "message"}
            seen.setdefault(line["message"], set()).update(keys)
    assert seen == documented
