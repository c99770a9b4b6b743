"""A next hop that records every octet it gets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence


class RecordingHop:
    """An SMTP server for queue/smtp-forward: one thread a connection, everything accepted.

    It takes CRLF for the end of a command, and CRLF.CRLF for the end of a message.
    """

    def __init__(self, keywords: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE")) -> None:
        self.keywords = keywords
        #: Command lines, and messages as they were on the wire, without the final CRLF.CRLF's dot.
        self.commands: list[bytes] = []
        self.messages: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def clear(self) -> None:
        self.commands.clear()
        self.messages.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"220 hop.example ESMTP\r\n")
            received = b""
            while True:
                line, received = self._until(connection, received, b"\r\n")
                if line is None:
                    return
                self.commands.append(line)
                verb = line[:4].upper()
                if verb == b"EHLO":
                    lines = ["hop.example", *self.keywords]
                    reply = "".join(
                        f"250{' ' if n + 1 == len(lines) else '-'}{text}\r\n"
                        for n, text in enumerate(lines)
                    )
                    connection.sendall(reply.encode())
                elif verb == b"DATA":
                    connection.sendall(b"354 go ahead\r\n")
                    # The CRLF of DATA's line counts as the first of CRLF.CRLF.
                    message, received = self._until(connection, b"\r\n" + received, b"\r\n.\r\n")
                    if message is None:
                        return
                    self.messages.append(message[2:] + b"\r\n")
                    connection.sendall(b"250 2.0.0 taken\r\n")
                elif verb == b"QUIT":
                    connection.sendall(b"221 bye\r\n")
                    return
                else:
                    connection.sendall(b"250 2.0.0 ok\r\n")

    @staticmethod
    def _until(
        connection: socket.socket, received: bytes, end: bytes
    ) -> tuple[bytes | None, bytes]:
        while end not in received:
            try:
                octets = connection.recv(65_536)
            except OSError:
                octets = b""
            if not octets:
                return None, received
            received += octets
        found, _, rest = received.partition(end)
        return found, rest
