"""`gatepost poison`: what killed two workers is listed, shown, and asked again once it is forgotten."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.program import Program
from harness.waiting import wait_until
from harness.wire import Die, Message, Worker


def poison(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", "poison", words[0], "--config", config, *words[1:]],
        capture_output=True,
        text=True,
        timeout=30,
    )


class Workers:
    """Workers that die of a message, one after the other, until the plugin is mended."""

    def __init__(self, server: Gatepost) -> None:
        self.server = server
        self.deaths = 0
        self.is_mended = False
        self.all: list[Worker] = []
        for _ in range(3):
            self.add()

    def add(self) -> None:
        self.all.append(
            self.server.python_worker(
                {"rcpt": {}, "data_post": {"needs": ["message", "headers"]}, "queue": {}},
                self.answer,
                worker={"name": f"w{len(self.all)}", "pid": 1},
            )
        )

    def answer(self, event: Message) -> str:
        if event["hook"] == "data_post" and not self.is_mended:
            self.deaths += 1
            raise Die
        return "declined" if event["hook"] == "data_post" else "ok"

    def close(self) -> None:
        for worker in self.all:
            worker.close()


MESSAGE = b"Subject: a\x1b[31m bomb\r\n\r\nboom\r\n"


def send(server: Gatepost, code: int) -> None:
    with server.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(MESSAGE + b".\r\n")
        client.expect(code)


@pytest.fixture
def poisoned(gatepost: Gatepost) -> Iterator[tuple[Program, Workers]]:
    """A frontend that has just refused what killed two workers."""
    frontend = gatepost.frontend()
    workers = Workers(gatepost)
    send(gatepost, 451)
    assert workers.deaths == 2
    yield frontend, workers
    workers.close()


def only(server: Gatepost) -> list[str]:
    """The one line of `list`, which is there when the copy is complete."""

    def lines() -> list[str]:
        done = poison(server.config, "list")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    header, row = wait_until(lambda: (found := lines())[1:] and found, 10, "poison in the list")
    assert header.split() == ["ID", "KEPT", "HOOK", "CLIENT", "SENDER", "OCTETS"]
    return row.split()


def test_it_is_listed_shown_and_forgotten(
    gatepost: Gatepost, poisoned: tuple[Program, Workers]
) -> None:
    frontend, workers = poisoned
    id, _, *rest = only(gatepost)
    assert rest == ["data_post", "127.0.0.1", "bob@example.net", str(len(MESSAGE))]
    frontend.logged(f"poison.*{id}")

    shown = poison(gatepost.config, "show", id)
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
    facts, event = shown.stdout.split("\n\n", 1)
    assert "client   127.0.0.1" in facts and f"{len(MESSAGE)} octets" in facts
    assert json.loads(event)["hook"] == "data_post"
    alone = json.loads(poison(gatepost.config, "show", id, "--json").stdout)
    assert [field["name"] for field in alone["transaction"]["headers"]][-1] == "Subject"
    folder = Path(gatepost.frontend_toml["spool_directory"]) / "poison"
    assert (folder / f"{id}.eml").read_bytes() == MESSAGE
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.iterdir()])

    # The plugin is mended, but the operator has not said `forget`: the question is still refused.
    workers.is_mended = True
    send(gatepost, 451)
    forgotten = poison(gatepost.config, "forget", id)
    assert (forgotten.returncode, forgotten.stdout) == (0, f"forgotten: {id}\n")
    assert list(folder.iterdir()) == []
    send(gatepost, 250)
    frontend.logged(f"poison was forgotten.*{id}")
    assert workers.deaths == 2
    assert poison(gatepost.config, "list").stdout == "no poison is kept\n"


def test_forgotten_poison_that_kills_again_is_kept_again(
    gatepost: Gatepost, poisoned: tuple[Program, Workers]
) -> None:
    _, workers = poisoned
    id = only(gatepost)[0]
    assert poison(gatepost.config, "forget", id).returncode == 0
    workers.add()
    send(gatepost, 451)
    assert workers.deaths == 4
    assert only(gatepost)[0] == id


@pytest.mark.parametrize("id", ["0", "../../config/me", "", "ABCDEF", "g", "1" * 17])
@pytest.mark.parametrize("command", ["show", "forget"])
def test_what_is_not_there(gatepost: Gatepost, command: str, id: str) -> None:
    gatepost.write_frontend_toml()
    done = poison(gatepost.config, command, id)
    assert (done.returncode, done.stdout) == (69, "")
    assert "there is no" in done.stderr


def test_a_configuration_that_is_wrong(gatepost: Gatepost) -> None:
    (gatepost.config / "frontend.toml").write_text("idd = 1\n")
    done = poison(gatepost.config, "list")
    assert done.returncode == 78 and "frontend.toml:1: idd" in done.stderr


def test_one_that_cannot_be_read_hides_no_other(
    gatepost: Gatepost, poisoned: tuple[Program, Workers]
) -> None:
    id = only(gatepost)[0]
    folder = Path(gatepost.frontend_toml["spool_directory"]) / "poison"
    (folder / "abc.event.json").symlink_to("nowhere")
    done = poison(gatepost.config, "list")
    assert done.returncode == 69
    assert done.stdout.splitlines()[1].startswith(id)
    assert "abc.event.json" in done.stderr


def test_forgotten_is_forgotten_in_each_pool(gatepost: Gatepost) -> None:
    """Two pools whose workers die of the same question have one copy of it, and one word frees both."""
    gatepost.pool["on_failure"] = "skip"
    gatepost.frontend_toml["pool"].append({"name": "second", "minimum_workers": 0})
    frontend = gatepost.frontend()
    is_mended = False

    def answer(event: Message) -> str:
        if not is_mended:
            raise Die
        return "declined"

    def add(pool: str, count: int) -> list[Worker]:
        return [
            gatepost.python_worker(["vrfy"], answer, pool=pool, worker={"name": f"{pool}{n}", "pid": n})
            for n in range(count)
        ]

    all_workers = add("policy", 2) + add("second", 2)
    with gatepost.connect() as client:
        client.ehlo()
        assert client.command("VRFY bob").code == 451
        id = only(gatepost)[0]
        frontend.logged(f"poison.*pool=second|pool=second.*poison")
        is_mended = True
        all_workers += add("policy", 1) + add("second", 1)
        # Both remember it.
        assert client.command("VRFY bob").code == 451
        assert poison(gatepost.config, "forget", id).returncode == 0
        assert client.command("VRFY bob").code == 252
        client.quit()
    for worker in all_workers:
        worker.close()


@pytest.mark.parametrize("kind", ["text", "empty", "pipe", "folder"])
def test_one_that_is_no_event_hides_no_other(
    gatepost: Gatepost, poisoned: tuple[Program, Workers], kind: str
) -> None:
    id = only(gatepost)[0]
    bad = Path(gatepost.frontend_toml["spool_directory"]) / "poison" / "bad.event.json"
    match kind:
        case "pipe":
            os.mkfifo(bad)
        case "folder":
            bad.mkdir()
        case _:
            bad.write_text("" if kind == "empty" else "{ no event")
    done = poison(gatepost.config, "list")
    assert done.returncode == 69, done.stderr
    assert str(bad) in done.stderr and len(done.stderr.splitlines()) == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", id]
