"""A next hop with TLS that says what a test wants said."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from .certificates import Certificate


class ScriptedHop:
    """An SMTP server, one thread a connection, that accepts everything unless told otherwise.

    `replies` has other replies, by how a command begins: octets, or None to close the connection.
    `after_starttls` follows the 220 to STARTTLS in clear text. `is_wrapped`: TLS from the first octet.
    With `logins`, a password by each user, only a client that has logged in may send mail.
    """

    def __init__(
        self,
        certificate: Certificate | None = None,
        keywords: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE"),
        replies: Mapping[bytes, bytes | None] | None = None,
        after_starttls: bytes = b"",
        is_wrapped: bool = False,
        versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None,
        host: str = "127.0.0.1",
        logins: Mapping[str, str] | None = None,
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN"),
    ) -> None:
        self.keywords = keywords
        self.replies = dict(replies or {})
        self.after_starttls = after_starttls
        self.is_wrapped = is_wrapped
        self.logins = logins
        self.mechanisms = mechanisms
        #: Each command with whether it came under TLS, and each message; of all connections.
        self.commands: list[tuple[bool, bytes]] = []
        self.messages: list[tuple[bool, bytes]] = []
        #: The names that clients asked for, one a handshake, and the handshakes that failed.
        self.names: list[str | None] = []
        self.failures: list[str] = []
        self.connections = 0
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate.chain, certificate.key)
            self._context.sni_callback = lambda _, name, __: self.names.append(name)
            if versions is not None:
                self._context.minimum_version, self._context.maximum_version = versions
                self._context.set_ciphers("ALL:@SECLEVEL=0")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self.port = self._listening.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> ScriptedHop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def verbs(self, is_encrypted: bool) -> list[bytes]:
        return [line.split(b" ")[0] for tls, line in self.commands if tls == is_encrypted]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        try:
            if self.is_wrapped:
                connection = self._handshake(connection)
            with connection:
                self._serve(connection)
        except ssl.SSLError as error:
            self.failures.append(str(error))
            connection.close()
        except OSError:
            connection.close()

    def _handshake(self, connection: socket.socket) -> ssl.SSLSocket:
        assert self._context is not None
        return self._context.wrap_socket(connection, server_side=True)

    def _serve(self, connection: socket.socket) -> None:
        is_encrypted = self.is_wrapped
        is_logged_in = self.logins is None
        connection.sendall(b"220 hop.example ESMTP\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            line = line.removesuffix(b"\r\n")
            self.commands.append((is_encrypted, line))
            verb = line.split(b" ")[0].upper()
            special = next((each for each in self.replies if line.startswith(each)), b"")
            if special:
                reply = self.replies[special]
                if reply is None:
                    return
                connection.sendall(reply)
            elif verb == b"EHLO":
                keywords = [*self.keywords]
                if self._context is not None and not is_encrypted:
                    keywords.append("STARTTLS")
                if self.logins is not None:
                    keywords.append(f"AUTH {' '.join(self.mechanisms)}")
                connection.sendall(listing("hop.example", *keywords))
            elif verb == b"STARTTLS":
                connection.sendall(b"220 2.0.0 go ahead\r\n" + self.after_starttls)
                if self._context is None:
                    return
                connection = self._handshake(connection)
                lines = connection.makefile("rb")
                is_encrypted = True
            elif verb == b"AUTH":
                is_logged_in = self._authenticates(line, connection, lines)
                end = b"235 2.7.0 in" if is_logged_in else b"535 5.7.8 wrong, you said " + line
                connection.sendall(end + b"\r\n")
            elif verb == b"MAIL" and not is_logged_in:
                connection.sendall(b"530 5.7.0 who are you\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go ahead\r\n")
                message = b""
                while (line := lines.readline()) not in (b".\r\n", b""):
                    message += line
                if not line:
                    return
                self.messages.append((is_encrypted, message))
                if not self.finished(connection.sendall):
                    return
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 2.0.0 ok\r\n")

    def _authenticates(
        self, command: bytes, connection: socket.socket, lines: BinaryIO
    ) -> bool:
        _, mechanism, *initial = command.split(b" ")

        def asked(prompt: bytes) -> str:
            connection.sendall(b"334 " + base64.b64encode(prompt) + b"\r\n")
            return base64.b64decode(lines.readline(), validate=False).decode()

        if mechanism == b"CRAM-MD5":
            challenge = b"<1.2@hop.example>"
            user, _, digest = asked(challenge).partition(" ")
            assert self.logins is not None
            key = self.logins.get(user, "").encode()
            return digest == hmac.new(key, challenge, hashlib.md5).hexdigest()
        if mechanism == b"LOGIN":
            user, password = asked(b"Username:"), asked(b"Password:")
        else:
            said = base64.b64decode(initial[0]).decode() if initial else asked(b"")
            _, user, password = said.split("\0")
        assert self.logins is not None
        return self.logins.get(user) == password

    def finished(self, send: Callable[[bytes], object]) -> bool:
        """Replies to the final dot; false: the connection is closed then."""
        reply = self.replies.get(b".", b"250 2.0.0 taken\r\n")
        if reply is not None:
            send(reply)
        return reply is not None


def listing(*lines: str) -> bytes:
    """The lines as one 250 reply."""
    return "".join(
        f"250{' ' if n + 1 == len(lines) else '-'}{text}\r\n" for n, text in enumerate(lines)
    ).encode()
