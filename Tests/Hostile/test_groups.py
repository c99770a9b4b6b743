"""Pools with a `group` of their own: who owns their folders, and which workers can read their messages."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.gatepost import Gatepost
from harness.waiting import wait_until
from harness.wire import Message, accepting
from proofs import proves

#: Pools with a `group` of their own, and one without.
GROUPS = {"games": 60_001, "other": 60_002, "next": 60_003, "policy": None}


def readable(path: Path, group: int) -> bool:
    """Whether a process of another user can read the file with this group alone."""
    done = subprocess.run(
        ["cat", path], capture_output=True, user=65534, group=group, extra_groups=[], timeout=20
    )
    return done.returncode == 0 and done.stdout.startswith(b"Subject: ")


@pytest.fixture
def grouped(gatepost: Gatepost) -> Gatepost:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    gatepost.folder.chmod(0o711)
    gatepost.frontend_toml["pool"] = [
        {"name": name, "minimum_workers": 0, "on_failure": "skip", "grace_ms": 0}
        | ({"group": str(group)} if group else {})
        for name, group in GROUPS.items()
    ]
    gatepost.frontend_toml["pool"][2]["shadow_of"] = "games"
    return gatepost


@pytest.mark.parametrize("is_replaced", [False, True], ids=["as-it-came", "replaced"])
def test_a_message_is_for_the_groups_of_its_pools(grouped: Gatepost, is_replaced: bool) -> None:
    """What a pool's workers are told of is read with that pool's group and no other."""
    spool = grouped.folder / "spool" / "mx1"
    paths: dict[str, Path] = {}
    readers: dict[str, list[str]] = {}

    def handler(pool: str) -> Callable[[Message], Message | str]:
        def handle(event: Message) -> Message | str:
            if event["hook"] != "data_post":
                return accepting()(event)  # type: ignore[return-value]
            path = paths[pool] = Path(event["transaction"]["message"]["path"])
            readers[pool] = [name for name, group in GROUPS.items() if group and readable(path, group)]
            if pool != "games" or not is_replaced:
                return "declined"
            (spool / "out" / "games" / "new").write_bytes(b"Subject: new\r\n\r\n")
            return {"verdict": "declined", "actions": [{"op": "message.replace", "path": "new"}]}

        return handle

    grouped.frontend()
    hooks = {"data_post": {"needs": ["message"]}}
    workers = [
        grouped.python_worker(
            hooks | ({"rcpt": {}, "queue": {}} if name == "policy" else {}), handler(name), pool=name
        )
        for name in GROUPS
    ]
    for _ in range(2):
        paths.clear()
        with grouped.connect() as client:
            client.ehlo()
            client.deliver(b"Subject: x\r\n\r\n")
        wait_until(lambda: len(paths) == 4, 10, "a shadow that was shown the message")
        assert {name: path.parent for name, path in paths.items()} == {
            "games": spool / "for" / "games",
            "other": spool / "for" / "other",
            "next": spool / "for" / "next",
            "policy": spool / "all",
        }
        assert len({path.name for path in paths.values()}) == 4
        grouped.spool_is_empty()
    for worker in workers:
        worker.close()
        assert worker.error is None, worker.error
    assert readers == {"games": ["games"], "other": ["other"], "next": ["next"], "policy": []}


def test_the_folders_of_a_group(grouped: Gatepost) -> None:
    """Whose they are, and that nothing of an earlier run is in them or stays in force."""
    spool = grouped.folder / "spool" / "mx1"
    for folder in ["all", "for/games", "for/gone"]:
        (spool / folder).mkdir(parents=True)
        (spool / folder / "mleft").write_text("x")
    (spool / "out" / "games").mkdir(parents=True)
    frontend = grouped.frontend()

    def modes() -> dict[str, tuple[int, int]]:
        facts = {str(path.relative_to(spool)): path.stat() for path in [spool, *spool.rglob("*")]}
        return {name: (each.st_mode & 0o7777, each.st_gid) for name, each in facts.items()}

    assert modes() == {
        ".": (0o751, 0),
        "all": (0o750, 0),
        "for": (0o751, 0),
        "for/games": (0o750, 60_001),
        "for/other": (0o750, 60_002),
        "for/next": (0o750, 60_003),
        "out": (modes()["out"][0], 0),
        "out/games": (0o770, 60_001),
        "out/other": (0o770, 60_002),
        "out/next": (0o770, 60_003),
        "out/policy": (0o770, 0),
    }
    frontend.signal(signal.SIGTERM)
    frontend.exit_code(10)


@proves("message_lost")
def test_a_message_that_a_group_cannot_have(grouped: Gatepost) -> None:
    """A message is not accepted if its file cannot get a name in the pool's folder."""
    grouped.frontend()
    worker = grouped.python_worker(["rcpt", "queue"], accepting())
    reader = grouped.python_worker({"data_post": {"needs": ["message"]}}, pool="games")
    folder = grouped.folder / "spool" / "mx1" / "for" / "games"
    folder.rename(folder.with_name("away"))
    with grouped.connect() as client:
        client.ehlo()
        client.envelope()
        reply = client.data(b"Subject: x\r\n\r\n")
        assert (reply.code, reply.status) == (451, "4.3.0"), client.describe(str(reply))
        folder.with_name("away").rename(folder)
        client.deliver(b"Subject: x\r\n\r\n")
        client.quit()
    grouped.spool_is_empty()
    for each in (worker, reader):
        each.close()


def test_a_message_with_two_names_counts_once(grouped: Gatepost) -> None:
    """`status` counts messages, not their names."""
    grouped.frontend()
    worker = grouped.python_worker(["rcpt", "queue"], accepting())
    observer = grouped.raw_worker()
    observer.hello({"status": {"observe": True}}, worker={"name": "watcher", "pid": 1})
    reader = grouped.raw_worker("games")
    reader.hello({"data_post": {"needs": ["message"]}}, pool="games")
    with grouped.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(b"Subject: x\r\n\r\n.\r\n")
        event = reader.event("data_post")
        size = event["transaction"]["message"]["size"]
        # The first may have been on its way already.
        seen = [observer.expect("notify")["args"]["spool"] for _ in range(2)]
        assert seen[1] == {"files": 1, "octets": size}
        reader.answer(event, "declined")
        client.expect(250)
        client.quit()
    reader.close()
    observer.close()
    worker.close()
