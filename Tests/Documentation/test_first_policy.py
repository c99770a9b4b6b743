"""README's Python worker does what README says, with the shipped configuration and README's pools."""

import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys

import pytest
from blocks import ALL, ROOT

README = ROOT / "README.md"


def block(words):
    return next(b.text for b in ALL[README] if b.words == words)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def running(tmp_path):
    """A copy of the shipped instance with README's pools; gives its folder and its port."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    port = free_port()
    listener = f'[[listener]]\naddress = "127.0.0.1:{port}"\n\n'
    (tmp_path / "config/frontend.toml").write_text(listener + block("toml frontend"))
    command = [ROOT / ".build/debug/gatepost", "run", "--config", "config"]
    program = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert any(line.startswith("ready") for line in program.stdout)
        yield tmp_path, port
    finally:
        program.terminate()
        program.communicate(timeout=60)


def test_the_python_worker_refuses_who_has_left(running):
    folder, port = running
    said = re.search(r"gets `(550) (5\.1\.6 [^`]+)`", README.read_text(encoding="utf-8"))
    environment = {
        **os.environ,
        "GATEPOST_RUNTIME_DIRECTORY": str(folder / "var/run"),
        "PYTHONPATH": str(ROOT / "sdk/python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-u", ROOT / "sdk/python/examples/worker.py"]
    worker = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert any("ready" in line for line in worker.stdout)
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.ehlo("client.example.net")
            client.mail("you@example.net")
            code, text = client.rcpt("eve@example.com")
            assert (str(code), text.decode()) == said.groups()
            assert client.rcpt("me@example.com")[0] == 250
    finally:
        worker.terminate()
        worker.communicate(timeout=60)
