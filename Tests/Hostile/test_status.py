"""`status` comes once a second to its observers; it follows the schema and is true."""

from __future__ import annotations

import sys

from harness.gatepost import ROOT, Gatepost
from harness.wire import Message, RawWorker
from harness.waiting import wait_until

sys.path.insert(0, str(ROOT / "Tests" / "Contract"))
from contract import check_message  # noqa: E402


def next_status(observer: RawWorker) -> Message:
    message = observer.expect("notify")
    assert message["hook"] == "status"
    check_message(message)
    return message["args"]


def test_status_tells_of_workers_sessions_and_spool(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 0
    gatepost.frontend()
    with gatepost.raw_worker() as observer, gatepost.raw_worker() as asked:
        observer.hello({"status": {"observe": True}}, worker={"name": "watcher", "pid": 1})
        asked.hello(
            {"vrfy": {}},
            worker={"name": "demo", "version": "2.0", "pid": 2},
            plugins=["rcpt_ok"],
            concurrency=3,
        )
        with gatepost.connect() as client:
            client.ehlo()
            client.send(b"VRFY alice\r\n")
            event = asked.event("vrfy")
            busy = next_status(observer)
            asked.answer(event, "declined")
            client.expect(252)
            client.quit()
        seen: list[Message] = []

        def is_served() -> bool:
            seen.append(next_status(observer))
            pool = seen[-1]["pools"][0]
            return pool["served"] == 1 and seen[-1]["sessions"]["open"] == 0

        wait_until(is_served, 5, lambda: f"{seen}", 0)
    assert busy["frontend"] == gatepost.frontend_toml["id"]
    assert busy["sessions"] == {"open": 1, "opened": 1}
    assert busy["spool"] == {"files": 0, "octets": 0}
    (pool,) = busy["pools"]
    assert (pool["name"], pool["state"], pool["outstanding"]) == ("policy", "ready", 1)
    watcher, demo = pool["workers"]
    assert (watcher["name"], watcher["state"], watcher["version"]) == ("watcher", "ready", None)
    assert (demo["name"], demo["version"], demo["plugins"]) == ("demo", "2.0", ["rcpt_ok"])
    assert (demo["concurrency"], demo["outstanding"], demo["served"]) == (3, 1, 0)
    assert demo["p50_us"] is None
    demo = seen[-1]["pools"][0]["workers"][1]
    assert (demo["outstanding"], demo["served"], demo["failed"], demo["late"]) == (0, 1, 0, 0)
    assert demo["p50_us"] > 0 and demo["p99_us"] >= demo["p50_us"]
    assert seen[-1]["uptime_ms"] > busy["uptime_ms"]


def test_nobody_is_told_who_does_not_observe_it(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 0
    gatepost.frontend()
    with gatepost.raw_worker() as observer, gatepost.raw_worker() as other:
        other.hello(["vrfy"], worker={"name": "other", "pid": 2})
        observer.hello({"status": {"observe": True}}, worker={"name": "watcher", "pid": 1})
        for _ in range(2):
            next_status(observer)
        assert not other.has_more(0)
