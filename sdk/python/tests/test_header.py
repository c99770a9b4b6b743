"""What the SDK makes of values that may not stand in a message; HeaderTextTests.swift has the same rows."""

import email.header
import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gatepost.header import LONGEST_LINE, legal  # noqa: E402

ROWS = [
    (b" plain", b" plain"),
    (b"", b""),
    (b" a\r\n b\r\n\tc", b" a\r\n b\r\n\tc"),
    (b"\r\n\tvalue", b"\r\n\tvalue"),
    (b"\r\n\t\r\n\tvalue", b"\t\r\n\tvalue"),
    (b" [tag]\r\n \r\n\tvalue", b" [tag] \r\n\tvalue"),
    (b" a\r\n \r\n\t", b" a \t"),
    (b" a\0b\rc\nd\r\n\0 e\r\n", b" abcd e"),
    (b"\r\n \0\r\n\tx", b" \r\n\tx"),
    (" Grüße".encode(), b" =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="),
    (" an grüne Bäume hier".encode(), b" an =?UTF-8?Q?gr=C3=BCne_B=C3=A4ume?= hier"),
    (" ä\r\n\tö x".encode(), b" =?UTF-8?Q?=C3=A4=09=C3=B6?= x"),
    (b" caf\xe9", b" =?unknown-8bit?Q?caf=E9?="),
    (
        (" " + "ß" * 12).encode(),
        b" =?UTF-8?Q?" + b"=C3=9F" * 10 + b"?=\r\n =?UTF-8?Q?" + b"=C3=9F" * 2 + b"?=",
    ),
    (b" " + b"x" * 990, b" " + b"x" * 990),
    (b" " + b"x" * 1200, b" " + b"x" * 992 + b"\r\n " + b"x" * 208),
    (b" word" * 200, b"\r\n".join([b" word" * 14] + [b" word" * 15] * 12 + [b" word" * 6])),
]


@pytest.mark.parametrize("value,expected", ROWS)
def test_rows(value, expected):
    assert legal(value, 4, False) == expected


@pytest.mark.parametrize("name_octets", [255, 990, 998, 2_000])
@pytest.mark.parametrize("value", [b" x", b"x"])
def test_a_long_name_leaves_its_line_to_itself(name_octets, value):
    fits = name_octets + 2 + len(value) <= LONGEST_LINE
    assert legal(value, name_octets, False) == (value if fits else b"\r\n x")


@pytest.mark.parametrize("piece", ["\r\n ", "a\r\n ", "x", "ü ", " a", "ü a "])
def test_the_time_is_in_proportion_to_the_octets(piece):
    def spent(octets):
        value = (piece * (octets // len(piece.encode()))).encode()
        start = time.process_time()
        legal(value, 4, False)
        return time.process_time() - start

    assert spent(1_048_576) < 80 * min(spent(65_536) for _ in range(3)) + 0.1


def test_8_bit_stays_with_smtputf8():
    assert legal(" Grüße".encode(), 4, True) == " Grüße".encode()


def test_whatever_comes_is_legal_and_says_the_same():
    random.seed(5)
    pieces = [b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b"word", "ü€".encode(), b"\xff", b"x" * 700, b" " * 600]
    for _ in range(3_000):
        value = b" " + b"".join(random.choices(pieces, k=random.randrange(30)))
        result = legal(value, 40, False)
        lines = (b"x" * 41 + result).split(b"\r\n")
        assert all(len(line) <= LONGEST_LINE for line in lines), (value, result)
        assert all(line[:1] in (b" ", b"\t") and line.strip() for line in lines[1:]), (value, result)
        assert result.isascii() and legal(result, 40, False) == result
        if value.isascii():
            assert b"".join(result.split()) == b"".join(value.split())
        elif b"\xff" not in value and b"x" * 700 not in value:
            text = str(email.header.make_header(email.header.decode_header(result.decode())))
            assert text.split() == value.decode().replace("\r\n", "").split()


@pytest.mark.parametrize("start", [b"", b" "])
def test_the_space_in_front_of_a_value_counts(start):
    first = legal(start + b"y" * 3000, 4, False).split(b"\r\n")[0]
    assert 4 + 1 + len(first) + (not start) <= 998
