"""The stage of the hostile tests: a frontend, a pool to attack, and mail that must not notice.

Two pools: `hostile`, where a test's worker misbehaves, and `healthy`, whose worker takes all mail.
A probe sends a message through the frontend every 100 ms. Whatever happens in the hostile pool, at
the end: every probe got its replies in time, a bystander in the hostile pool is still connected,
and the frontend's memory and descriptors are where they were.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from harness.gatepost import EXTRA_OCTETS, SLOWNESS, Gatepost
from harness.program import Program
from harness.smtp import Dialogue, Reply
from harness.waiting import wait_until
from harness.wire import Message, RawWorker, accepting

#: The deadline of the hostile pool's hooks.
DEADLINE_MS = 1_200
#: No probe may take longer, with debug binaries and other tests running.
PROBE_SECONDS = 2.5 * SLOWNESS
#: How often the probe and what it asks wait for each other in one message.
PROBE_STEPS = 20
#: What the allocator may keep of what a row made the frontend handle.
SLACK_OCTETS = (24 << 20) + EXTRA_OCTETS


class Scene:
    """See the module."""

    def __init__(self, gatepost: Gatepost, **hostile: Any) -> None:
        self.gatepost = gatepost
        pool: dict[str, Any] = {
            "name": "hostile",
            "minimum_workers": 0,
            "deadline_ms": DEADLINE_MS,
            "max_deadline_ms": DEADLINE_MS * 2,
            "grace_ms": 200,
            "zombie_ms": 1_500,
            "hooks": {"connect": {"on_failure": "skip"}},
        }
        pool.update(hostile)
        gatepost.frontend_toml["pool"] = [pool, {"name": "healthy", "minimum_workers": 1}]
        gatepost.limits(
            max_errors=0,
            max_unrecognized=0,
            max_noop=0,
            max_commands_without_message=0,
            max_refused_recipients=0,
        )
        self.frontend: Program = gatepost.frontend(ready=False)
        self.healthy = gatepost.python_worker(
            ["rcpt", "queue"], accepting(), pool="healthy", concurrency=1_000
        )
        self.frontend.ready()
        self.bystander = gatepost.python_worker(
            ["help"],
            lambda event: {"verdict": "ok", "reply": {"text": ["bystander"]}},
            pool="hostile",
            worker={"name": "bystander", "pid": 1},
        )
        self.raws: list[RawWorker] = []
        self.probe = Probe(gatepost)
        self.probe.warm_up()
        self.resident = self.frontend.resident_octets()
        self.descriptors = len(self.frontend.descriptors())
        self.log_position = self.frontend.log_position()
        self.probe.start()

    # Acting

    def attacker(self) -> RawWorker:
        """A connection to the hostile pool; nothing is said on it."""
        worker = self.gatepost.raw_worker("hostile")
        self.raws.append(worker)
        return worker

    def worker(self, hooks: dict[str, Message] | list[str], **fields: Any) -> RawWorker:
        """An attacker that was welcomed."""
        worker = self.attacker()
        worker.hello(hooks, **{"pool": "hostile", "worker": {"name": "attacker"}, **fields})
        return worker

    def victim(self, hello: bool = True) -> Dialogue:
        """An SMTP session that asks the hostile pool for what the attacker subscribed to."""
        client = self.gatepost.connect()
        if hello:
            client.ehlo("victim.example")
        return client

    def asked(self, hook: str = "vrfy", **fields: Any) -> tuple[RawWorker, Dialogue, Message]:
        """An attacker that holds an event of a session."""
        worker = self.worker([hook], **fields)
        client = self.victim()
        client.send({"vrfy": b"VRFY alice\r\n", "noop": b"NOOP\r\n"}[hook])
        return worker, client, worker.event(hook)

    # Looking

    def check(self, descriptors: int = 0) -> None:
        """Everything that no row may harm; `descriptors` are known to be still in use."""
        self.probe.end()
        self.frontend_is_well()
        with self.gatepost.connect() as client:
            client.ehlo()
            # After many failures the pool's breaker is open: it tries again every 500 ms.
            wait_until(
                lambda: "bystander" in client.command("HELP", 214).text,
                10,
                lambda: client.describe("the bystander in the hostile pool answers no more"),
                0.1,
            )
        for raw in self.raws:
            raw.close()
        wait_until(
            lambda: len(self.frontend.descriptors()) <= self.descriptors + descriptors,
            5,
            lambda: f"{self.descriptors} descriptors; open: {self.frontend.descriptors()}",
        )
        wait_until(
            lambda: self.frontend.resident_octets() <= self.resident + SLACK_OCTETS,
            5,
            lambda: f"{self.resident} octets resident, not {self.frontend.resident_octets()}",
        )
        self.bystander.close()
        self.healthy.close()

    def frontend_is_well(self) -> None:
        assert self.frontend.is_running, f"the frontend is gone{self.frontend.tail()}"

    def log(self) -> str:
        """The log since the scene began."""
        return self.frontend.log()[self.log_position :]

    def logged(self, pattern: str, seconds: float = 3) -> str:
        return self.frontend.logged(pattern, seconds, self.log_position)


def failed_by_policy(client: Dialogue, seconds: float = 6) -> Reply:
    """The next reply says that policy could not be asked, and the session goes on."""
    reply = client.reply(seconds)
    if (reply.code, reply.status) != (451, "4.3.0"):
        client.fail(f"{reply} where 451 4.3.0 was expected")
    client.command("RSET", 250)
    return reply


class Probe:
    """Sends a message every 100 ms and remembers how that went."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.slowest = 0.0
        #: How much later than asked this thread was woken, at worst: what the machine costs each step.
        self.lateness = 0.0
        self.count = 0
        self.problem: str | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="probe", daemon=True)

    def warm_up(self) -> None:
        for _ in range(5):
            self.send()

    def start(self) -> None:
        self.thread.start()

    def sends(self, count: int) -> None:
        """Waits until it has sent so many messages more, or one has failed, which `end` reports."""
        wanted = self.count + count
        wait_until(lambda: self.problem or self.count >= wanted, 15, f"{count} messages of the probe")

    def run(self) -> None:
        began = time.monotonic()
        while not self.over.wait(0.1) and self.problem is None:
            self.lateness = max(self.lateness, time.monotonic() - began - 0.1)
            try:
                self.send()
            except (AssertionError, OSError) as error:
                self.problem = f"probe {self.count}: {error}"
            began = time.monotonic()

    def send(self) -> None:
        began = time.monotonic()
        with self.gatepost.connect(seconds=10) as client:
            client.ehlo("probe.example")
            client.deliver(b"Subject: probe\r\n\r\n" + b"x" * 70 + b"\r\n", "probe@example.net")
            client.quit()
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.count += 1

    def end(self) -> None:
        self.over.set()
        self.thread.join(15)
        assert self.problem is None, self.problem
        allowed = PROBE_SECONDS + PROBE_STEPS * self.lateness
        assert self.slowest < allowed, f"a message took {self.slowest:.2f} s, and not {allowed:.2f} s"
