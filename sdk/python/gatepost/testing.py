"""Tests a worker without a server: a session that asks its handlers as a frontend would."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import shutil
import tempfile
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .check import InvalidVerdict
from .connection import refusal, verdict_message
from .event import Event, Header, Recipient, Text
from .verdict import Verdict, declined
from .wire import from_bytes, parse_line, to_bytes
from .worker import Worker, _merge

__all__ = ["InvalidVerdictError", "TestSession"]

Params = Sequence[Tuple[str, Optional[Text]]]


class InvalidVerdictError(AssertionError):
    """A handler gave an answer that no frontend takes: function, hook, rule and value."""


def _octets(text: Text) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else bytes(text)


def _path(address: Text, params: Params = ()) -> Dict[str, Any]:
    octets = _octets(address)
    local, at, domain = octets.rpartition(b"@")
    if not at:
        local, domain = octets, b""
    if local[:1] == b'"' and local[-1:] == b'"' and len(local) > 1:
        local = local[1:-1].replace(b"\\", b"")
    return {
        "address": from_bytes(octets),
        "local": from_bytes(local),
        "domain": from_bytes(domain) if at else None,
        "params": [[key, None if value is None else from_bytes(_octets(value))] for key, value in params],
    }


class TestSession:
    """An SMTP session without a frontend: asks the worker's handlers, and keeps what they did to the session.

    Each method that asks returns the verdict. A recipient is in the envelope unless a handler refuses it, as with a later
    pool that accepts. What a handler raises comes out of the method. An answer that no frontend would take
    raises `InvalidVerdictError`, and changes nothing. For one thread. `close` removes the folder of messages, and so
    does `with`.
    """

    __test__ = False  # no class of tests, whatever its name says

    def __init__(self, worker: Worker, *, client_ip: str = "192.0.2.1", listener: str = "mx", relay: bool = False) -> None:
        self.worker = worker
        self.client_ip = client_ip
        self.listener = listener
        #: The client's host name; None until a handler or the test sets it.
        self.client_name: Optional[bytes] = None
        #: Whether the client may relay.
        self.relay = relay
        #: Whether the client spoke before the greeting.
        self.early_talker = False
        #: The user that AUTH proved; None without.
        self.user: Optional[bytes] = None
        #: Whether the client hears a reply for each recipient, as with LMTP.
        self.replies_each = False
        #: Seconds that a handler has, for `event.remaining`.
        self.deadline = 20.0
        #: The notes of the session and of the transaction.
        self.session_notes: Dict[str, Any] = {}
        self.transaction_notes: Dict[str, Any] = {}
        #: The last verdict, the actions that came with it, and the milliseconds of its `reply.delay`.
        self.last_verdict: Optional[Verdict] = None
        self.actions: List[Mapping[str, Any]] = []
        self.delay_ms = 0
        #: What the last login was answered with, if that was a challenge: challenge and state.
        self.challenge: Optional[Tuple[bytes, bytes]] = None
        #: The recipients that `event.refuse_recipient` refused, each with `deny` or `denysoft`.
        self.refused_recipients: List[Tuple[bytes, str]] = []
        #: What each plugin answered so far, in order.
        self.trace: List[Mapping[str, Any]] = []
        self._folder = tempfile.mkdtemp(prefix="gatepost")
        self._hello: Optional[Dict[str, Any]] = None
        self._sender: Optional[Dict[str, Any]] = None
        self._recipients: List[Dict[str, Any]] = []
        self._fields: List[Dict[str, Any]] = []
        self._message: Optional[Dict[str, Any]] = None
        self._in_transaction = False
        self._last_recipient = self._last_field = self._events = self._transactions = 0

    def __enter__(self) -> "TestSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the folder of messages."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # What handlers left

    @property
    def notes(self) -> Dict[str, Dict[str, Any]]:
        """Both scopes: `session` and `transaction`."""
        return {"session": self.session_notes, "transaction": self.transaction_notes}

    @property
    def sender(self) -> Optional[bytes]:
        """The reverse-path as it is now, empty for `<>`; None outside a transaction."""
        return None if self._sender is None else to_bytes(self._sender["address"])

    @property
    def recipients(self) -> List[bytes]:
        """The addresses of the envelope as they are now."""
        return [Recipient(each).address for each in self._recipients]

    @property
    def headers(self) -> List[Tuple[bytes, bytes]]:
        """The header fields as they are now, in order: name, and value without white space around it."""
        return [(field.name, field.value.strip()) for field in map(Header, self._fields)]

    def header(self, name: str) -> Optional[bytes]:
        """The value of the first field of this name; None without."""
        wanted = name.lower().encode("ascii")
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def message_octets(self) -> bytes:
        """The message as it is now: the header fields, then the file from its body on."""
        if self._message is None:
            raise LookupError("no message has come")
        with open(self._message["path"], "rb") as file:
            file.seek(self._message["body_offset"])
            fields = map(Header, self._fields)
            return b"".join(each.name + each.space + b":" + each.value + b"\r\n" for each in fields) + file.read()

    # The dialogue

    def connect(self) -> Verdict:
        """The client connects."""
        return self._ask("connect")

    def helo(self, name: Text = "client.example.net") -> Verdict:
        """The client says HELO."""
        return self._greet("HELO", name)

    def ehlo(self, name: Text = "client.example.net") -> Verdict:
        """The client says EHLO."""
        return self._greet("EHLO", name)

    def _greet(self, verb: str, name: Text) -> Verdict:
        verdict = self._ask(verb.lower(), {"name": from_bytes(_octets(name))})
        if verdict.word in ("ok", "declined"):
            self.reset_transaction()
            self._hello = {"verb": verb, "name": from_bytes(_octets(name))}
        return verdict

    def auth(self, user: Text, password: Text = "", mechanism: str = "PLAIN", **args: Any) -> Verdict:
        """The client logs in; `args` are further members of the event's `args`, as protocol/events.md has them."""
        asked = {"mechanism": mechanism, "user": from_bytes(_octets(user)), "password": from_bytes(_octets(password)), **args}
        self.challenge = None
        verdict = self._ask("auth", asked)
        if verdict.word == "ok":
            self.user = _octets(user)
        return verdict

    def mail(self, sender: Text = "", params: Params = ()) -> Verdict:
        """The client says MAIL: a transaction begins, unless a handler refuses it. `params` as `[("SMTPUTF8", None)]`."""
        self.reset_transaction()
        self._in_transaction = True
        self._transactions += 1
        path = _path(sender, params)
        verdict = self._ask("mail", {"sender": path})
        if verdict.word not in ("ok", "declined"):
            self.reset_transaction()
        elif self._sender is None:
            self._sender = path
        return verdict

    def rcpt(self, recipient: Text, params: Params = ()) -> Verdict:
        """The client names a recipient; it is in the envelope unless a handler refuses it."""
        self._last_recipient += 1
        candidate = {"id": self._last_recipient, **_path(recipient, params)}
        verdict = self._ask("rcpt", {"recipient": candidate}, candidate)
        if verdict.word in ("ok", "declined"):
            self._recipients.append(candidate)
            self._without_repeats()
        return verdict

    def data(self) -> Verdict:
        """The client says DATA."""
        return self._ask("data")

    def message(self, octets: Text, at: Union[str, Sequence[str]] = ("data_post_headers", "data_post", "queue_pre")) -> Verdict:
        """The message arrives, lines with CRLF or LF: the hooks `at` are asked in order, up to one that refuses.

        Returns the last verdict.
        """
        self._take(_octets(octets).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        verdict = declined()
        for hook in (at,) if isinstance(at, str) else at:
            verdict = self._ask(hook)
            if verdict.word not in ("ok", "declined"):
                break
        return verdict

    def queue(self) -> Verdict:
        """The message that arrived is to be stored."""
        return self._ask("queue", {"queue_id": f"T1.{self._transactions}"})

    def command(self, hook: str, argument: Text = "") -> Verdict:
        """The client says VRFY, HELP or NOOP: `hook` is the verb in lower case."""
        return self._ask(hook, {"argument": from_bytes(_octets(argument))})

    def unrecognized_command(self, line: Text) -> Verdict:
        """The client says something that is no command."""
        octets = _octets(line)
        return self._ask("unrecognized_command", {"command": from_bytes(octets.split(b" ")[0]), "line": from_bytes(octets)})

    def quit(self) -> Verdict:
        """The client says QUIT."""
        return self._ask("quit")

    def disconnect(self, reason: str = "quit") -> None:
        """The connection ends: handlers of `disconnect` are told."""
        self.reset_transaction()
        self.notify("disconnect", {"reason": reason, "duration_ms": 1})

    def notify(self, hook: str, args: Mapping[str, Any]) -> None:
        """Handlers are told: `queue_post`, `reset_transaction`, `deny`, `ok`, `disconnect` or `status`."""
        event = self._event(hook, args, notify=True)
        for entry in self.worker._registrations.get(hook, ()):
            self._called(entry.function, event)

    def reset_transaction(self) -> None:
        """The transaction ends: its notes, sender, recipients and message are gone."""
        self._sender, self._message = None, None
        self._recipients, self._fields = [], []
        self._in_transaction = False
        self._last_recipient = self._last_field = 0
        self.transaction_notes = {}
        self.refused_recipients = []

    # Asking

    def _ask(self, hook: str, args: Optional[Mapping[str, Any]] = None, candidate: Optional[Dict[str, Any]] = None) -> Verdict:
        event = self._event(hook, args or {})
        verdict = declined()
        entries = self.worker._registrations.get(hook, [])
        for entry in entries:
            if entry.observe:
                self._called(entry.function, event)
                continue
            began = time.monotonic()
            verdict = self.worker._heard(event, entry, self._called(entry.function, event), began)
            if verdict.word != "declined":
                break
        if not any(entry.observe for entry in entries):
            self._commit(event, verdict, candidate)
        self.last_verdict = verdict
        return verdict

    @staticmethod
    def _called(function: Any, event: Event) -> Any:
        try:
            result = function(event)
            return asyncio.run(_await(result)) if inspect.isawaitable(result) else result
        except InvalidVerdict as error:
            name = getattr(function, "__name__", "handler")
            raise InvalidVerdictError(f"{name} at {event.hook}: {error}") from error

    def _commit(self, event: Event, verdict: Verdict, candidate: Optional[Dict[str, Any]]) -> None:
        message = verdict_message(event, verdict)
        wrong = refusal(event, message)
        if wrong is not None:
            raise InvalidVerdictError(wrong)
        for scope, patch in message.get("notes", {}).items():
            _merge(self.session_notes if scope == "session" else self.transaction_notes, patch)
        self.actions = list(message.get("actions", ()))
        self.delay_ms = 0
        self.trace += event.trace
        for action in self.actions:
            self._apply(action, candidate)
        self._without_repeats()

    def _event(self, hook: str, args: Mapping[str, Any], notify: bool = False) -> Event:
        self._events += 1
        needs = {need for entry in self.worker._registrations.get(hook, ()) for need in entry.needs}
        raw: Dict[str, Any] = {
            "type": "notify" if notify else "event",
            "hook": hook,
            "args": args,
            "session": self._session(),
            "notes": {"session": self.session_notes},
        }
        if not notify:
            raw.update(id=self._events, key=f"T1.{self._transactions}.{self._events}", attempt=1)
            raw["deadline_ms"] = int(self.deadline * 1000)
        if self._in_transaction:
            transaction: Dict[str, Any] = {
                "id": f"T1.{self._transactions}",
                "sender": self._sender,
                "recipient_count": len(self._recipients),
                "replies_each": self.replies_each,
            }
            if "recipients" in needs:
                transaction["recipients"] = self._recipients
            if self._message is not None and "headers" in needs:
                transaction["headers"] = self._fields
            if self._message is not None and "message" in needs:
                transaction["message"] = self._message
            raw["transaction"] = transaction
            raw["notes"]["transaction"] = self.transaction_notes
        if "trace" in needs:
            raw["trace"] = self.trace
        # A handler gets what a frontend sends: JSON, and nothing that is shared with this session.
        event = Event(parse_line(json.dumps(raw).encode("utf-8")))
        event.out_folder = self._folder
        return event

    def _session(self) -> Dict[str, Any]:
        user = None if self.user is None else {"mechanism": "PLAIN", "user": from_bytes(self.user)}
        return {
            "id": "T1",
            "listener": self.listener,
            "started_ms": int(time.time() * 1000),
            "client": {"ip": self.client_ip, "port": 50_000, "name": None if self.client_name is None else from_bytes(self.client_name)},
            "server": {"ip": "192.0.2.25", "port": 25},
            "proxy": None,
            "hello": self._hello,
            "tls": None,
            "auth": user,
            "relay": self.relay,
            "early_talker": self.early_talker,
            "counters": {
                "commands": self._events,
                "errors": 0,
                "unrecognized": 0,
                "transactions": self._transactions,
                "rcpt_ok": len(self._recipients),
                "rcpt_denied": 0,
            },
        }

    # What an answer changes

    def _take(self, octets: bytes) -> None:
        """This is the message from here on; no id of the fields before is used again."""
        head, end, _ = octets.partition(b"\r\n\r\n")
        if octets.startswith(b"\r\n"):
            head, body_offset = b"", 0
        else:
            body_offset = len(head) + 2 if end else len(octets)
        self._fields = []
        for line in head.split(b"\r\n") if head else []:
            if line[:1] in (b" ", b"\t") and self._fields:
                field = self._fields[-1]
                field["value"] = from_bytes(to_bytes(field["value"]) + b"\r\n" + line)
            elif line:
                name, _, value = line.partition(b":")
                self._fields.append(self._field(name, value))
        path = os.path.join(self._folder, f"message-{self._events}")
        with open(path, "wb") as file:
            file.write(octets)
        self._message = {"path": path, "size": len(octets), "body_offset": body_offset}

    def _field(self, name: bytes, value: bytes) -> Dict[str, Any]:
        self._last_field += 1
        if value[:1] not in (b" ", b"\t"):
            value = b" " + value
        return {"id": self._last_field, "name": from_bytes(name), "value": from_bytes(value)}

    def _apply(self, action: Mapping[str, Any], candidate: Optional[Dict[str, Any]]) -> None:
        op = action["op"]
        if op == "header.add":
            place = len(self._fields) if action.get("at") == "bottom" else 0
            self._fields.insert(place, self._field(to_bytes(action["name"]), to_bytes(action["value"])))
        elif op == "header.set":
            for field in self._fields:
                if field["id"] == action["id"]:
                    value = to_bytes(action["value"])
                    field["value"] = from_bytes(value if value[:1] in (b" ", b"\t") else b" " + value)
        elif op == "header.delete":
            self._fields = [field for field in self._fields if field["id"] != action["id"]]
        elif op == "header.delete_all":
            name = to_bytes(action["name"]).lower()
            self._fields = [field for field in self._fields if to_bytes(field["name"]).lower() != name]
        elif op == "recipient.add":
            self._last_recipient += 1
            self._recipients.append({"id": self._last_recipient, **_path(to_bytes(action["address"]))})
        elif op == "recipient.replace":
            for each in [*self._recipients, *([candidate] if candidate else [])]:
                if each["id"] == action["id"]:
                    each.update({**_path(to_bytes(action["address"])), "params": each["params"]})
        elif op in ("recipient.remove", "recipient.refuse"):
            for each in [each for each in self._recipients if each["id"] == action["id"]]:
                self._recipients.remove(each)
                if op == "recipient.refuse":
                    self.refused_recipients.append((to_bytes(each["address"]), action["verdict"]))
        elif op == "sender.replace":
            params = self._sender["params"] if self._sender else []
            self._sender = {**_path(to_bytes(action["address"])), "params": params}
        elif op == "message.replace":
            path = os.path.join(self._folder, action["path"])
            if not os.path.isfile(path):
                raise InvalidVerdictError(f"file_refused: {action['path']}: there is no such file in event.out_folder")
            with open(path, "rb") as file:
                self._take(file.read())
        elif op == "session.relay":
            self.relay = action["value"]
        elif op == "session.client_name":
            self.client_name = None if action["value"] is None else to_bytes(action["value"])
        elif op == "reply.delay":
            self.delay_ms = max(self.delay_ms, action["ms"])
        elif op == "auth.challenge":
            self.challenge = (to_bytes(action["challenge"]), to_bytes(action["state"]))

    def _without_repeats(self) -> None:
        """Of recipients that are the same the first stays; the letter case of a domain does not count."""
        seen = set()
        kept = []
        for each in self._recipients:
            domain = None if each["domain"] is None else to_bytes(each["domain"]).lower()
            same = (to_bytes(each["local"]), domain)
            if same not in seen:
                seen.add(same)
                kept.append(each)
        self._recipients = kept


async def _await(result: Any) -> Any:
    return await result
