"""A next hop with TLS that says what a test wants said."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence

from .certificates import Certificate


class ScriptedHop:
    """An SMTP server, one thread a connection, that accepts everything unless told otherwise.

    `replies` has other replies, by how a command begins: octets, or None to close the connection.
    `after_starttls` follows the 220 to STARTTLS in clear text. `is_wrapped`: TLS from the first octet.
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
    ) -> None:
        self.keywords = keywords
        self.replies = dict(replies or {})
        self.after_starttls = after_starttls
        self.is_wrapped = is_wrapped
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
                connection.sendall(listing("hop.example", *keywords))
            elif verb == b"STARTTLS":
                connection.sendall(b"220 2.0.0 go ahead\r\n" + self.after_starttls)
                if self._context is None:
                    return
                connection = self._handshake(connection)
                lines = connection.makefile("rb")
                is_encrypted = True
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
