"""A frontend for tests: it listens where a worker dials, and says what a transcript says (protocol/golden/README.md)."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
SDK = HERE.parent
ROOT = SDK.parents[1]
GOLDEN = ROOT / "protocol/golden"
WELCOME = {
    "type": "welcome", "protocol": 1, "frontend": {"id": "mx1", "version": "0.1.0", "hostname": "mx1.example.org"},
    "connection": "w1", "max_frame": 1048576, "concurrency": 4, "spool": "/nowhere",
    "limits": {"notes_octets": 65536, "actions": 256, "reply_lines": 20},
}  # fmt: skip
PATIENCE = 20.0


class Connection:
    """One connection that a worker dialled; every wait has a deadline."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.socket.settimeout(PATIENCE)
        self.octets = b""

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def say(self, **message: object) -> None:
        self.send(json.dumps(message).encode() + b"\n")

    def line(self) -> dict | None:
        """The next line; None at EOF."""
        while b"\n" not in self.octets:
            try:
                more = self.socket.recv(65_536)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.octets, self.octets
                return None
            self.octets += more
        line, _, self.octets = self.octets.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        self.socket.close()


class Frontend:
    """A socket in the folder of a pool, and the worker that dials it."""

    def __init__(self, folder: pathlib.Path, name: str = "mx1") -> None:
        self.folder = folder
        self.path = folder / "pools/policy" / f"{name}.sock"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.listen()

    def listen(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(PATIENCE)
        self.listener.bind(str(self.path))
        self.listener.listen()

    def stop(self) -> None:
        self.listener.close()
        self.path.unlink()

    def accept(self, welcome: bool = True) -> Connection:
        connection = Connection(self.listener.accept()[0])
        if welcome:
            connection.hello = connection.line()
            connection.say(**WELCOME)
        return connection


class Worker:
    """A program that dials."""

    def __init__(self, shell: str, script: pathlib.Path, folder: pathlib.Path, **environment: str) -> None:
        self.log = folder / "worker.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [shell, str(script)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, "GATEPOST_RUNTIME_DIRECTORY": str(folder), "GATEPOST_SHELL": str(SDK), "TMPDIR": str(folder), **environment},
            )  # fmt: skip

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


def until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def bytes_of(value: str | dict) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"])


def octets_of(step: dict) -> bytes:
    if "line" in step:
        return json.dumps(step["line"]).encode() + b"\n"
    head, tail = bytes_of(step["raw"]), step.get("tail", "").encode()
    return head + step.get("fill", "").encode() * (step.get("total", 0) - len(head) - len(tail)) + tail


def matches(wanted: dict, got: dict, cancelled: set[int]) -> bool:
    if wanted.get("id") in cancelled:
        return got["type"] in ("verdict", "error")
    for name, value in wanted.items():
        if wanted["type"] == "hello" and name == "hooks":
            for side in (value, got[name]):
                for subscription in side.values():
                    subscription.get("needs", []).sort()
        if wanted["type"] == "hello" and name == "worker":
            if any(got[name].get(key) != part for key, part in value.items()):
                return False
        elif name != "message" and got.get(name) != value:
            return False
    more = set() if wanted["type"] == "hello" else set(got) - set(wanted) - {"plugin", "trace", "message"}
    return all(got[name] in ([], {}) for name in more)
