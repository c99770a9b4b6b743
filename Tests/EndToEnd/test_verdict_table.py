"""Every cell of the table in protocol/verdicts.md: hook × verdict → what the client gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.gatepost import Gatepost
from harness.sessions import reply_at
from harness.wire import DECISIONS, Message, Worker

TABLE = Path(__file__).resolve().parents[2] / "protocol" / "verdicts.md"
#: `done` says the whole reply; this one.
DONE = {"code": 450, "status": "4.7.1", "text": ["done and nothing else"]}


def cells() -> Iterator[tuple[str, str, str]]:
    """Hook, verdict, and what the cell says."""
    lines = TABLE.read_text("utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| hook | all declined |"))
    head = [cell.strip(" `") for cell in lines[start].strip("|").split("|")]
    head[1] = "declined"
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        row = [cell.strip(" `") for cell in line.strip("|").split("|")]
        yield from ((row[0], verdict, cell) for verdict, cell in zip(head[1:], row[1:]))


CELLS = list(cells())


@pytest.fixture(scope="module")
def stage(make_gatepost: Callable[..., Gatepost]) -> Iterator[tuple[Gatepost, dict[str, Message]]]:
    """A frontend, and a worker that answers as the returned dictionary says: hook → verdict."""
    server = make_gatepost()
    server.limits(max_errors=0, max_unrecognized=0)
    server.offer_auth()
    server.frontend()
    answers: dict[str, Message] = {}

    def handle(event: Message) -> Message:
        default = "ok" if event["hook"] in ("rcpt", "queue") else "declined"
        return answers.get(event["hook"], {"verdict": default})

    worker = Worker(server.socket(), list(DECISIONS), handle)
    yield server, answers
    worker.close()


#: The reply of a command whose hooks all let it go on.
GOES_ON = "250 2.0.0"


@pytest.mark.parametrize(("hook", "verdict", "cell"), CELLS, ids=[f"{h}-{v}" for h, v, _ in CELLS])
def test_cell(
    stage: tuple[Gatepost, dict[str, Message]], hook: str, verdict: str, cell: str
) -> None:
    server, answers = stage
    answers.clear()
    answers[hook] = {"verdict": verdict}
    if verdict == "done":
        answers[hook]["reply"] = {**DONE, "code": 221, "status": "2.0.0"} if hook == "quit" else DONE
    if (hook, verdict) == ("auth", "done"):
        challenge = {"op": "auth.challenge", "challenge": "what next", "state": ""}
        answers[hook] = {"verdict": verdict, "actions": [challenge]}
    if hook == "received_line" and verdict == "ok":
        answers[hook]["reply"] = {"text": ["from nowhere"]}
    with server.connect() as client:
        reply = reply_at(client, hook)
        expected = wanted(hook, verdict, cell)
        match = re.fullmatch(r"(\d{3})(?: ([245]\.\d\.\d))?(, close)?", expected)
        assert match is not None, f"a cell that this test cannot read: {cell}"
        code, status, close = int(match[1]), match[2], match[3]
        assert reply.code == code, client.describe(f"{hook} × {verdict}: {reply}, not {expected}")
        # HELO and EHLO carry no enhanced status codes when they are granted (RFC 2034 §4).
        if status and not (hook in ("helo", "ehlo") and code == 250):
            assert reply.status == status, client.describe(f"{reply}, not {expected}")
        if verdict == "done" and cell == "reply":
            assert "done and nothing else" in reply.text
        answers.clear()
        if code == 334:
            assert reply.text == "d2hhdCBuZXh0"
            client.command("*", 501)
        if close or hook == "quit":
            client.closed()
        else:
            client.command("RSET" if code != 354 else ".", 250)
            client.command("NOOP", 250)


def wanted(hook: str, verdict: str, cell: str) -> str:
    """The cell in words of SMTP."""
    if cell == "–":
        # The verdict is invalid, and so the failure policy decides; what needs no policy is granted.
        granted = {"quit": "221 2.0.0", "help": "214 2.0.0", "noop": "250 2.0.0"}
        return {"connect": "421 4.3.0, close", "auth": "454 4.3.0", **granted}.get(hook, "451 4.3.0")
    if cell == "reply":
        return "221 2.0.0" if hook == "quit" else "450 4.7.1"
    return GOES_ON if cell == "go on" else cell


#: A worker's words for a verdict: hook, verdict, `reply`, and the lines that the client gets. The
#: frontend's name is `mx1.example.com`.
WORDS = [
    ("connect", "ok", {"text": ["at your service", "no spam"]}, ["220-mx1.example.com at your service ESMTP", "220 no spam"]),
    ("connect", "ok", {"code": 220, "text": ["mx1.example.com ESMTP hello"]}, ["220 mx1.example.com ESMTP hello"]),
    ("helo", "ok", {"text": ["pleased to meet you"]}, ["250 mx1.example.com pleased to meet you"]),
    ("ehlo", "ok", {"status": "2.0.0", "text": ["welcome", "XTRICK PLAIN"]}, ["250-mx1.example.com welcome", "250-PIPELINING"]),
    ("ehlo", "ok", {"text": ["x" * 499]}, ["250-mx1.example.com " + "x" * 490, "250-PIPELINING"]),
    ("mail", "ok", {"code": 250, "status": "2.1.5", "text": ["fine"]}, ["250 2.1.5 fine"]),
    ("rcpt", "ok", {"code": 251, "text": ["forwarded"]}, ["251 2.1.5 forwarded"]),
    ("data", "ok", {"code": 354, "text": ["go ahead"]}, ["354 go ahead"]),
    ("queue", "ok", {"text": ["taken"]}, ["250 2.0.0 taken"]),
    ("vrfy", "ok", {"code": 252, "text": ["who knows"]}, ["252 2.0.0 who knows"]),
    ("vrfy", "ok", {}, ["250 2.0.0 Ok"]),
    ("help", "ok", {"code": 211, "text": ["ask us"]}, ["211 2.0.0 ask us"]),
    ("noop", "ok", {"text": ["still here"]}, ["250 2.0.0 still here"]),
    ("unrecognized_command", "ok", {"text": ["not today"]}, ["500 5.5.1 not today"]),
    ("quit", "ok", {"text": ["so long"]}, ["221 2.0.0 so long"]),
    ("rcpt", "ok", {"code": 251}, ["251 2.1.5 Recipient ok"]),
    ("rcpt", "deny", {"code": 553, "status": "5.1.3"}, ["553 5.1.3 Recipient refused"]),
    # RFC 2034 §4: a status, of the code's class, though the worker gives none.
    ("noop", "done", {"code": 450, "text": ["later"]}, ["450 4.0.0 later"]),
    ("help", "done", {"code": 502, "text": ["a", "b"]}, ["502-5.0.0 a", "502 5.0.0 b"]),
]


@pytest.mark.parametrize(("hook", "verdict", "reply", "lines"), WORDS)
def test_a_workers_words_are_sent(
    stage: tuple[Gatepost, dict[str, Message]], hook: str, verdict: str, reply: Message, lines: list[str]
) -> None:
    server, answers = stage
    answers.clear()
    answers[hook] = {"verdict": verdict, "reply": reply}
    with server.connect() as client:
        sent = reply_at(client, hook)
        shown = str(sent).splitlines()
        assert shown[: len(lines)] == lines, client.describe(str(sent))
        assert "XTRICK" not in sent.text
