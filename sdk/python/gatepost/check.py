"""Whether a verdict is one that a frontend takes (protocol/verdicts.md, Invalid verdicts). Without I/O."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from .tables import ACTIONS, ACTIONS_AT, LIMITS, OK_CODES, OK_REPLY, VERDICTS, WORDS
from .wire import LARGEST, to_bytes

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STATUS = re.compile(r"([0-9])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")
_NAME = re.compile(rb"[!-9;-~]{1,255}")
_HOST = re.compile(rb"[!-~]{1,255}")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_LABEL = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
#: What the SMTP parser takes: local part, then domain or address literal (RFC 5321 §4.1.2, RFC 6531 §3.3).
_MAILBOX = re.compile(
    rb'([!#-\'*+\-./-9=?A-Z^-~\x80-\xff]+|"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*")'
    rb"@(" + _LABEL + rb"(?:\." + _LABEL + rb")*\.?|\[[!-Z^-~]+\])"
)
_BYTES = {"name", "value", "address", "challenge", "state"}
_CLASSES = {"deny": 5, "deny_disconnect": 5, "denysoft": 4, "denysoft_disconnect": 4}

#: Hooks and verdicts that hold without reply, notes and actions.
PLAIN = frozenset(
    (hook, word)
    for hook, words in VERDICTS.items()
    for word in words
    if word != "done" and not (word == "ok" and OK_REPLY[hook] == "text")
)


class Violation(NamedTuple):
    """The rule that a verdict breaks, by its name in protocol/verdicts.md, and what is wrong where."""

    id: str
    message: str


class InvalidVerdict(ValueError):
    """A verdict that no frontend takes. Its text names the rule, the place and the value."""


class _Broken(Exception):
    def __init__(self, id: str, message: str) -> None:
        super().__init__(message)
        self.violation = Violation(id, message)


def check(event: Mapping[str, Any], verdict: Mapping[str, Any]) -> Optional[Violation]:
    """The first rule that the message `verdict` breaks as an answer to the message `event`; None if it breaks none.

    What only the frontend knows is left to it: its limit of recipients, the file of `message.replace`, and ids of
    lists that the event does not have.
    """
    try:
        _form(verdict)
        _meaning(event, verdict)
    except _Broken as broken:
        return broken.violation
    return None


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_integer(value: Any) -> bool:
    return type(value) is int and -LARGEST <= value <= LARGEST


# The form: a part that is missing, or of a wrong type


def _form(verdict: Mapping[str, Any]) -> None:
    word = verdict.get("verdict")
    if not isinstance(word, str) or word not in WORDS:
        raise _Broken("unknown_verdict", f"verdict: {_shown(word)}: none of {', '.join(WORDS)}")
    plugin = verdict.get("plugin")
    if plugin is not None and not (isinstance(plugin, str) and len(plugin) <= LIMITS["short_text"]):
        raise _Broken("plugin_malformed", f"plugin: {_shown(plugin)}: not a string of at most 128 characters")
    _form_of_reply(verdict.get("reply"), "reply", "reply_malformed")
    notes = verdict.get("notes")
    if notes is not None:
        scopes = [notes.get(scope, {}) for scope in ("session", "transaction")] if isinstance(notes, dict) else [None]
        if not all(isinstance(scope, dict) for scope in scopes):
            raise _Broken("notes_malformed", f"notes: {_shown(notes)}: not an object of objects")
    if verdict.get("actions") is not None:
        _form_of_actions(verdict["actions"])
    if verdict.get("trace") is not None:
        _form_of_trace(verdict["trace"])


def _form_of_reply(reply: Any, place: str, rule: str) -> None:
    if reply is None:
        return
    if not isinstance(reply, dict):
        raise _Broken(rule, f"{place}: {_shown(reply)}: not an object")
    code, status, text = reply.get("code"), reply.get("status"), reply.get("text")
    if code is not None and not _is_integer(code):
        raise _Broken(rule, f"{place}.code: {_shown(code)}: not an integer")
    if status is not None and not isinstance(status, str):
        raise _Broken(rule, f"{place}.status: {_shown(status)}: not a string")
    if text is not None and not (isinstance(text, list) and all(isinstance(line, str) for line in text)):
        raise _Broken(rule, f"{place}.text: {_shown(text)}: not a list of strings")


def _form_of_actions(actions: Any) -> None:
    if not isinstance(actions, list):
        raise _Broken("actions_malformed", f"actions: {_shown(actions)}: not a list")
    if len(actions) > LIMITS["actions"]:
        raise _Broken("too_many_actions", f"actions: {len(actions)}: over {LIMITS['actions']}")
    for index, action in enumerate(actions):
        place = f"actions[{index}]"
        op = action.get("op") if isinstance(action, dict) else None
        if not isinstance(op, str):
            raise _Broken("actions_malformed", f"{place}: {_shown(action)}: not an object with a string op")
        if op not in ACTIONS:
            raise _Broken("unknown_action", f"{place}.op: {_shown(op)}: none that there is")
        for key in ACTIONS[op]:
            value = action.get(key)
            if not _is_field(op, key, value, key in action):
                raise _Broken("actions_malformed", f"{place}.{key}: {_shown(value)}: missing, or of a wrong type")
        if op == "header.add" and action.get("at") not in (None, "top", "bottom"):
            raise _Broken("actions_malformed", f"{place}.at: {_shown(action['at'])}: neither top nor bottom")
        if op == "recipient.refuse":
            _form_of_reply(action.get("reply"), f"{place}.reply", "actions_malformed")


def _is_field(op: str, key: str, value: Any, is_there: bool) -> bool:
    if op == "session.relay":
        return isinstance(value, bool)
    if op == "session.client_name" and value is None:
        return is_there
    if key == "id":
        return _is_integer(value)
    if key == "ms":
        return _is_integer(value) and value >= 0
    if key == "verdict":
        return value in ("deny", "denysoft")
    if key == "path":
        return isinstance(value, str)
    try:
        to_bytes(value)
    except ValueError:
        return False
    return key in _BYTES


def _form_of_trace(trace: Any) -> None:
    if not isinstance(trace, list) or len(trace) > LIMITS["trace"]:
        raise _Broken("trace_malformed", f"trace: not a list of at most {LIMITS['trace']}")
    for index, entry in enumerate(trace):
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("plugin"), str)
            and entry.get("verdict") in WORDS
            and _is_integer(entry.get("us"))
            and entry["us"] >= 0
        ):
            raise _Broken("trace_malformed", f"trace[{index}]: {_shown(entry)}: not plugin, verdict and us")


# What the parts say


def _meaning(event: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
    word, hook = verdict["verdict"], event["hook"]
    if verdict.get("hook") is not None and verdict["hook"] != hook:
        hook = verdict["hook"]
        if not isinstance(hook, str) or hook not in (event.get("ahead") or {}):
            raise _Broken("hook_not_reached", f"hook: {_shown(hook)}: not the event's, and not ahead of it")
    if word not in VERDICTS[hook]:
        raise _Broken("verdict_not_allowed", f"verdict: {_shown(word)}: {hook} allows {', '.join(VERDICTS[hook])}")
    transaction = event.get("transaction")
    utf8 = _is_utf8(event)
    _reply(verdict.get("reply"), word, hook, utf8, "reply")
    _notes(event, verdict.get("notes") or {}, transaction is not None)
    actions: List[Dict[str, Any]] = verdict.get("actions") or []
    if actions:
        _fields(actions, hook, utf8)
    if hook == "auth":
        _challenge(event, word, sum(action["op"] == "auth.challenge" for action in actions))
    if actions:
        _Edit(event, hook, utf8).apply(actions)


def _is_utf8(event: Mapping[str, Any]) -> bool:
    sender = (event.get("transaction") or {}).get("sender") or event["args"].get("sender") or {}
    return any(key == "SMTPUTF8" for key, _ in sender.get("params", ()))


def _reply(reply: Optional[Mapping[str, Any]], word: str, hook: str, utf8: bool, place: str) -> None:
    is_line, is_challenge = hook == "received_line" and word == "ok", hook == "auth" and word == "done"
    if reply is None:
        if word == "done" and not is_challenge or is_line:
            raise _Broken("reply_missing", f"{place}: {word} at {hook} needs one")
        return
    code, status, text = reply.get("code"), reply.get("status"), reply.get("text")
    if is_challenge:
        raise _Broken("reply_not_allowed", f"{place}: {_shown(reply)}: the challenge takes its place")
    if word == "done" and (code is None or text is None) or is_line and text is None:
        raise _Broken("reply_missing", f"{place}: {_shown(reply)}: no code, or no text")
    silent = word == "ok" and OK_REPLY[hook] == "none"
    if word == "declined" or silent or hook == "received_line" and (code is not None or status is not None):
        raise _Broken("reply_not_allowed", f"{place}: {_shown(reply)}: the client does not get it")
    if code is not None and not _is_code(code, word, hook):
        raise _Broken("reply_code", f"{place}.code: {code}: not for {word} at {hook}")
    if status is not None:
        found = _STATUS.fullmatch(status)
        silence = 5 if hook == "unrecognized_command" else 2
        wanted = code // 100 if code is not None else _CLASSES.get(word, silence)
        if not found or int(found[1]) != wanted:
            raise _Broken("reply_status", f"{place}.status: {_shown(status)}: not a status code of class {wanted}")
    if text is None:
        return
    if not 1 <= len(text) <= LIMITS["reply_lines"] or is_line and not any(text):
        raise _Broken("reply_text", f"{place}.text: {len(text)} lines: not 1 to {LIMITS['reply_lines']}")
    for index, line in enumerate(text):
        wrong = None
        if _CONTROL.search(line):
            wrong = "a control character"
        elif len(line.encode("utf-8", "surrogatepass")) > LIMITS["reply_line_octets"]:
            wrong = f"over {LIMITS['reply_line_octets']} octets"
        elif not utf8 and not line.isascii():
            wrong = "not ASCII, and the session has no SMTPUTF8"
        if wrong:
            raise _Broken("reply_text", f"{place}.text[{index}]: {_shown(line)}: {wrong}")


def _is_code(code: int, word: str, hook: str) -> bool:
    if not 200 <= code < 600 or code // 10 % 10 > 5:
        return False
    closing = code in (421, 521)
    if word == "ok":
        return code in OK_CODES[hook]
    if word == "done":
        return code == 221 if hook == "quit" else code // 100 != 3 and not closing and code != 221
    return code // 100 == _CLASSES[word] and (not closing or hook == "connect" or word.endswith("_disconnect"))


def _notes(event: Mapping[str, Any], notes: Mapping[str, Any], has_transaction: bool) -> None:
    if notes.get("transaction") and not has_transaction:
        raise _Broken("notes_no_transaction", "notes.transaction: there is no transaction")
    for scope in ("session", "transaction"):
        patch = notes.get(scope)
        if patch:
            merged = _merged(event.get("notes", {}).get(scope, {}), patch)
            for value in (patch, merged):
                octets = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
                if octets > LIMITS["notes_octets"]:
                    raise _Broken("notes_too_large", f"notes.{scope}: {octets} octets: over {LIMITS['notes_octets']}")


def _merged(before: Any, patch: Mapping[str, Any]) -> Dict[str, Any]:
    """RFC 7396."""
    merged = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value) if isinstance(value, dict) else value
    return merged


def _fields(actions: List[Dict[str, Any]], hook: str, utf8: bool) -> None:
    for index, action in enumerate(actions):
        op, place = action["op"], f"actions[{index}]"
        if op not in ACTIONS_AT[hook]:
            allowed = ", ".join(ACTIONS_AT[hook]) or "none"
            raise _Broken("action_not_allowed", f"{place}.op: {_shown(op)}: {hook} allows {allowed}")
        if op in ("header.add", "header.delete_all"):
            name = to_bytes(action["name"])
            if not _NAME.fullmatch(name):
                raise _Broken("header_name", f"{place}.name: {_shown(name)}: not a field name (RFC 5322 §2.2)")
        if op in ("header.add", "header.set"):
            value = to_bytes(action["value"])
            wrong = _wrong_in_value(value)
            if wrong:
                raise _Broken("header_value", f"{place}.value: {_shown(value)}: {wrong}")
        elif op == "session.client_name" and action["value"] is not None:
            value = to_bytes(action["value"])
            if not _HOST.fullmatch(value):
                raise _Broken("value_invalid", f"{place}.value: {_shown(value)}: not a host name")
        elif op == "message.replace":
            path = action["path"]
            if index:
                raise _Broken("action_not_allowed", f"{place}.op: {_shown(op)}: not the first action")
            octets = len(path.encode("utf-8", "surrogatepass"))
            if path in ("", ".", "..") or "/" in path or "\0" in path or octets > LIMITS["path_octets"]:
                raise _Broken("path_invalid", f"{place}.path: {_shown(path)}: not a bare file name")
        elif op == "recipient.refuse":
            _reply(action.get("reply"), action["verdict"], hook, utf8, f"{place}.reply")
        elif op == "auth.challenge":
            for key, limit in (("challenge", LIMITS["challenge_octets"]), ("state", LIMITS["state_octets"])):
                if len(to_bytes(action[key])) > limit:
                    raise _Broken("challenge_too_large", f"{place}.{key}: over {limit} octets")


def _wrong_in_value(value: bytes) -> Optional[str]:
    if len(value) > LIMITS["header_value_octets"]:
        return f"over {LIMITS['header_value_octets']} octets"
    if b"\0" in value:
        return "a NUL"
    lines = _FOLD.split(value)
    if any(b"\n" in line for line in lines):
        return "a bare LF" if b"\r\n" not in value else "a CRLF that no space or TAB follows"
    if any(b"\r" in line for line in lines):
        return "a bare CR"
    if any(not line.strip(b" \t") for line in lines[1:]):
        return "a line of white space alone"
    return None


def _challenge(event: Mapping[str, Any], word: str, count: int) -> None:
    if word != "done":
        if count:
            raise _Broken("challenge_not_allowed", f"actions: a challenge with {word}")
        return
    if count != 1:
        rule = "challenge_not_allowed" if count else "challenge_missing"
        raise _Broken(rule, f"actions: {count} challenges with done")
    step = event["args"].get("step")
    if not _is_integer(step) or step >= LIMITS["login_steps"]:
        raise _Broken("challenge_not_allowed", "actions: the login has no further step")


class _Edit:
    """What the actions would leave of the lists that the event has."""

    def __init__(self, event: Mapping[str, Any], hook: str, utf8: bool) -> None:
        transaction = event.get("transaction") or {}
        self.hook, self.utf8 = hook, utf8
        fields = transaction.get("headers")
        self.headers: Optional[Dict[int, Tuple[bytes, bytes]]] = None
        if fields is not None:
            self.headers = {each["id"]: (to_bytes(each["name"]), to_bytes(each["value"])) for each in fields}
        self.recipients: Optional[Set[int]] = None
        if transaction.get("recipients") is not None:
            self.recipients = {each["id"] for each in transaction["recipients"]}
        self.candidate = event["args"].get("recipient", {}).get("id") if hook == "rcpt" else None
        self.added_header = self.added_recipient = self.replaced = False

    def apply(self, actions: List[Dict[str, Any]]) -> None:
        for index, action in enumerate(actions):
            place, op = f"actions[{index}]", action["op"]
            if op == "message.replace":
                self.headers, self.replaced = None, True
            elif op.startswith("header."):
                self._header(op, action, place)
            elif op.startswith("recipient."):
                self._recipient(op, action, place)
            if op in ("recipient.add", "recipient.replace", "sender.replace"):
                self._address(to_bytes(action["address"]), op == "sender.replace", f"{place}.address")
        changed = any(action["op"] == "recipient.remove" for action in actions)
        if changed and self.hook != "rcpt" and self.recipients is not None and not self.recipients and not self.added_recipient:
            raise _Broken("no_recipients", "actions: no recipient is left")

    def _header(self, op: str, action: Mapping[str, Any], place: str) -> None:
        old: Optional[Tuple[bytes, bytes]] = None
        if op in ("header.set", "header.delete"):
            id = action["id"]
            if self.replaced or self.headers is not None and id not in self.headers and not (self.added_header and id > 0):
                raise _Broken("unknown_header", f"{place}.id: {id}: no field has it")
            old = (self.headers or {}).get(id)
        if op in ("header.add", "header.set"):
            name = to_bytes(action["name"]) if op == "header.add" else old[0] if old else b""
            value = to_bytes(action["value"])
            self._value(name, value, old, op, f"{place}.value")
            if op == "header.add":
                self.added_header = True
            elif self.headers is not None:
                self.headers[action["id"]] = (name, value)
        elif op == "header.delete" and self.headers is not None:
            self.headers.pop(action["id"], None)
        elif op == "header.delete_all" and self.headers is not None:
            name = to_bytes(action["name"]).lower()
            self.headers = {id: field for id, field in self.headers.items() if field[0].lower() != name}

    def _value(self, name: bytes, value: bytes, old: Optional[Tuple[bytes, bytes]], op: str, place: str) -> None:
        if self.headers is None and not self.replaced:
            return  # it may be one that came
        if any(field[1] == value for field in (self.headers or {}).values()):
            return
        spaced = value if value[:1] in (b" ", b"\t") else b" " + value
        lines = (name + b":" + spaced).split(b"\r\n")
        if any(len(line) > LIMITS["header_line_octets"] for line in lines):
            raise _Broken("header_value", f"{place}: {_shown(value)}: a line over {LIMITS['header_line_octets']} octets")
        if not value.isascii() and not self.utf8 and not (op == "header.set" and old and not old[1].isascii()):
            raise _Broken("header_value", f"{place}: {_shown(value)}: not ASCII, and the session has no SMTPUTF8")

    def _recipient(self, op: str, action: Mapping[str, Any], place: str) -> None:
        if op == "recipient.add":
            self.added_recipient = True
            return
        id = action["id"]
        if op == "recipient.replace" and id == self.candidate:
            return
        is_known = self.recipients is None or id in self.recipients or self.added_recipient
        if id < 1 or not is_known or id == self.candidate:
            raise _Broken("unknown_recipient", f"{place}.id: {id}: no recipient has it")
        if op == "recipient.remove" and self.recipients is not None:
            self.recipients.discard(id)

    def _address(self, address: bytes, may_be_null: bool, place: str) -> None:
        if not address and may_be_null or address.lower() == b"postmaster" and not may_be_null:
            return
        found = _MAILBOX.fullmatch(address)
        if not found or len(found[1]) > 64 or len(found[2].rstrip(b".")) > 255 or len(address) > 254:
            raise _Broken("address_invalid", f"{place}: {_shown(address)}: not a mailbox (RFC 5321 §4.1.2)")
        if not address.isascii() and not self.utf8:
            raise _Broken("address_invalid", f"{place}: {_shown(address)}: not ASCII, and the session has no SMTPUTF8")
