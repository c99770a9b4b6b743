"""A client of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), for `smtplib`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import smtplib


class ScramError(Exception):
    """The server refused, or did not prove that it knows the user; the code it said."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def login(
    client: smtplib.SMTP, user: str, password: str, end_point: bytes | None = None, flag: str = "n"
) -> dict[str, str]:
    """Logs in, with the channel binding `tls-server-end-point` if `end_point` is given.

    Returns the attributes of the server's first message.
    """
    mechanism = "SCRAM-SHA-256"
    if end_point is not None:
        mechanism, flag = "SCRAM-SHA-256-PLUS", "p=tls-server-end-point"
    header = f"{flag},,"
    bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={secrets.token_urlsafe(18)}"
    code, text = client.docmd("AUTH", f"{mechanism} {_b64((header + bare).encode())}")
    challenge = _challenge(code, text)
    said = dict(field.split("=", 1) for field in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(said["s"]), int(said["i"]))
    key = _hmac(salted, b"Client Key")
    without = f"c={_b64(header.encode() + (end_point or b''))},r={said['r']}"
    signed = f"{bare},{challenge},{without}".encode()
    signature = _hmac(hashlib.sha256(key).digest(), signed)
    proof = bytes(one ^ other for one, other in zip(key, signature))
    code, text = client.docmd(_b64(f"{without},p={_b64(proof)}".encode()))
    verifier = _challenge(code, text)
    expected = _b64(_hmac(_hmac(salted, b"Server Key"), signed))
    if verifier != f"v={expected}":
        raise ScramError(code, verifier)
    code, text = client.docmd("")
    if code != 235:
        raise ScramError(code, text.decode())
    return said


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _challenge(code: int, text: bytes) -> str:
    if code != 334:
        raise ScramError(code, text.decode())
    return base64.b64decode(text).decode()
