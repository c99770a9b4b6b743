"""What a handler is asked (protocol/events.md). Fields of type Bytes are `bytes`; `str()` of them is for people."""

from __future__ import annotations

import copy
import io
import os
import re
import threading
import time
import uuid
from concurrent.futures import Future
from typing import IO, Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from .header import legal
from .verdict import Verdict
from .wire import from_bytes, to_bytes

Text = Union[str, bytes]


def _octets(text: Text) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)


def _optional_bytes(value: Any) -> Optional[bytes]:
    return None if value is None else to_bytes(value)


class Address:
    """A reverse-path or forward-path."""

    __slots__ = ("address", "local", "domain", "_params")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        #: As between `<` and `>`; empty for the null reverse-path.
        self.address = to_bytes(raw["address"])
        #: The local part without its quoting.
        self.local = to_bytes(raw["local"])
        #: None for `<>` and `<postmaster>`.
        self.domain = _optional_bytes(raw["domain"])
        self._params = raw["params"]

    @property
    def params(self) -> List[Tuple[str, Optional[bytes]]]:
        """The ESMTP parameters in order; the value is None without `=`."""
        return [(key, _optional_bytes(value)) for key, value in self._params]

    def __str__(self) -> str:
        return self.address.decode("utf-8", "backslashreplace")

    def __repr__(self) -> str:
        return f"<{self}>"


class Recipient(Address):
    """A forward-path with the id that stays its own within the transaction."""

    __slots__ = ("id",)

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.id: int = raw["id"]


class Header:
    """One header field, octets as they came: leading space and folding kept."""

    __slots__ = ("id", "name", "space", "value")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.id: int = raw["id"]
        self.name = to_bytes(raw["name"])
        #: White space between name and colon: obsolete (RFC 5322 §4.5), and mostly empty.
        self.space = to_bytes(raw.get("space", ""))
        self.value = to_bytes(raw["value"])

    def __repr__(self) -> str:
        return f"Header({self.id}, {self.name!r}, {self.value!r})"


class Message:
    """Where the message lies: a spool file, immutable until the answer."""

    __slots__ = ("path", "size", "body_offset")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.path: str = raw["path"]
        self.size: int = raw["size"]
        self.body_offset: int = raw["body_offset"]


class Transaction:
    """The mail transaction as the frontend has it now."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.id: str = raw["id"]
        self.recipient_count: int = raw["recipient_count"]
        #: Whether the client hears a reply for each recipient when the message has come (LMTP, PRDR).
        self.replies_each: bool = raw.get("replies_each", False)
        #: When the message may be released, in Unix milliseconds (RFC 4865); None: at once.
        self.hold_until_ms: Optional[int] = raw.get("hold_until_ms")

    @property
    def sender(self) -> Optional[Address]:
        """The reverse-path; None at `mail`, where nothing is granted yet."""
        raw = self.raw["sender"]
        return None if raw is None else Address(raw)

    @property
    def recipients(self) -> List[Recipient]:
        """The recipients granted so far. LookupError if not needed, or elided."""
        return [Recipient(raw) for raw in self.raw["recipients"]]

    @property
    def headers(self) -> List[Header]:
        """The current header fields in order. LookupError if not needed, or elided."""
        return [Header(raw) for raw in self.raw["headers"]]

    @property
    def message(self) -> Message:
        """The spool file. LookupError if not needed, or before `data_post_headers`."""
        return Message(self.raw["message"])


class Session:
    """The SMTP session as the frontend has it now."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.id: str = raw["id"]
        self.listener: str = raw["listener"]
        self.started_ms: int = raw["started_ms"]
        self.client_ip: str = raw["client"]["ip"]
        self.client_port: int = raw["client"]["port"]
        self.relay: bool = raw["relay"]
        self.early_talker: bool = raw["early_talker"]
        self.counters: Mapping[str, int] = raw["counters"]

    @property
    def client_name(self) -> Optional[bytes]:
        """The client's host name; None until a worker sets it."""
        return _optional_bytes(self.raw["client"]["name"])

    @property
    def hello_verb(self) -> Optional[str]:
        """`HELO`, `EHLO`, or `LHLO` (LMTP); None before the first."""
        return self.raw["hello"] and str(self.raw["hello"]["verb"])

    @property
    def hello_name(self) -> Optional[bytes]:
        """What the client calls itself; None before HELO or EHLO."""
        return self.raw["hello"] and to_bytes(self.raw["hello"]["name"])

    @property
    def user(self) -> Optional[bytes]:
        """The identity that AUTH proved; None without AUTH."""
        return self.raw["auth"] and to_bytes(self.raw["auth"]["user"])

    @property
    def forwarded(self) -> Dict[str, Optional[bytes]]:
        """Where the message came from, as a trusted client said by XFORWARD; empty if none did."""
        said = self.raw.get("xforward", {})
        return {name: _optional_bytes(value) for name, value in said.items()}

    @property
    def auth_failed(self) -> int:
        """How many AUTHs of this session policy refused."""
        return self.counters.get("auth_failed", 0)

    @property
    def tls(self) -> Optional[Mapping[str, Any]]:
        """`version`, `cipher`, `sni`, perhaps `client_certificate`; None without TLS."""
        return self.raw["tls"]  # type: ignore[no-any-return]


class _Message(io.RawIOBase):
    """Octets of the header, then the file from the body on."""

    def __init__(self, header: bytes, path: str, offset: int) -> None:
        self._header = memoryview(header)
        self._file = open(path, "rb", buffering=0)
        self._file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._header:
            return self._file.readinto(buffer) or 0
        count = min(len(buffer), len(self._header))
        buffer[:count] = self._header[:count]
        self._header = self._header[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _patch(before: Any, after: Mapping[str, Any]) -> Dict[str, Any]:
    """The merge patch (RFC 7396) that makes `after` out of `before`."""
    before = before if isinstance(before, dict) else {}
    patch: Dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if value is None:
            if before.get(key) is not None:
                patch[key] = None
        elif key not in before or type(before[key]) is not type(value) or before[key] != value:
            patch[key] = _patch(before.get(key), value) if isinstance(value, dict) else value
    return patch


class Event:
    """A question to a handler, or, with `id` None, a notification."""

    def __init__(self, raw: Dict[str, Any], send: Optional[Callable[[Dict[str, Any]], None]] = None) -> None:
        self.raw = raw
        self._send = send
        self._began = time.monotonic()
        self._cancelled = threading.Event()
        self._started = False  # a handler has seen it
        self._stopped = False  # its task or thread was told that it is cancelled
        self._overdue = False  # this worker ended it, shortly before the frontend would
        self._extended_ms = 0  # what `progress` has asked for
        self._thread: Optional["Future[Any]"] = None
        self._notes: Dict[str, Dict[str, Any]] = {}
        self._names: Optional[Dict[int, Any]] = None
        self._ends: List[int] = []  # how many actions there were after each plugin of `trace`
        self.id: Optional[int] = raw.get("id")
        self.hook: str = raw["hook"]
        #: Stable over retries: the idempotency key. Empty for notifications.
        self.key: str = raw.get("key", "")
        self.attempt: int = raw.get("attempt", 1)
        self.args: Mapping[str, Any] = raw["args"]
        #: The pool's folder for files that `replace_message` names; empty before the welcome.
        self.out_folder: str = ""
        #: Why the event was cancelled; None while the session waits for the answer.
        self.cancel_reason: Optional[str] = None
        #: What handlers have asked to be changed so far; the methods below add to it.
        self.actions: List[Mapping[str, Any]] = []
        #: Each plugin's answer so far, in this worker.
        self.trace: List[Dict[str, Any]] = []

    # What is asked

    @property
    def session(self) -> Session:
        """The session. LookupError at `status`."""
        return Session(self.raw["session"])

    @property
    def transaction(self) -> Optional[Transaction]:
        """The mail transaction; None if there is none."""
        raw = self.raw.get("transaction")
        return None if raw is None else Transaction(raw)

    @property
    def asked(self) -> Mapping[str, Any]:
        """`args` of what was asked: at `deny` and `ok` those of the hook that ended."""
        return self.args.get("args", {}) if self.hook in ("deny", "ok") else self.args

    @property
    def recent_failures(self) -> Mapping[str, int]:
        """At `auth`: how many logins failed lately, from the client's `address` and of the `user`."""
        failed: Mapping[str, int] = self.asked.get("failed", {"address": 0, "user": 0})
        return failed

    @property
    def step(self) -> int:
        """At `auth`: which message of a login of several steps this is; 0 with other mechanisms."""
        return int(self.asked.get("step", 0))

    @property
    def bearer_token(self) -> Optional[bytes]:
        """At `auth`: the token of OAUTHBEARER or XOAUTH2 (RFC 7628 §3.1); None if the message has none."""
        if self.step != 1 or self.asked.get("mechanism") not in ("OAUTHBEARER", "XOAUTH2"):
            return None
        for pair in self.argument("response").split(b"\x01"):
            scheme, _, token = pair.partition(b" ")
            if scheme.lower() == b"auth=bearer":
                return token.strip(b" ") or None
        return None

    @property
    def state(self) -> bytes:
        """At `auth`: what a worker of this pool gave to `challenge` at the step before; empty at the first."""
        return to_bytes(self.asked.get("state", ""))

    def _mail(self) -> Transaction:
        return Transaction(self.raw["transaction"])

    @property
    def sender(self) -> Address:
        """At `mail` the reverse-path asked for, later that of the transaction."""
        asked = self.asked.get("sender")
        return Address(self.raw["transaction"]["sender"] if asked is None else asked)

    @property
    def recipient(self) -> Recipient:
        """At `rcpt`, and at `deny` and `ok` after it: the forward-path asked for."""
        return Recipient(self.asked["recipient"])

    @property
    def recipients(self) -> List[Recipient]:
        """The recipients granted; needs `recipients`."""
        return self._mail().recipients

    @property
    def headers(self) -> List[Header]:
        """The header fields; needs `headers`."""
        return self._mail().headers

    def header(self, name: Text) -> Optional[bytes]:
        """The value of the first field of this name, stripped; None without; needs `headers`."""
        wanted = (name.encode("ascii") if isinstance(name, str) else name).lower()
        return next((field.value.strip() for field in self.headers if field.name.lower() == wanted), None)

    def argument(self, name: str) -> bytes:
        """One of `asked` of type Bytes: `name`, `argument`, `command`, `line`, `user`, `password` …"""
        return to_bytes(self.asked[name])

    @property
    def elided(self) -> List[str]:
        """What was left out because the event was too large."""
        return list(self.raw.get("elided", ()))

    @property
    def message(self) -> Message:
        """The spool file's path, its size and where its body begins; needs `message`."""
        return self._mail().message

    @property
    def message_path(self) -> str:
        """The spool file, as it came from the client; needs `message`."""
        return self._mail().message.path

    def open_message(self) -> IO[bytes]:
        """The message as it is now, edits of earlier pools included, as one stream; needs `headers` and `message`.

        LookupError if the header did not fit into the event: there is no part of a message.
        """
        message = self._mail().message
        header = b"".join(field.name + field.space + b":" + field.value + b"\r\n" for field in self.headers)
        return io.BufferedReader(_Message(header, message.path, message.body_offset))

    # Time

    @property
    def remaining(self) -> float:
        """Seconds until the frontend's deadline; infinite for notifications."""
        if "deadline_ms" not in self.raw:
            return float("inf")
        return float(self.raw["deadline_ms"]) / 1000 - (time.monotonic() - self._began)

    @property
    def cancelled(self) -> bool:
        """Whether no session waits for the answer any more. A long handler looks now and then."""
        return self._cancelled.is_set()

    def wait_cancelled(self, timeout: Optional[float] = None) -> bool:
        """Waits, at most so many seconds, until the event is cancelled. For plain functions."""
        return self._cancelled.wait(timeout)

    def progress(self, extend_ms: int) -> None:
        """Asks for more time. From any thread."""
        if extend_ms < 1:
            raise ValueError("extend_ms must be 1 or more")
        if self._send and self.id is not None:
            self._extended_ms += extend_ms
            self._send({"type": "progress", "id": self.id, "extend_ms": extend_ms})

    @property
    def _plugin_seconds(self) -> float:
        """How long handlers may take, from now: a little less than the frontend waits."""
        allowed = float(self.raw["deadline_ms"]) + self._extended_ms
        return (allowed - min(allowed / 20, 250)) / 1000 - (time.monotonic() - self._began)

    def _cancel(self, reason: str) -> None:
        self.cancel_reason = reason
        self._cancelled.set()

    # Notes

    def _scope(self, scope: str) -> Dict[str, Any]:
        if scope not in self._notes:
            if scope == "transaction" and "transaction" not in self.raw:
                raise LookupError("there is no transaction")
            self._notes[scope] = copy.deepcopy(self.raw["notes"].get(scope, {}))
        return self._notes[scope]

    @property
    def session_notes(self) -> Dict[str, Any]:
        """What plugins noted about the session. Change it freely: the changes go with the verdict."""
        return self._scope("session")

    @property
    def transaction_notes(self) -> Dict[str, Any]:
        """The same for the transaction. LookupError if there is none."""
        return self._scope("transaction")

    def _notes_patch(self, verdict: Verdict) -> Dict[str, Any]:
        patches: Dict[str, Any] = {}
        for scope, after in self._notes.items():
            patch = _patch(self.raw["notes"].get(scope), after)
            if patch:
                patches[scope] = patch
        for scope, patch in verdict.notes.items():
            if scope in patches and isinstance(patch, dict):
                patch = {**patches[scope], **patch}
            patches[scope] = patch
        return patches

    # Changes (protocol/verdicts.md, Actions)

    def add_header(self, name: Text, value: Text, at: str = "top") -> None:
        """Adds a header field, on `top` or at the `bottom`.

        A line over 998 octets is folded, octets above 127 are encoded (RFC 2047) where the message has no SMTPUTF8, and
        lines of white space alone are unfolded, here and in `set_header`. A value that came may be handed back.
        """
        value = self._legal(value, name)
        self.actions.append({"op": "header.add", "name": from_bytes(name), "value": from_bytes(value), "at": at})

    def set_header(self, id: int, value: Text) -> None:
        """Gives the field with this id another value."""
        headers = self.raw.get("transaction", {}).get("headers", ())
        value = self._legal(value, to_bytes(self._names_of(headers).get(id, "")))
        self._edit_header({"op": "header.set", "id": id, "value": from_bytes(value)})

    def delete_header(self, id: int) -> None:
        """Deletes the field with this id."""
        self._edit_header({"op": "header.delete", "id": id})

    def _legal(self, value: Text, name: Text) -> bytes:
        sender = self.raw.get("transaction", {}).get("sender") or {"params": ()}
        allows_8bit = any(key == "SMTPUTF8" for key, _ in sender["params"])
        return legal(_octets(value), len(_octets(name)), allows_8bit)

    def _edit_header(self, action: Mapping[str, Any]) -> None:
        self.actions.extend(self._by_name(action) if self._is_replaced else [action])

    def _by_name(self, action: Mapping[str, Any]) -> List[Mapping[str, Any]]:
        """The same for the file of `message.replace`, where the field has an id that this worker does not know yet."""
        if action.get("op") not in ("header.set", "header.delete"):
            return [action]
        name = self._names_of(self.raw["transaction"]["headers"]).get(action["id"])
        if name is None:
            return [action]
        actions: List[Mapping[str, Any]] = [{"op": "header.delete_all", "name": name}]
        if action["op"] == "header.set":
            actions.append({"op": "header.add", "name": name, "value": action["value"], "at": "top"})
        return actions

    def _names_of(self, headers: Iterable[Mapping[str, Any]]) -> Mapping[int, Any]:
        """The names of the fields by their ids, made once: a handler may change each of many fields."""
        if self._names is None:
            self._names = {raw["id"]: raw["name"] for raw in headers}
        return self._names

    def _author(self, place: str) -> str:
        """The plugin that asked for the action that `place` names, else the last one that was asked."""
        found = re.match(r"actions\[(\d+)\]", place)
        if found:
            for entry, end in zip(self.trace, self._ends):
                if int(found[1]) < end:
                    return str(entry["plugin"])
        return str(self.trace[-1]["plugin"]) if self.trace else "no plugin"

    @property
    def _is_replaced(self) -> bool:
        return bool(self.actions) and self.actions[0].get("op") == "message.replace"

    def _take(self, actions: Iterable[Mapping[str, Any]]) -> None:
        """Adds what a handler answered to what it asked for by the methods here."""
        for action in actions:
            if action.get("op") == "message.replace" and "path" in action:
                self.replace_message(action["path"])
            elif action.get("op") in ("header.set", "header.delete"):
                self._edit_header(action)
            else:
                self.actions.append(action)

    def delete_headers(self, name: Text) -> None:
        """Deletes all fields of this name."""
        self.actions.append({"op": "header.delete_all", "name": from_bytes(name)})

    def add_recipient(self, address: Text) -> None:
        """Adds a recipient."""
        self.actions.append({"op": "recipient.add", "address": from_bytes(address)})

    def remove_recipient(self, id: int) -> None:
        """Removes the recipient with this id."""
        self.actions.append({"op": "recipient.remove", "id": id})

    def replace_recipient(self, id: int, address: Text) -> None:
        """Gives the recipient with this id another address."""
        self.actions.append({"op": "recipient.replace", "id": id, "address": from_bytes(address)})

    def refuse_recipient(self, id: int, verdict: Verdict) -> None:
        """Refuses one recipient of a message that has come, with `deny` or `denysoft`; at `data_post` and `queue`.

        Where the client hears one reply for all (`transaction.replies_each` is false), the whole message is refused.
        """
        if verdict.word not in ("deny", "denysoft"):
            raise ValueError(f"a recipient is refused with deny or denysoft, not {verdict.word}")
        action: Dict[str, Any] = {"op": "recipient.refuse", "id": id, "verdict": verdict.word}
        if verdict.reply is not None:
            action["reply"] = verdict.reply
        self.actions.append(action)

    def replace_sender(self, address: Text) -> None:
        """Gives the transaction another reverse-path; empty for `<>`."""
        self.actions.append({"op": "sender.replace", "address": from_bytes(address)})

    def new_message_path(self) -> str:
        """A path in `out_folder` for a file of this event alone; nothing is there yet."""
        return os.path.join(self.out_folder, f"{os.getpid()}-{uuid.uuid4().hex}")

    def replace_message(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Takes this file of `out_folder` as the message.

        Write it there under a name that no other event uses, `event.new_message_path()` for one. The frontend
        removes what is no longer needed.

        Changes of the header, made before or after, are made to the header of the file; there a field that was
        known by its id is known by its name.
        """
        replace: Mapping[str, Any] = {"op": "message.replace", "path": os.path.basename(os.fspath(path))}
        others = [action for action in self.actions if action.get("op") != "message.replace"]
        self.actions[:] = [replace, *(edit for action in others for edit in self._by_name(action))]

    def set_relay(self, value: bool = True) -> None:
        """Lets the client relay, or not."""
        self.actions.append({"op": "session.relay", "value": value})

    def set_client_name(self, name: Optional[Text]) -> None:
        """Names the client's host."""
        self.actions.append({"op": "session.client_name", "value": None if name is None else from_bytes(name)})

    def challenge(self, challenge: Text, state: Text = b"") -> Verdict:
        """At `auth`, with a mechanism of several steps: the client is sent `challenge`, 8,192 octets at most.

        Its answer comes as another event, to any worker of this pool, with `state`, 4,096 octets at most; the client
        never sees that. Return what this returns.
        """
        self.actions.append(
            {"op": "auth.challenge", "challenge": from_bytes(challenge), "state": from_bytes(state)}
        )
        return Verdict("done")

    def delay_reply(self, ms: int) -> None:
        """Holds the reply back: a tarpit without a sleeping worker."""
        self.actions.append({"op": "reply.delay", "ms": ms})
