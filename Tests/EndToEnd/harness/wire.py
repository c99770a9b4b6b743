"""A policy worker made of plain octets: what an SDK would never send can be sent with it.

Written against `protocol/` alone, and without the project's own SDK on purpose.
"""

from __future__ import annotations

import json
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .waiting import wait_until

Message = dict[str, Any]
#: Every hook that wants an answer in this version.
DECISIONS = (
    "connect helo ehlo auth mail rcpt data data_headers_end received_line data_post_headers data_post"
    " queue_pre queue vrfy help noop unrecognized_command quit"
).split()


class WorkerClosed(AssertionError):
    """The frontend closed the connection where a message was expected."""


class RawWorker:
    """One connection to a pool's socket; it sends and reads nothing by itself."""

    def __init__(self, path: Path, seconds: float = 10) -> None:
        self.path = path
        self.socket = _connected(path, seconds)
        self.received = bytearray()
        self.said: list[str] = []
        #: Answer `ping` by itself while it waits for something else.
        self.answers_pings = True

    def __enter__(self) -> RawWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Sending

    def octets(self, octets: bytes) -> None:
        self.said.append(f"    → {_short(octets)}")
        self.socket.sendall(octets)

    def send(self, message: Message | bytes) -> None:
        octets = message if isinstance(message, bytes) else encoded(message)
        self.octets(octets + b"\n")

    def hello(self, hooks: dict[str, Message] | list[str], **fields: Any) -> Message:
        """Says hello and returns the welcome."""
        self.send(hello(hooks, **fields))
        return self.expect("welcome")

    def answer(self, event: Message, verdict: str, **fields: Any) -> None:
        self.send({"type": "verdict", "id": event["id"], "verdict": verdict, **fields})

    # Receiving

    def read(self, seconds: float = 10) -> Message:
        """The next message; every line must be one JSON object."""
        deadline = time.monotonic() + seconds
        while True:
            message = json.loads(self.line(deadline))
            if not isinstance(message, dict):
                self.fail(f"{message!r} is not an object")
            if message.get("type") != "ping" or not self.answers_pings:
                return message
            self.send({"type": "pong", "n": message["n"]})

    def line(self, deadline: float) -> bytes:
        while b"\n" not in self.received:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                octets = self.socket.recv(1 << 20)
            except TimeoutError:
                self.fail("no message from the frontend")
            except ConnectionResetError:
                octets = b""
            if not octets:
                raise WorkerClosed(self.describe("closed by the frontend"))
            self.received += octets
        end = self.received.index(b"\n") + 1
        line = bytes(self.received[:end])
        del self.received[:end]
        self.said.append(f"    ← {_short(line)}")
        return line

    def expect(self, type: str, seconds: float = 10) -> Message:
        """The next message, which must be of this type."""
        message = self.read(seconds)
        if message.get("type") != type:
            self.fail(f"a {message.get('type')!r} where {type!r} was expected")
        return message

    def event(self, hook: str | None = None, seconds: float = 10) -> Message:
        """The next event, which must be of this hook; notifications are passed over."""
        while True:
            message = self.read(seconds)
            if message.get("type") == "event":
                break
            if message.get("type") not in ("notify", "cancel"):
                self.fail(f"a {message.get('type')!r} where an event was expected")
        if hook is not None and message["hook"] != hook:
            self.fail(f"hook {message['hook']!r} where {hook!r} was expected")
        return message

    def closed(self, seconds: float = 10) -> list[Message]:
        """Asserts that the frontend closes; returns the messages before it."""
        deadline = time.monotonic() + seconds
        said: list[Message] = []
        while True:
            try:
                said.append(json.loads(self.line(deadline)))
            except WorkerClosed:
                return said

    def has_more(self, seconds: float) -> bool:
        """True once octets can be read."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def is_open(self, seconds: float = 0.2) -> bool:
        """True if the frontend has not closed; keeps the messages that it sends."""
        self.socket.settimeout(seconds)
        try:
            octets = self.socket.recv(1 << 20)
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
        self.received += octets
        return bool(octets)

    # Ending

    def close(self) -> None:
        """Closes as a process does that ends."""
        self.socket.close()

    def reset(self) -> None:
        """Closes and drops all unread and unsent octets (SO_LINGER 0)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def fail(self, message: str) -> None:
        raise AssertionError(self.describe(message))

    def describe(self, message: str) -> str:
        return "\n".join([message, f"  worker at {self.path}:", *self.said[-30:]])


def hello(hooks: dict[str, Message] | list[str], **fields: Any) -> Message:
    """A hello for `hooks`; fields overwrite, and None removes."""
    message: Message = {
        "type": "hello",
        "protocol": [1, 1],
        "pool": "policy",
        "worker": {"name": "raw", "pid": 1},
        "concurrency": 16,
        "max_frame": 1 << 20,
        "hooks": {hook: {} for hook in hooks} if isinstance(hooks, list) else hooks,
    }
    message.update(fields)
    return {key: value for key, value in message.items() if value is not None}


def encoded(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _connected(path: Path, seconds: float) -> socket.socket:
    """Dials as an SDK does: ENOENT, ECONNREFUSED and EAGAIN are one case, try again."""

    def dial() -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            return None

    return wait_until(dial, seconds, f"a frontend listening at {path}")


def _short(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace").rstrip("\n")
    return text if len(text) <= 600 else f"{text[:600]} … ({len(octets)} octets)"


#: Gets an event, gives an answer: a verdict's name, its fields, or None for no answer at all.
Handler = Callable[[Message], "str | Message | None"]


class Die(Exception):
    """A handler raises it to end its worker as kill -9 does: without another octet."""


class Worker:
    """A worker that behaves: a thread answers each event by asking `handler`."""

    def __init__(
        self,
        path: Path,
        hooks: dict[str, Message] | list[str],
        handler: Handler = lambda event: "declined",
        **fields: Any,
    ) -> None:
        self.raw = RawWorker(path)
        self.handler = handler
        self.events: list[Message] = []
        self.notifications: queue.Queue[Message] = queue.Queue()
        self.error: Exception | None = None
        self._drains = False
        self.welcome = self.raw.hello(hooks, **fields)
        self._thread = threading.Thread(target=self._serve, name="worker", daemon=True)
        self._thread.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        try:
            while True:
                self._handle(self.raw.read(3_600))
        except Die:
            self.raw.close()
        except (WorkerClosed, OSError, ValueError):
            pass
        except Exception as error:
            self.error = error

    def _handle(self, message: Message) -> None:
        match message.get("type"):
            case "event":
                self.events.append(message)
                answer = self.handler(message)
                if isinstance(answer, str):
                    self.raw.answer(message, answer)
                elif answer is not None:
                    self.raw.send({"type": "verdict", "id": message["id"], **answer})
            case "notify":
                self.notifications.put(message)
            case "drain":
                if not self._drains:
                    self.raw.send({"type": "drain", "reason": "asked"})
                # Events are answered one by one, so nothing is left to answer.
                self.raw.send({"type": "bye", "code": "drained"})
                raise Die

    def drain(self) -> None:
        """Tells the frontend that it leaves, as a worker does on SIGTERM; then it leaves."""
        self._drains = True
        self.raw.send({"type": "drain", "reason": "stopping"})

    def hooks_seen(self) -> list[str]:
        return [event["hook"] for event in self.events]

    def saw(self, hook: str, seconds: float = 5) -> Message:
        """Waits until an event of `hook` has come, and returns the last one."""

        def last() -> Message | None:
            found = [event for event in self.events if event["hook"] == hook]
            return found[-1] if found else None

        return wait_until(last, seconds, lambda: f"a {hook} event; came: {self.hooks_seen()}")

    def close(self) -> None:
        """Ends like a process that exits."""
        try:
            self.raw.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self.raw.close()
        if self.error is not None:
            raise self.error


def accepting(**hooks: str | Message) -> Handler:
    """A handler with an answer a hook; the rest is declined, rcpt and queue are `ok`."""
    answers: dict[str, str | Message] = {"rcpt": "ok", "queue": "ok", **hooks}
    return lambda event: answers.get(event["hook"], "declined")
