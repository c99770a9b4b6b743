"""New policy on real traffic: a shadow is shown everything and decides nothing, a canary takes a part."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from harness.gatepost import EXTRA_OCTETS, Gatepost
from harness.waiting import wait_until
from harness.wire import Message, Worker, accepting
from test_workers_command import workers

HOOKS = ["mail", "rcpt", "queue"]
BODY = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def shadowed(gatepost: Gatepost) -> Gatepost:
    gatepost.pool["minimum_workers"] = 1
    gatepost.frontend_toml["pool"].append({"name": "next", "shadow_of": "policy"})
    return gatepost


def pool_status(gatepost: Gatepost, name: str) -> Message:
    status = json.loads(workers(gatepost, "--json").stdout)
    return next(pool for pool in status["pools"] if pool["name"] == name)


def counts_become(gatepost: Gatepost, **expected: int) -> None:
    """Waits until the shadow `next` counts exactly this."""
    seen: list[Message] = []

    def are_there() -> bool:
        seen.append(pool_status(gatepost, "next")["shadow"])
        counts = dict.fromkeys(("agreed", "differed", "failed", "unpaired", "dropped"), 0)
        return seen[-1] == {"of": "policy", **counts, **expected}

    wait_until(are_there, 10, lambda: f"{expected}; seen {seen[-1:]}", 0)


def deliver(gatepost: Gatepost) -> None:
    """One message in one session."""
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(BODY)
        client.quit()


def test_it_is_shown_what_its_pool_is_asked(shadowed: Gatepost) -> None:
    frontend = shadowed.frontend(ready=False)
    with (
        shadowed.python_worker([*HOOKS, "data_post"], accepting()) as policy,
        shadowed.python_worker([*HOOKS, "data_post"], accepting(), pool="next") as shadow,
    ):
        frontend.ready()
        deliver(shadowed)
        counts_become(shadowed, agreed=3)
        shown = [event for event in policy.events if event["hook"] != "queue"]
        for event, copy in zip(shown, shadow.events, strict=True):
            for own in ("id", "attempt", "deadline_ms"):
                del event[own], copy[own]
            assert copy == event


def test_its_answers_are_compared_logged_and_never_used(shadowed: Gatepost) -> None:
    frontend = shadowed.frontend(ready=False)
    reply = {"code": 550, "status": "5.1.1", "text": ["Nobody here"]}
    wild = accepting(
        mail={"verdict": "declined", "notes": {"session": {"wild": True}}},
        rcpt={"verdict": "deny", "reply": reply, "plugin": "strict"},
        queue="deny",
    )
    with (
        shadowed.python_worker(HOOKS, accepting()) as policy,
        shadowed.python_worker(HOOKS, wild, pool="next") as shadow,
    ):
        frontend.ready()
        deliver(shadowed)
        line = frontend.logged("a shadow differs.*hook=rcpt")
        for said in ("pool=policy", "said=ok", "shadow=next", "deny 550 5.1.1 Nobody here \\(strict\\)"):
            assert said.replace("\\", "") in line.replace('"', ""), line
        frontend.logged("a shadow differs.*hook=mail.*notes")
        counts_become(shadowed, differed=2)
        assert policy.saw("queue")["notes"]["session"] == {}
        assert shadow.hooks_seen() == ["mail", "rcpt"]
    shown = workers(shadowed).stdout
    assert "next (shadow of policy: 0 agreed, 2 differed, 0 failed, 0 unpaired, 0 dropped)" in shown


def test_its_differences_do_not_flood_the_log(shadowed: Gatepost) -> None:
    """A client may cause a difference with each command: so many lines a second pass, the rest are counted."""
    frontend = shadowed.frontend("--log-format", "json", ready=False)
    differing = accepting(rcpt={"verdict": "deny", "plugin": "strict"})
    count = 100

    def lines() -> list[Message]:
        said = [json.loads(line) for line in frontend.log().splitlines()]
        return [line for line in said if line["message"] == "a shadow differs"]

    with (
        shadowed.python_worker(HOOKS, accepting()),
        shadowed.python_worker(HOOKS, differing, pool="next"),
        shadowed.connect() as client,
    ):
        frontend.ready()
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        sent = 0

        def suppressed_lines_are_told() -> bool:
            nonlocal sent
            client.send(b"RCPT TO:<alice@example.com>\r\n" * count)
            for _ in range(count):
                client.expect(250)
            sent += count
            return any("lines_suppressed" in line for line in lines())

        wait_until(suppressed_lines_are_told, 20, "a line with lines_suppressed", 0.1)
        assert len(lines()) < sent
        assert {line["transaction"] for line in lines()} == {lines()[0]["session"] + ".1"}


def test_shadow_queue_shows_it_queue_too(shadowed: Gatepost) -> None:
    shadowed.frontend_toml["pool"][1]["shadow_queue"] = True
    frontend = shadowed.frontend(ready=False)
    with (
        shadowed.python_worker(HOOKS, accepting()),
        shadowed.python_worker(HOOKS, accepting(), pool="next") as shadow,
    ):
        frontend.ready()
        deliver(shadowed)
        counts_become(shadowed, agreed=3)
        assert shadow.hooks_seen() == HOOKS


def test_nobody_waits_for_it(shadowed: Gatepost) -> None:
    """It answers after the session has ended, and reads the message then."""
    shadowed.frontend_toml["pool"][1]["deadline_ms"] = 60_000
    frontend = shadowed.frontend(ready=False)
    hooks = {"data_post": {"needs": ["message"]}}
    with shadowed.python_worker(HOOKS, accepting()), shadowed.raw_worker("next") as shadow:
        shadow.hello(hooks, pool="next", worker={"name": "slow", "pid": 1})
        frontend.ready()
        deliver(shadowed)
        event = shadow.event("data_post")
        assert Path(event["transaction"]["message"]["path"]).read_bytes().endswith(b"body\r\n")
        shadow.answer(event, "declined")
        # mail, rcpt: it does not ask for them, so it declines; policy says ok at rcpt only.
        counts_become(shadowed, agreed=2, differed=1)
        shadowed.spool_is_empty()


def test_what_is_kept_for_a_silent_one_is_bounded(shadowed: Gatepost) -> None:
    """A question that there is no room for is dropped, with a count and a line of log; later ones are shown again."""
    shadowed.frontend_toml["pool"][1].update(
        deadline_ms=120_000, max_deadline_ms=120_000, shadow_octets=3_000_000, shadow_spool_octets=1_000_000
    )
    frontend = shadowed.frontend(ready=False)
    header = (b"X-Long: " + b"y" * 900 + b"\r\n") * 300
    hooks = {"data_post": {"needs": ["message", "headers"]}}
    with shadowed.python_worker({**hooks, "rcpt": {}, "queue": {}}, accepting()):
        shadow = shadowed.python_worker(hooks, lambda event: None, pool="next")
        frontend.ready()
        resident = frontend.resident_octets()
        with shadowed.connect() as client:
            client.ehlo()
            for _ in range(40):
                client.deliver(header + b"\r\nbody\r\n")
            client.quit()
        frontend.logged("a shadow is not shown a question.*reason=shadow_dropped")
        counts = pool_status(shadowed, "next")["shadow"]
        # 270 KB of message, twice that in memory: three on the disk, no more.
        assert counts["dropped"] == 37, counts
        spool = Path(shadowed.frontend_toml["spool_directory"]) / "mx1"
        assert len(list(spool.glob("m*"))) == 3
        assert frontend.resident_octets() < resident + (16 << 20) + EXTRA_OCTETS
        # The shadow dies: its questions fail or wait, and after their deadline none is kept.
        shadow.close()
        wait_until(lambda: not list(spool.glob("m*")), 15, "an empty spool")
        with shadowed.python_worker(hooks, accepting(), pool="next"):
            before = pool_status(shadowed, "next")["shadow"]["agreed"]
            deliver(shadowed)
            wait_until(
                lambda: pool_status(shadowed, "next")["shadow"]["agreed"] > before, 10, "shown again", 0
            )


def test_one_that_dies_lies_or_is_not_there_costs_no_mail(shadowed: Gatepost) -> None:
    shadowed.frontend_toml["pool"][1]["deadline_ms"] = 500
    frontend = shadowed.frontend(ready=False)
    with shadowed.python_worker(HOOKS, accepting()):
        frontend.ready()
        deliver(shadowed)
        with shadowed.raw_worker("next") as shadow:
            shadow.hello(["rcpt"], pool="next", worker={"name": "dies", "pid": 1})
            with shadowed.connect() as client:
                client.ehlo()
                client.command("MAIL FROM:<bob@example.net>", 250)
                client.command("RCPT TO:<alice@example.com>", 250)
                event = shadow.event("rcpt")
                shadow.send({"type": "verdict", "id": event["id"], "verdict": "perhaps"})
                frontend.logged("a shadow failed.*invalid_verdict")
                client.command("RCPT TO:<carol@example.com>", 250)
                shadow.event("rcpt")
                frontend.logged("a shadow failed.*deadline")
                client.command("RCPT TO:<dave@example.com>", 250)
                shadow.event("rcpt")
                shadow.close()
                client.data(BODY)
                client.quit()
        counts_become(shadowed, agreed=1, failed=3)
        deliver(shadowed)


def test_a_client_that_leaves_leaves_nothing_to_compare(shadowed: Gatepost) -> None:
    frontend = shadowed.frontend(ready=False)
    with shadowed.raw_worker() as policy, shadowed.raw_worker("next") as shadow:
        policy.hello(["vrfy"])
        shadow.hello(["vrfy"], pool="next")
        frontend.ready()
        with shadowed.connect() as client:
            client.ehlo()
            client.send(b"VRFY alice\r\n")
            policy.event("vrfy")
            event = shadow.event("vrfy")
            client.reset()
        assert policy.expect("cancel")["reason"] == "client_gone"
        shadow.answer(event, "ok")
        counts_become(shadowed, unpaired=1)


def test_a_replacement_of_the_message_is_thrown_away(shadowed: Gatepost) -> None:
    frontend = shadowed.frontend(ready=False)
    out: list[Path] = []

    def replace(event: Message) -> Message:
        path = out[0] / f"r{event['id']}"
        path.write_bytes(b"Subject: other\r\n\r\nother\r\n")
        return {"verdict": "declined", "actions": [{"op": "message.replace", "path": path.name}]}

    hooks = {"rcpt": {}, "queue": {"needs": ["message"]}}
    with (
        shadowed.python_worker(hooks, accepting()) as policy,
        shadowed.python_worker(["data_post"], replace, pool="next") as shadow,
    ):
        out.append(Path(shadow.welcome["spool"]) / "out" / "next")
        frontend.ready()
        deliver(shadowed)
        frontend.logged("a shadow differs.*data_post.*1 actions")
        wait_until(lambda: not list(out[0].iterdir()), 5, "its file to be removed")
        assert policy.saw("queue")["transaction"]["message"]["size"] == len(BODY)


@pytest.mark.parametrize("percent", [0, 30, 100])
def test_a_canary_takes_its_part_of_whole_sessions(gatepost: Gatepost, percent: int) -> None:
    gatepost.pool["minimum_workers"] = 1
    canaries = [{"name": "canary", "canary_of": "policy", "canary_percent": percent}] if percent else []
    gatepost.frontend_toml["pool"] += canaries
    frontend = gatepost.frontend(ready=False)
    sides = [gatepost.python_worker(HOOKS, accepting())]
    if percent:
        sides.append(gatepost.python_worker(HOOKS, accepting(), pool="canary"))
        frontend.logged("a worker is ready.*canary")
    frontend.ready()
    count = 200
    clients = [threading.Thread(target=several, args=(gatepost, count // 4)) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(60)
    seen = [{event["session"]["id"] for event in side.events} for side in sides]
    if percent:
        # No session is in both, and each session's three events went to one pool.
        assert not seen[0] & seen[1]
        assert all(len(side.events) == 3 * len(sessions) for side, sessions in zip(sides, seen))
        # Five standard deviations of a binomial distribution.
        spread = 5 * (count * percent * (100 - percent)) ** 0.5 / 100
        assert abs(len(seen[1]) - count * percent / 100) <= spread
        assert pool_status(gatepost, "canary")["canary"] == {
            "of": "policy",
            "percent": percent,
            "sessions": len(seen[1]),
        }
        assert f"canary ({percent} % of policy: {len(seen[1])} sessions)" in workers(gatepost).stdout
    assert sum(map(len, seen)) == count
    for side in sides:
        side.close()


def several(gatepost: Gatepost, count: int) -> None:
    for _ in range(count):
        deliver(gatepost)


def test_a_canary_without_workers_takes_no_session(gatepost: Gatepost) -> None:
    """And one whose workers leave in the middle of a session keeps that session."""
    gatepost.pool["minimum_workers"] = 1
    gatepost.frontend_toml["pool"].append(
        {"name": "canary", "canary_of": "policy", "canary_percent": 100, "grace_ms": 0}
    )
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(HOOKS, accepting()) as policy:
        frontend.ready()
        deliver(gatepost)
        assert policy.hooks_seen() == HOOKS
        canary = Worker(gatepost.socket("canary"), HOOKS, accepting(), pool="canary")
        with gatepost.connect() as client:
            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            canary.close()
            frontend.logged("a worker left.*canary")
            assert client.command("RCPT TO:<alice@example.com>").code == 451
            client.quit()
        assert canary.hooks_seen() == ["mail"]
        deliver(gatepost)
        assert policy.hooks_seen() == HOOKS * 2


def test_sighup_changes_the_part_of_a_canary(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 1
    gatepost.frontend_toml["pool"].append({"name": "canary", "canary_of": "policy", "canary_percent": 1})
    frontend = gatepost.frontend(ready=False)
    with (
        gatepost.python_worker(HOOKS, accepting()),
        gatepost.python_worker(HOOKS, accepting(), pool="canary") as canary,
    ):
        frontend.ready()
        gatepost.frontend_toml["pool"][1]["canary_percent"] = 100
        gatepost.write_frontend_toml()
        frontend.signal(signal.SIGHUP)
        frontend.logged("reloaded")
        deliver(gatepost)
        assert canary.hooks_seen()[-3:] == HOOKS
