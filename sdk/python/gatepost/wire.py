"""Lines and octets: strict reading and writing of messages (protocol/README.md §1)."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any, Dict, List, Optional, Tuple, Union

BytesField = Union[str, Dict[str, str]]

#: The largest integer that every implementation of JSON keeps exactly.
LARGEST = 2**53 - 1
#: How deep a message may nest; its outer object is the first level.
DEEPEST = 32

_LONG_NUMBER = re.compile(rb"[0-9]{16}")


class ProtocolError(Exception):
    """The peer broke the protocol: the connection ends with `bye` and this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _bad(message: str) -> ProtocolError:
    return ProtocolError("bad_frame", message)


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _bad("a key twice in one object")
    return result


def _constant(word: str) -> Any:
    raise _bad(f"{word} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _bad("a number that is no finite double")
    return value


def _integer(text: str) -> int:
    value = int(text)
    if not -LARGEST <= value <= LARGEST:
        raise _bad("an integer beyond 2^53-1")
    return value


# Python reads a short integer in C if no hook asks for it, so the hook is only for lines that have a long one.
_quick = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_careful = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _inspect(value: Any, depth: int) -> None:
    """Raises if the value nests too deep, holds a lone surrogate, or U+0000 in a key."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, (dict, list)):
        if depth > DEEPEST:
            raise _bad("nesting over 32")
        if isinstance(value, list):
            for item in value:
                _inspect(item, depth + 1)
        else:
            for key, item in value.items():
                if "\0" in key:
                    raise _bad("U+0000 in a key")
                key.encode("utf-8")
                _inspect(item, depth + 1)


def parse_line(line: bytes) -> Dict[str, Any]:
    """The message on this line, with or without its LF; raises ProtocolError if it is none."""
    try:
        text = line.decode("utf-8")
        if text.startswith("\ufeff"):
            raise _bad("a byte-order mark")
        value = (_careful if _LONG_NUMBER.search(line) else _quick).decode(text)
        if b"\\u" in line or line.count(b"{") + line.count(b"[") > DEEPEST:
            _inspect(value, 1)
    except UnicodeDecodeError as error:
        raise _bad("not UTF-8") from error
    except UnicodeEncodeError as error:
        raise _bad("a lone surrogate") from error
    except RecursionError as error:
        raise _bad("nesting over 32") from error
    except ValueError as error:
        raise _bad(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _bad("not an object")
    return value


def encode_line(message: Dict[str, Any], check: bool = False) -> bytes:
    """The line that says this message, LF included. `check` it if people's own values are in it."""
    line = _encoder.encode(message).encode("utf-8")
    if check:
        parse_line(line)
    return line + b"\n"


def to_bytes(value: Any) -> bytes:
    """The octets of a field of type Bytes, in either form; raises ValueError if it is none."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str):
        try:
            octets = base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError("bad base64") from error
        if base64.b64encode(octets).decode("ascii") != value["b64"]:
            raise ValueError("base64 that is not canonical")
        return octets
    raise ValueError("neither a string nor b64")


def from_bytes(value: Union[bytes, str]) -> BytesField:
    """A field of type Bytes: a string if and only if the octets are valid UTF-8 without NUL."""
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if b"\0" not in octets:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(octets).decode("ascii")}


class FrameDecoder:
    """Octets in, in any pieces; whole lines out, none longer than `max_frame`."""

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        #: Set once a line was too long: what comes after it is not read.
        self.broken: Optional[ProtocolError] = None
        self._pieces: List[bytes] = []
        self._held = 0

    def feed(self, octets: bytes) -> List[bytes]:
        """The lines that these octets complete, up to one that is too long."""
        if self.broken:
            return []
        lines = octets.split(b"\n")
        rest = lines.pop()
        if lines and self._pieces:
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._pieces.clear()
            self._held = 0
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        for index, line in enumerate(lines):
            if len(line) >= self.max_frame:
                self._break()
                return lines[:index]
        if self._held >= self.max_frame:
            self._break()
        return lines

    def _break(self) -> None:
        self._pieces.clear()
        self.broken = ProtocolError("frame_too_long", f"a line of over {self.max_frame} octets")
