"""The client of the benches that speak TLS: tls.c, compiled when it is needed."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path


def build(folder: Path) -> Path:
    """Compiles the client into `folder`."""
    program = folder / "tls"
    source = Path(__file__).resolve().parent / "tls.c"
    subprocess.run(["cc", "-O2", "-o", program, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
    return program


def once(program: Path, port: int, mode: str, options: argparse.Namespace) -> float:
    """How many handshakes or messages a second; `options` has `clients`, `seconds` and `octets`."""
    words = [program, port, options.clients, options.seconds, options.octets, mode]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return float(done.stdout)
