"""Logins with any name and password: `smtplib` takes only ASCII."""

from __future__ import annotations

import base64
import smtplib
import ssl


def login_code(port: int, user: str | bytes, password: str | bytes, mechanism: str = "PLAIN") -> int:
    """The code that answers a login by PLAIN or LOGIN, under STARTTLS, in a session of its own."""
    name, secret = (each.encode() if isinstance(each, str) else each for each in (user, password))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        if mechanism == "PLAIN":
            return client.docmd("AUTH", "PLAIN " + _b64(b"\0" + name + b"\0" + secret))[0]
        assert mechanism == "LOGIN"
        assert client.docmd("AUTH", "LOGIN")[0] == 334 and client.docmd(_b64(name))[0] == 334
        return client.docmd(_b64(secret))[0]


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
