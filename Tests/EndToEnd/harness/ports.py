"""Free loopback ports that two test processes do not both choose.

Below the range from which the kernel gives ports to clients, so that no connection of another test
sits on one; each process starts somewhere else.
"""

from __future__ import annotations

import os
import random
import socket

_FIRST, _LAST = 10_000, 31_999
_random = random.Random(os.getpid() ^ int.from_bytes(os.urandom(4), "big"))


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port on 127.0.0.1 that nobody is bound to now, neither TCP nor UDP."""
    for _ in range(1_000):
        port = _random.randint(_FIRST, _LAST)
        if all(_is_free(port, each) for each in {kind, socket.SOCK_STREAM}):
            return port
    raise RuntimeError("no free port on 127.0.0.1")


def _is_free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
