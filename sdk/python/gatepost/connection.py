"""One connection to a frontend without its socket: octets in; events to run, and octets to write, out.

Not safe to use from several threads; the Worker sees to that.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Mapping, Optional

from .check import PLAIN, check
from .event import Event
from .verdict import Verdict
from .wire import LARGEST, FrameDecoder, ProtocolError, encode_line, parse_line

#: What a worker may get after its welcome.
_TYPES = {"event", "notify", "cancel", "violation", "ping", "pong", "drain", "bye"}
_OURS = {"hello", "verdict", "error", "progress"}
#: The longest line that every side takes, and the longest that a frontend takes before its welcome.
SMALLEST_FRAME = 65_536
#: The longest text for people, in characters.
LONGEST_TEXT = 1024


def _integer(value: Any, lowest: int) -> bool:
    return type(value) is int and lowest <= value <= LARGEST


def _for_people(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")[:LONGEST_TEXT]


def verdict_message(event: Event, verdict: Verdict) -> Dict[str, Any]:
    """The message that answers `event` with `verdict` and with what the event's methods asked for.

    Its notes are a merge patch. ValueError or TypeError if there is no such message.
    """
    message: Dict[str, Any] = {"type": "verdict", "id": event.id, "verdict": verdict.word}
    notes = event._notes_patch(verdict)
    event._take(verdict.actions)
    if verdict.word != "declined" and event.trace:
        message["plugin"] = event.trace[-1]["plugin"]
    reply = verdict.reply
    if reply:
        message["reply"] = reply
    if notes:
        message["notes"] = notes
    if event.actions:
        message["actions"] = event.actions
    if event.trace:
        message["trace"] = event.trace
    return message


def refusal(event: Event, message: Mapping[str, Any]) -> Optional[str]:
    """Why no frontend would take this verdict: function, hook, rule, value; None if one would."""
    violation = check(event.raw, message)
    if violation is None:
        return None
    return f"{event._author(violation.message)} at {event.hook}: {violation.id}: {violation.message}"


class Connection:
    """The worker's half of the protocol: handshake, ids, drain, bye, and exactly one answer for each event."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        self._hooks = hello["hooks"]
        self._pool: str = hello["pool"]
        self._out_folder = ""
        self._frames = FrameDecoder(hello["max_frame"])
        self._outstanding: Dict[int, Event] = {}
        self._outgoing = bytearray(encode_line({"type": "hello", **hello}))
        self._drain_sent = False
        self._drain_received = False
        self._peer_max_frame = SMALLEST_FRAME
        self._concurrency: int = hello["concurrency"]
        #: The frontend's `welcome`; None before.
        self.welcome: Optional[Dict[str, Any]] = None
        #: The frontend's `reject`, if that was its answer.
        self.rejected: Optional[Dict[str, Any]] = None
        #: The connection is over: write what is left of `take()`, then close.
        self.closed = False
        #: Why, for the log.
        self.close_reason: Optional[str] = None
        #: Called with a line for the log: a verdict that is not sent, or that the frontend did not take.
        self.on_invalid: Optional[Callable[[str], None]] = None

    @property
    def outstanding(self) -> int:
        """How many events wait for an answer."""
        return len(self._outstanding)

    def take(self) -> bytes:
        """The octets to write now."""
        octets = bytes(self._outgoing)
        self._outgoing.clear()
        return octets

    def receive(self, octets: bytes) -> List[Event]:
        """The events and notifications (`id` None) to be run now, in order."""
        events: List[Event] = []
        for line in self._frames.feed(octets):
            if self.closed:
                return events
            try:
                event = self._message(parse_line(line))
            except ProtocolError as error:
                self._close(error.code, str(error))
                return events
            if event is not None:
                events.append(event)
        if self._frames.broken and not self.closed:
            self._close(self._frames.broken.code, str(self._frames.broken))
        return events

    def lost(self) -> None:
        """The socket is closed: no answer is awaited any more."""
        self.closed = True
        for event in self._outstanding.values():
            event._cancel("disconnected")
        self._outstanding.clear()

    def drain(self, reason: str = "stopping") -> None:
        """We are told to stop: no further events, then bye."""
        if self.welcome is None:
            self._close("stopping")
        elif not self._drain_sent:
            self._drain_sent = True
            self._put({"type": "drain", "reason": reason})
            self._leave_if_done()

    def leave(self, code: str = "stopping") -> None:
        """Leaves at once."""
        self._close(code)

    # Answers: for each event one, whatever is called how often.

    def answer(self, event: Event, verdict: Verdict) -> bool:
        """Sends the verdict. False if the event has had its answer."""
        if event.id is None or self._outstanding.get(event.id) is not event:
            return False
        plugin = event.trace[-1]["plugin"] if event.trace else None
        try:
            message = verdict_message(event, verdict)
            has_values = "reply" in message or "notes" in message or "actions" in message
            line = encode_line(message, check=has_values)
            if len(line) > self._peer_max_frame:
                raise ValueError(f"the verdict has {len(line)} octets, the frontend takes {self._peer_max_frame}")
            is_plain = not has_values and (event.hook, verdict.word) in PLAIN
            wrong = None if is_plain else refusal(event, message)
        except (ProtocolError, TypeError, ValueError, RecursionError) as error:
            wrong = f"{plugin} at {event.hook}: {error}"
        if wrong is not None:
            self._report(wrong)
            return self.fail(event, "invalid_verdict", True, wrong, plugin)
        del self._outstanding[event.id]
        self._outgoing += line
        self._leave_if_done()
        return True

    def fail(
        self, event: Event, code: str, started: bool, message: str = "", plugin: Optional[str] = None
    ) -> bool:
        """Sends `error`. False if the event has had its answer."""
        if event.id is None or self._outstanding.get(event.id) is not event:
            return False
        del self._outstanding[event.id]
        self._error(event.id, code, started, message, plugin)
        self._leave_if_done()
        return True

    def progress(self, message: Dict[str, Any]) -> None:
        """Sends `progress`, if the event still waits."""
        if message["id"] in self._outstanding:
            self._put(message)

    # Messages

    def _report(self, text: str) -> None:
        if self.on_invalid is not None:
            self.on_invalid(text)

    def _put(self, message: Dict[str, Any]) -> None:
        self._outgoing += encode_line(message)

    def _error(self, id: int, code: str, started: bool, message: str, plugin: Optional[str] = None) -> None:
        error: Dict[str, Any] = {"type": "error", "id": id, "code": code, "started": started}
        if plugin:
            error["plugin"] = plugin
        if message:
            error["message"] = _for_people(message)
        self._put(error)

    def _close(self, code: str, message: str = "") -> None:
        if not self.closed:
            self.closed = True
            self.close_reason = f"{code}: {message}" if message else code
            bye: Dict[str, Any] = {"type": "bye", "code": code}
            if message:
                bye["message"] = _for_people(message)
            self._put(bye)

    def _leave_if_done(self) -> None:
        if self._drain_sent and self._drain_received and not self._outstanding:
            self._close("drained")

    def _message(self, message: Dict[str, Any]) -> Optional[Event]:
        kind = message.get("type")
        if self.welcome is None:
            self._handshake(kind, message)
            return None
        if not isinstance(kind, str) or kind not in _TYPES:
            known = isinstance(kind, str) and (kind in _OURS or kind in ("welcome", "reject"))
            raise ProtocolError("unexpected_message" if known else "unknown_type", f"type {kind!r}"[:80])
        if kind == "event":
            return self._event(message)
        if kind == "notify":
            try:
                return Event(message) if message.get("hook") in self._hooks else None
            except (LookupError, TypeError):
                return None
        if kind == "cancel":
            if not _integer(message.get("id"), 1):
                raise ProtocolError("bad_message", "cancel without an id")
            event = self._outstanding.get(message["id"])
            if event:
                event._cancel(str(message.get("reason", "")))
        elif kind == "ping":
            if not _integer(message.get("n"), -LARGEST):
                raise ProtocolError("bad_message", "ping without n")
            self._put({"type": "pong", "n": message["n"]})
        elif kind == "violation":
            self._violation(message)
        elif kind == "drain":
            self._drain_received = True
            self.drain(message["reason"] if isinstance(message.get("reason"), str) else "draining")
            self._leave_if_done()
        elif kind == "bye":
            self.closed = True
            self.close_reason = f"the frontend said bye: {message.get('code')}: {message.get('message')}"
        return None

    def _violation(self, message: Mapping[str, Any]) -> None:
        """The frontend did not take an answer: its author hears of it in the log."""
        words = [message.get(key) for key in ("hook", "violation", "message")]
        if not _integer(message.get("id"), 1) or not all(isinstance(word, str) for word in words):
            raise ProtocolError("bad_message", "violation without id, hook, violation or message")
        hook, rule, text = (_for_people(str(word)) for word in words)
        plugin = message.get("plugin")
        author = f"{_for_people(plugin)} at " if isinstance(plugin, str) else ""
        self._report(f"the frontend did not take the answer to event {message['id']}: {author}{hook}: {rule}: {text}")

    def _handshake(self, kind: Any, message: Dict[str, Any]) -> None:
        if kind == "welcome":
            if message.get("protocol") != 1 or not _integer(message.get("max_frame"), SMALLEST_FRAME):
                raise ProtocolError("bad_message", "welcome without protocol 1 or max_frame")
            self.welcome = message
            self._peer_max_frame = message["max_frame"]
            if _integer(message.get("concurrency"), 0):
                self._concurrency = message["concurrency"]
            if isinstance(message.get("spool"), str):
                self._out_folder = os.path.join(message["spool"], "out", self._pool)
        elif kind == "reject":
            self.rejected = message
            self.closed = True
            self.close_reason = f"rejected: {message.get('code')}: {message.get('message')}"
        elif kind == "bye":
            self.closed = True
            self.close_reason = f"the frontend said bye: {message.get('code')}: {message.get('message')}"
        else:
            known = isinstance(kind, str) and (kind in _TYPES or kind in _OURS)
            raise ProtocolError("unexpected_message" if known else "unknown_type", "before the welcome")

    def _event(self, message: Dict[str, Any]) -> Optional[Event]:
        if not _integer(message.get("id"), 1) or not isinstance(message.get("hook"), str):
            raise ProtocolError("bad_message", "an event without an id or a hook")
        id: int = message["id"]
        if id in self._outstanding:
            raise ProtocolError("bad_message", f"the id {id} twice")
        if len(self._outstanding) >= self._concurrency:
            self._error(id, "overloaded", False, f"more than {self._concurrency} events")
            return None
        if message["hook"] not in self._hooks:
            self._error(id, "not_subscribed", False, message["hook"])
            return None
        parts = [message.get("session"), message.get("args"), message.get("notes")]
        if not all(isinstance(part, dict) for part in parts) or not _integer(message.get("deadline_ms"), 0):
            self._error(id, "bad_event", True, "session, args, notes or deadline_ms")
            return None
        event = Event(message)
        event.out_folder = self._out_folder
        self._outstanding[id] = event
        return event
