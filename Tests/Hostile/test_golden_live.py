"""The golden transcripts in which a worker misbehaves, replayed against a running frontend.

Tests of either SDK hold their decoders against these files; here the SMTP client is looked at: what
it gets, that the connection ends or lives as it must, and that the log names the violation.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.gatepost import ROOT, Gatepost
from harness.sessions import reply_at
from harness.smtp import Reply
from harness.wire import Message, RawWorker, WorkerClosed, accepting, encoded

GOLDEN = ROOT / "protocol" / "golden"
ENDS = {"frame_too_long", "bad_frame", "unknown_type", "bad_message", "unexpected_message"}
REJECTS = {"bad_hello", "protocol_unsupported", "pool_unknown"}


def transcripts() -> list[Path]:
    """The transcripts of the frontend's side that need only SMTP, and in which no time passes."""
    found = []
    for path in sorted(GOLDEN.glob("*.ndjson")):
        text = path.read_text("utf-8")
        head = json.loads(text.partition("\n")[0])
        # Our message has one recipient; a transcript that removes two is for the decoders' tests.
        unusable = ('"elapsed_ms"', '"stop"', '"close":"worker"', "no_recipients")
        if head["side"] == "frontend" and not any(word in text for word in unusable):
            found.append(path)
    return found


class Session:
    """An SMTP session that runs up to a hook in a thread of its own."""

    def __init__(self, server: Gatepost, hook: str) -> None:
        self.reply: Reply | None = None
        self.problem: BaseException | None = None
        self.client = server.connect()
        self.hook = hook
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.reply = reply_at(self.client, self.hook)
        except BaseException as error:
            self.problem = error

    def result(self) -> Reply:
        self.thread.join(15)
        if self.problem is not None:
            raise self.problem
        assert self.reply is not None, self.client.describe(f"no reply at {self.hook}")
        self.client.close()
        return self.reply


class Replay:
    """One transcript, line by line."""

    def __init__(self, server: Gatepost, lines: list[dict[str, Any]]) -> None:
        self.server, self.lines = server, lines
        self.worker = RawWorker(server.socket("policy"))
        self.longest = 65_536
        #: The transcript's event id → the session, and the real event.
        self.sessions: dict[int, Session] = {}
        self.events: dict[int, Message] = {}

    def run(self) -> None:
        for line in self.lines:
            if line.get("from") == "frontend":
                self._frontend(line["line"])
            elif line.get("from") == "worker":
                self._worker(line)
            elif line.get("close") == "frontend":
                assert self.worker.closed() == []

    def _frontend(self, message: Message) -> None:
        match message["type"]:
            case "welcome":
                self.longest = self.worker.expect("welcome")["max_frame"]
            case "event":
                self._event(message)
            case "reject" | "bye":
                said = self.worker.read()
                assert (said["type"], said["code"]) == (message["type"], message["code"]), said
            case other:
                self.worker.expect(other)

    def _event(self, message: Message) -> None:
        """Lets a session ask at this hook; the questions before it are granted."""
        self.sessions[message["id"]] = Session(self.server, message["hook"])
        while True:
            event = self.worker.event()
            if event["hook"] == message["hook"]:
                break
            self.worker.answer(event, str(accepting()(event)))
        self.events[message["id"]] = event

    def _worker(self, line: dict[str, Any]) -> None:
        octets = self._octets(line)
        try:
            self.worker.octets(octets)
        except OSError:
            pass
        expect = line.get("expect")
        if "violation" in line and expect not in REJECTS:
            self.server.programs[0].logged(rf"\b{line['violation']}\b")
        for id, session in list(self.sessions.items()):
            ends = expect in ENDS or line.get("line", {}).get("id") == id or f'"id":{id}' in str(line)
            if ends and expect not in ("late_answer", "unknown_id", "stale_progress", "frame_cut"):
                del self.sessions[id]
                self._check(session, expect)

    def _check(self, session: Session, expect: str | None) -> None:
        reply = session.result()
        failed = {
            "connect": (421, "4.3.0"),
            "auth": (454, "4.3.0"),
            "help": (214, "2.0.0"),
            "noop": (250, "2.0.0"),
            "quit": (221, "2.0.0"),
        }.get(session.hook, (451, "4.3.0"))
        if expect in ENDS or expect in ("invalid_verdict", "worker_error"):
            assert (reply.code, reply.status) == failed, session.client.describe(f"{reply}")

    def _octets(self, line: dict[str, Any]) -> bytes:
        """The line with the ids of this connection, and as long as this frontend's limit wants."""
        ids = {id: event["id"] for id, event in self.events.items()}
        if "line" in line:
            message = dict(line["line"])
            if "id" in message and type(message["id"]) is int:
                message["id"] = ids.get(message["id"], message["id"])
            return encoded(message) + b"\n"
        raw = line["raw"]
        octets = base64.b64decode(raw["b64"]) if isinstance(raw, dict) else raw.encode()
        octets = re.sub(
            rb'("id":)(\d+)\b', lambda match: match[1] + b"%d" % ids.get(int(match[2]), int(match[2])), octets
        )
        if "total" in line:
            tail = line.get("tail", "").encode()
            # The transcripts' frontend takes 65,536 octets.
            total = line["total"] + (self.longest - 65_536 if abs(line["total"] - 65_536) < 9 else 0)
            octets += line["fill"].encode() * (total - len(octets) - len(tail)) + tail
        return octets


@pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
def test_golden(gatepost: Gatepost, path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()][1:]
    gatepost.frontend_toml["pool"] = [
        {
            "name": "policy",
            "minimum_workers": 0,
            "grace_ms": 100,
            "deadline_ms": 5_000,
        },
        {"name": "helper", "minimum_workers": 1},
    ]
    gatepost.limits(max_errors=0, max_unrecognized=0)
    gatepost.offer_auth()
    gatepost.pool["secrets"] = True
    frontend = gatepost.frontend(ready=False)
    helper = gatepost.python_worker(["rcpt", "queue"], accepting(), pool="helper")
    frontend.ready()
    replay = Replay(gatepost, lines)
    try:
        replay.run()
    except WorkerClosed as error:
        raise AssertionError(f"{path.name}: {error}") from None
    finally:
        replay.worker.close()
        helper.close()
    for session in replay.sessions.values():
        session.result()
