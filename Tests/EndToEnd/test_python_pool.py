"""The Python SDK's example worker as a second pool beside the Swift one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from harness.gatepost import ROOT, Gatepost
from harness.program import Program

SDK = ROOT / "sdk" / "python"
EXAMPLE = SDK / "examples" / "worker.py"


@pytest.fixture
def both(gatepost: Gatepost) -> tuple[Gatepost, Program]:
    """Pools `python` and `policy`, in this order; a Swift worker delivers."""
    gatepost.frontend_toml["pool"] = [
        {"name": "python", "minimum_workers": 1, "grace_ms": 300},
        {"name": "policy", "minimum_workers": 1},
    ]
    frontend = gatepost.frontend(ready=False)
    gatepost.worker("policy")
    example = start_example(gatepost)
    frontend.ready()
    return gatepost, example


def start_example(gatepost: Gatepost) -> Program:
    started = Program(
        "example-worker",
        [sys.executable, EXAMPLE],
        gatepost.folder / "example.log",
        {
            "GATEPOST_RUNTIME_DIRECTORY": str(gatepost.folder / "run"),
            "PYTHONPATH": str(SDK),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=gatepost.folder,
    )
    gatepost.programs.append(started)
    started.ready()
    return started


def test_the_example_decides_and_marks(both: tuple[Gatepost, Program]) -> None:
    gatepost, _ = both
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        reply = client.command("RCPT TO:<eve@example.com>", 550)
        assert reply.status == "5.1.6" and "eve@example.com has left" in reply.text
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()
    delivered = gatepost.maildir.only()
    assert delivered.header("X-Seen-By") == [b"example"]
    assert delivered.octets.endswith(b"Subject: x\r\n\r\nbody\r\n")


def test_it_can_be_killed(both: tuple[Gatepost, Program]) -> None:
    """Its pool fails by policy until the next one comes; the session goes on."""
    gatepost, example = both
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("RSET", 250)
        example.signal(signal.SIGKILL)
        example.expects_exit = None
        client.command("MAIL FROM:<bob@example.net>", 250)
        reply = client.command("RCPT TO:<alice@example.com>")
        assert (reply.code, reply.status) == (451, "4.3.0"), client.describe(str(reply))
        start_example(gatepost)
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()


def test_it_drains(both: tuple[Gatepost, Program]) -> None:
    """SIGTERM: exit 0, and with a second one beside it no session notices."""
    gatepost, example = both
    start_example(gatepost)
    with gatepost.connect() as client:
        client.ehlo()
        for number in range(10):
            if number == 5:
                example.signal(signal.SIGTERM)
            client.deliver(b"Subject: x\r\n\r\n")
        client.quit()
    assert example.exit_code() == 0, example.tail()


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 20


def test_the_readme_shows_it() -> None:
    code = EXAMPLE.read_text().partition("worker = ")[2]
    shown = [path for path in (ROOT / "README.md", SDK / "README.md") if code in path.read_text()]
    assert shown, "neither README shows the example as it is"


def test_it_needs_the_standard_library_only() -> None:
    names = {
        line.split()[1].split(".")[0]
        for path in Path(SDK / "gatepost").glob("*.py")
        if path.name != "pytest_plugin.py"
        for line in path.read_text().splitlines()
        if line.startswith(("import ", "from ")) and not line.startswith("from .")
    }
    foreign = names - sys.stdlib_module_names - {"__future__"}
    assert not foreign, foreign
