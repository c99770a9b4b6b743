"""Values of header fields that may stand in a message (RFC 5322 §2.1.1, RFC 2047, RFC 6532)."""

from __future__ import annotations

import re
from typing import List

#: Octets of a line without its CRLF, and where long lines are folded if they can be (RFC 5322 §2.1.1).
LONGEST_LINE = 998
PREFERRED_LINE = 78
#: Octets of an encoded word with its delimiters (RFC 2047 §2).
LONGEST_WORD = 75

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_GAP = re.compile(rb"([ \t\r\n]+)")
_PIECE = re.compile(rb"([ \t]*)([^ \t]+)")
_ALIKE = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def legal(value: bytes, name_octets: int, allows_8bit: bool) -> bytes:
    """What may follow the colon of a field whose name has `name_octets`.

    NUL is left out, and so are CR and LF that fold nothing. Lines of white space alone, which a reader that strips it takes for the end of the header, are unfolded. Octets
    above 127 become encoded words where the message has no SMTPUTF8. A line over 998 octets is folded at its white
    space, and within a word that is longer than that. The work is in proportion to the octets.
    """
    if b"\r" in value or b"\n" in value or b"\0" in value:
        value = _without_blank_lines([line.translate(None, b"\r\n\0") for line in _FOLD.split(value)])
    if not allows_8bit and not value.isascii():
        value = _encoded(value)
    # A value that begins without white space gets a space in front.
    first = name_octets + 1 + (value[:1] not in (b" ", b"\t", b"\r"))
    if first + len(value) > LONGEST_LINE:
        lines = _FOLD.split(value)
        before = [first] + [0] * (len(lines) - 1)
        value = b"\r\n".join(_folded(line, taken) for line, taken in zip(lines, before))
    return value


def _without_blank_lines(lines: List[bytes]) -> bytes:
    """The lines as one value; one of white space alone belongs to the line before it."""
    rest = (b"\r\n" + line if line.strip(b" \t") else line for line in lines[1:])
    return b"".join([lines[0], *rest])


def _encoded(value: bytes) -> bytes:
    """Each run of words with octets above 127 as encoded words.

    White space between two encoded words is not shown (RFC 2047 §6.2), so what stands between such words goes into them.
    """
    pieces = _GAP.split(value)  # words and gaps by turns, a word first
    result: List[bytes] = []
    run: List[bytes] = []
    gap = b""
    for index, piece in enumerate(pieces):
        if index % 2:
            gap = piece
        elif piece and not piece.isascii():
            if run:
                run += [gap.replace(b"\r", b"").replace(b"\n", b""), piece]
            else:
                result.append(gap)
                run = [piece]
            gap = b""
        elif piece:
            result += [_words(b"".join(run)), gap, piece]
            run, gap = [], b""
    return b"".join([*result, _words(b"".join(run)), gap])


def _words(text: bytes) -> bytes:
    """Text as encoded words of whole characters, folded between them."""
    if not text:
        return b""
    try:
        characters = [character.encode() for character in text.decode()]
        start = b"=?UTF-8?Q?"
    except UnicodeDecodeError:
        characters = [text[index : index + 1] for index in range(len(text))]
        start = b"=?unknown-8bit?Q?"
    words: List[bytes] = [start]
    for character in characters:
        encoded = b"".join(_quoted(octet) for octet in character)
        if len(words[-1]) + len(encoded) + 2 > LONGEST_WORD:
            words.append(start)
        words[-1] += encoded
    return b"\r\n ".join(word + b"?=" for word in words)


def _quoted(octet: int) -> bytes:
    """RFC 2047 §4.2, with the octets that may stand in a phrase (§5, 3)."""
    if octet in _ALIKE:
        return bytes([octet])
    return b"_" if octet == 0x20 else b"=%02X" % octet


def _folded(line: bytes, before: int) -> bytes:
    """`before` octets stand before the line."""
    if before + len(line) <= LONGEST_LINE:
        return line
    lines: List[bytes] = []
    current = b""
    for match in _PIECE.finditer(line.rstrip(b" \t")):  # which would be tried at each place
        space, rest = match[1][:PREFERRED_LINE], match[2]
        taken = 0 if lines else before
        if current and taken + len(current) + len(space) + len(rest) > PREFERRED_LINE:
            lines.append(current)
            current = b""
        start = 0
        while len(space) + len(rest) - start > (room := LONGEST_LINE - (0 if lines else before) - len(current)):
            end = start + max(0, room - len(space))
            lines.append(current + space + rest[start:end] if end > start else current)
            if end > start or not space:
                space = b" "
            start, current = end, b""
        current += space + rest[start:]
    return b"\r\n".join([*lines, current])
