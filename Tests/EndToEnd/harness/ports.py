"""Free loopback ports that two test processes do not both choose.

Below the range from which the kernel gives ports to clients, so that no connection of another test
sits on one. Each process has a share of them for itself, for as long as it lives.
"""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Iterator

_FIRST, _LAST = 10_000, 31_999
_SHARES = 64


@functools.cache
def _ports() -> tuple[socket.socket, Iterator[int]]:
    """The ports of this process's share, round and round, and what keeps other processes from it.

    That is a socket with an abstract name (unix(7)): it goes with the process, however that ends.
    """
    count = (_LAST + 1 - _FIRST) // _SHARES
    for share in range(_SHARES):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0gatepost-test-ports-{share}")
        except OSError:
            claim.close()
            continue
        first = _FIRST + share * count
        return claim, itertools.cycle(range(first, first + count))
    raise RuntimeError(f"{_SHARES} test processes have a share of the ports already")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port on 127.0.0.1 to which nothing is bound, neither by TCP nor by UDP."""
    _, ports = _ports()
    for port in itertools.islice(ports, 1_000):
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
