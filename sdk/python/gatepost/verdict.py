"""What a handler answers (protocol/verdicts.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .check import InvalidVerdict
from .tables import LIMITS, WORDS

#: Lines of a reply, and octets of a line of it.
MOST_LINES = LIMITS["reply_lines"]
LONGEST_LINE = LIMITS["reply_line_octets"]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Verdict:
    """A verdict with its reply, notes and actions. The functions of this module make them."""

    word: str
    #: What the client is told, a line each; none for the frontend's own text.
    text: Tuple[str, ...] = ()
    #: Reply code, and enhanced status code; None for those of the hook.
    code: Optional[int] = None
    status: Optional[str] = None
    #: A merge patch (RFC 7396) for each scope, `session` and `transaction`; None deletes.
    notes: Mapping[str, Any] = field(default_factory=dict)
    actions: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise InvalidVerdict(f"unknown_verdict: {self.word!r} is no verdict")
        if len(self.text) > MOST_LINES:
            raise InvalidVerdict(f"reply_text: a reply has at most {MOST_LINES} lines")
        for line in self.text:
            if _CONTROL.search(line):
                raise InvalidVerdict(f"reply_text: a control character in the reply {line!r}")
            if len(line.encode("utf-8")) > LONGEST_LINE:
                raise InvalidVerdict(f"reply_text: a line of a reply has at most {LONGEST_LINE} octets")

    @property
    def reply(self) -> Optional[Dict[str, Any]]:
        """The reply as it stands in the message; None if nothing of it is given."""
        reply: Dict[str, Any] = {}
        if self.code is not None:
            reply["code"] = self.code
        if self.status is not None:
            reply["status"] = self.status
        if self.text:
            reply["text"] = list(self.text)
        return reply or None


def _verdict(
    word: str,
    text: Sequence[str],
    code: Optional[int],
    status: Optional[str],
    notes: Optional[Mapping[str, Any]],
    actions: Sequence[Mapping[str, Any]],
) -> Verdict:
    lines: List[str] = []
    for part in text:
        lines.extend(line for line in part.replace("\r\n", "\n").split("\n") if line)
    return Verdict(word, tuple(lines), code, status, notes or {}, actions)


def declined(*, notes: Optional[Mapping[str, Any]] = None, actions: Sequence[Mapping[str, Any]] = ()) -> Verdict:
    """Nothing to say: the next plugin is asked, then the next pool. Returning None says the same."""
    return _verdict("declined", (), None, None, notes, actions)


def ok(
    *text: str,
    code: Optional[int] = None,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """Decided: allowed, and no other plugin is asked."""
    return _verdict("ok", text, code, status, notes, actions)


def deny(
    *text: str,
    code: Optional[int] = None,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """Refused for good: a 5yz reply."""
    return _verdict("deny", text, code, status, notes, actions)


def denysoft(
    *text: str,
    code: Optional[int] = None,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """Refused for now: a 4yz reply."""
    return _verdict("denysoft", text, code, status, notes, actions)


def deny_disconnect(
    *text: str,
    code: Optional[int] = None,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """As `deny`, then the connection is closed."""
    return _verdict("deny_disconnect", text, code, status, notes, actions)


def denysoft_disconnect(
    *text: str,
    code: Optional[int] = None,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """As `denysoft`, then the connection is closed."""
    return _verdict("denysoft_disconnect", text, code, status, notes, actions)


def done(
    code: int,
    *text: str,
    status: Optional[str] = None,
    notes: Optional[Mapping[str, Any]] = None,
    actions: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """Exactly this reply is sent, nothing else is done, and no other plugin is asked."""
    return _verdict("done", text, code, status, notes, actions)
