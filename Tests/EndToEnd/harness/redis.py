"""Debian's redis-server, started privately, and processes that use a store as workers do."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .certificates import Certificate
from .gatepost import BINARIES, Gatepost
from .peers import Peer
from .program import PATIENCE
from .waiting import wait_until


class RedisServer(Peer):
    """A server in memory; `options` are lines of redis.conf, by name."""

    def __init__(self, certificate: Certificate | None = None, **options: str | int) -> None:
        super().__init__("redis")
        self.certificate = certificate
        lines = {"bind": "127.0.0.1", "save": '""', "appendonly": "no", "dir": self.folder, "port": self.port}
        if certificate is not None:
            lines.update({
                "port": 0, "tls-port": self.port, "tls-cert-file": certificate.chain,
                "tls-key-file": certificate.key, "tls-ca-cert-file": certificate.chain, "tls-auth-clients": "no",
            })  # fmt: skip
        lines.update({name.replace("_", "-"): value for name, value in options.items()})
        self.config = self.folder / "redis.conf"
        self.config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self.run()

    def run(self) -> None:
        """Starts it, also once more after it ended."""
        program = self.start(["/usr/bin/redis-server", self.config])
        program.expects_exit = None

        def answers() -> bool:
            assert program.is_running, program.tail()
            return bool(self.command("PING"))

        wait_until(answers, PATIENCE, self.describe)

    def command(self, *words: str) -> str:
        """What redis-cli prints."""
        tls = ["--tls", "--cacert", self.certificate.chain] if self.certificate else []
        done = subprocess.run(
            ["/usr/bin/redis-cli", "-p", str(self.port), *tls, *words], capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip()


class StoreProcess:
    """A process that makes calls of the store in `worker.toml`, one after the other (Tests/StoreClient)."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.process = subprocess.Popen(
            [BINARIES / "StoreClient", gatepost.config, "calls"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> str:
        """Makes a call and returns its answer: `ok VALUE`, `none` or `error WHAT`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def becomes(self, answer: str, *words: str) -> None:
        """Makes a call again until it has this answer."""
        wait_until(lambda: self.call(*words) == answer, PATIENCE, lambda: self.call(*words), 0.1)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            assert self.process.wait(PATIENCE) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


@contextlib.contextmanager
def store_process(gatepost: Gatepost) -> Iterator[StoreProcess]:
    process = StoreProcess(gatepost)
    try:
        yield process
    finally:
        process.close()


def store_client(gatepost: Gatepost, *words: str) -> subprocess.Popen[str]:
    """Starts Tests/StoreClient with these words."""
    return subprocess.Popen(
        [BINARIES / "StoreClient", gatepost.config, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def store_command(
    gatepost: Gatepost, *words: str, config: Path | None = None, through: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs `gatepost store`."""
    return subprocess.run(
        [*through, str(BINARIES / "gatepost"), "store", *words, "--config", str(config or gatepost.config)],
        capture_output=True,
        text=True,
        timeout=30,
    )
