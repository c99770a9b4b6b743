"""A worker written by protocol/README.md alone, and the mistakes that `gatepost conform` must find.

`trial_worker.py MISTAKE`: as it should be, or with one mistake of ``MISTAKES``.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

#: What conform says of each mistake.
MISTAKES = {
    "silent": "hello: nothing came within",
    "other-pool": "names the pool other on the socket of pool policy",
    "no-hooks": "its hello is refused: no hooks",
    "bad-reply": "its verdict at rcpt is invalid: reply_code: reply.code: 450 with deny at rcpt",
    "bad-verdict": "its verdict at rcpt is invalid: verdict_not_allowed: verdict: done at rcpt",
    "wrong-id": "which it was not sent",
    "two-answers": "once more",
    "answers-notify": "or a notification",
    "not-json": "it sent a line that breaks the protocol: bad_frame",
    "read-is-line": "reads a line that comes octet by octet",
    "no-limit": "refuses a longer line: bye frame_too_long",
    "drops-cancelled": "answers an event that was cancelled once: the answer to event",
    "serves-unnamed": "answered connect otherwise than by error",
    "error-started": 'its error has no "started": false',
    "drops-overload": "answers each of more events than its concurrency once: the answer to event",
    "no-pong": "the pong to a ping: nothing came within",
    "no-bye": "it closed without bye bad_frame",
    "lives-on": "refuses an object without a type: bye unknown_type",
    "dials-once": "its process ended with exit code 0",
    "impatient": "it dialled again sooner",
    "patient": "leaves a frontend that says no welcome",
    "no-drain": "drains when the frontend asks for it, and dials again: drain, answers and bye: nothing came",
    "other-reason": "its drain does not repeat the reason",
    "dies": "SIGTERM: drains, answers, says bye, and ends with 0",
    "exit-code": "its process ended with exit code 3",
}

MISTAKE = sys.argv[1] if len(sys.argv) > 1 else ""
POOL = "policy"
MAX_FRAME = 65_536
CONCURRENCY = 2
HOOKS: dict[str, Any] = {"rcpt": {}, "vrfy": {}, "disconnect": {}}


class Left(Exception):
    """The connection is over."""


class Connection:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.octets = b""
        self.welcomed = False
        self.draining = False
        self.retry = 0.0
        hello = {"type": "hello", "protocol": [1, 1], "pool": "other" if MISTAKE == "other-pool" else POOL,
                 "worker": {"name": "trial"}, "concurrency": CONCURRENCY, "hooks": HOOKS}
        if MISTAKE == "no-hooks":
            del hello["hooks"]
        if MISTAKE != "silent":
            self.send(hello)
        self.deadline = time.monotonic() + (60 if MISTAKE in ("patient", "silent") else 5)

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def leave(self, code: str) -> None:
        if MISTAKE != "no-bye" or code != "bad_frame":
            self.send({"type": "bye", "code": code})
        self.socket.close()
        raise Left

    def wait(self) -> None:
        """Handles what comes within a tenth of a second."""
        if not self.welcomed and time.monotonic() > self.deadline:
            self.leave("timeout")
        if not select.select([self.socket], [], [], 0.1)[0]:
            return
        octets = self.socket.recv(1 << 20)
        if not octets:
            self.socket.close()
            raise Left
        self.octets += octets
        if MISTAKE == "read-is-line":
            self.octets += b"" if self.octets.endswith(b"\n") else b"\n"
        # Events that came together count together.
        room = CONCURRENCY
        while b"\n" in self.octets:
            line, self.octets = self.octets.split(b"\n", 1)
            if len(line) >= MAX_FRAME and MISTAKE != "no-limit":
                self.leave("frame_too_long")
            room -= self.line(line, room)
        if len(self.octets) >= MAX_FRAME and MISTAKE != "no-limit":
            self.leave("frame_too_long")

    def line(self, line: bytes, room: int) -> int:
        try:
            message = json.loads(line.decode("utf-8"))
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.leave("bad_frame")
        kind = message.get("type")
        if kind == "welcome" and not self.welcomed:
            self.welcomed = True
        elif kind == "reject" and not self.welcomed:
            self.retry = 0 if MISTAKE == "impatient" else message["retry_ms"] / 1000
            self.socket.close()
            raise Left
        elif kind == "event":
            if not isinstance(message.get("id"), int):
                self.leave("bad_message")
            return self.event(message, room)
        elif kind == "ping":
            if not isinstance(message.get("n"), int):
                self.leave("bad_message")
            if MISTAKE != "no-pong":
                self.send({"type": "pong", "n": message["n"]})
        elif kind == "drain":
            if MISTAKE == "no-drain":
                return 0
            if not self.draining:
                self.send({"type": "drain", "reason": "x" if MISTAKE == "other-reason" else message.get("reason")})
            self.leave("drained")
        elif kind == "bye":
            self.socket.close()
            raise Left
        elif kind == "notify" and MISTAKE == "answers-notify":
            self.send({"type": "verdict", "id": 1, "verdict": "ok"})
        elif kind in ("hello", "verdict", "error", "progress", "welcome", "reject"):
            self.leave("unexpected_message")
        elif kind not in ("notify", "cancel", "pong") and MISTAKE != "lives-on":
            self.leave("unknown_type")
        return 0

    def event(self, event: dict[str, Any], room: int) -> int:
        id, hook = event["id"], event.get("hook")
        if hook not in HOOKS and MISTAKE != "serves-unnamed":
            self.send({"type": "error", "id": id, "code": "not_subscribed", "started": MISTAKE == "error-started"})
        elif not all(isinstance(event.get(part), dict) for part in ("session", "args", "notes")):
            self.send({"type": "error", "id": id, "code": "bad_event"})
        elif room <= 0:
            if MISTAKE != "drops-overload":
                self.send({"type": "error", "id": id, "code": "overloaded", "started": False})
        elif MISTAKE == "drops-cancelled" and b'"cancel"' in self.octets:
            return 1
        elif MISTAKE == "bad-reply" and hook == "rcpt":
            self.send({"type": "verdict", "id": id, "verdict": "deny", "reply": {"code": 450, "text": ["no"]}})
        elif MISTAKE == "not-json":
            self.socket.sendall(b"{'type':'verdict'}\n")
        else:
            word = "done" if MISTAKE == "bad-verdict" and hook == "rcpt" else "declined"
            answer = {"type": "verdict", "id": id + 1 if MISTAKE == "wrong-id" else id, "verdict": word}
            self.send(answer)
            if MISTAKE == "two-answers":
                self.send(answer)
            return 1
        return 0


def main() -> int:
    stopped: list[int] = []
    if MISTAKE != "dies":
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    folder = Path(os.environ["GATEPOST_RUNTIME_DIRECTORY"]) / "pools" / POOL
    backoff = 0.05
    while not stopped:
        retry = 0.0
        for path in sorted(folder.glob("*.sock")):
            try:
                connection = Connection(path)
            except OSError:
                continue
            try:
                while True:
                    connection.wait()
                    backoff = 0.05 if connection.welcomed else backoff
                    if stopped and not connection.welcomed:
                        connection.leave("stopping")
                    if stopped and not connection.draining:
                        connection.draining = True
                        connection.send({"type": "drain", "reason": "stopping"})
            except (Left, OSError):
                retry = connection.retry
            if MISTAKE == "dials-once":
                return 0
        if not stopped:
            time.sleep(max(retry, random.uniform(0, backoff)))
            backoff = min(2, backoff * 2)
    return 3 if MISTAKE == "exit-code" else 0


if __name__ == "__main__":
    sys.exit(main())
