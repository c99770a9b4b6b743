"""Without a worker nothing is let through, nothing hangs, and nothing must be restarted."""

from __future__ import annotations

import signal
import time

import pytest

from harness.gatepost import Gatepost
from harness.waiting import wait_until
from harness.wire import accepting
from test_workers_command import workers


def test_no_worker_ever(gatepost: Gatepost) -> None:
    """`connect` fails by the policy of the pool without workers: 421, after the grace."""
    gatepost.pool["grace_ms"] = 300
    gatepost.frontend()
    with gatepost.connect() as client:
        reply = client.expect(421)
        assert reply.status == "4.3.0", client.describe(str(reply))
        client.closed()


def test_listeners_wait_for_minimum_workers(gatepost: Gatepost) -> None:
    gatepost.pool["minimum_workers"] = 2
    frontend = gatepost.frontend(ready=False)
    gatepost.worker()
    assert not frontend.is_ready()
    with pytest.raises(ConnectionRefusedError):
        gatepost.connect()
    gatepost.worker()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.quit()


def test_events_wait_out_the_grace(gatepost: Gatepost) -> None:
    """A worker that comes back within `grace_ms` is all that is needed: no failure is seen."""
    gatepost.pool["grace_ms"] = 10_000
    gatepost.frontend()
    worker = gatepost.python_worker(["mail", "rcpt", "queue"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        worker.close()
        client.send(b"MAIL FROM:<bob@example.net>\r\n")
        client.silence(0.3)
        worker = gatepost.python_worker(["mail", "rcpt", "queue"], accepting())
        client.expect(250)
        client.command("RCPT TO:<alice@example.com>", 250)
        worker.close()


def test_workers_stop_and_start_in_the_middle_of_a_session(gatepost: Gatepost) -> None:
    """Each command fails on its own, 451; the session is judged anew when workers are back."""
    gatepost.pool["grace_ms"] = 100
    frontend = gatepost.frontend(ready=False)
    worker = gatepost.worker()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: before\r\n\r\n")
        assert worker.stop() == 0
        client.command("MAIL FROM:<bob@example.net>")
        reply = client.command("RCPT TO:<alice@example.com>")
        assert (reply.code, reply.status) in ((451, "4.3.0"), (503, "5.5.1")), client.describe("")
        client.command("RSET", 250)
        gatepost.worker()
        client.deliver(b"Subject: after\r\n\r\n")
        client.quit()
    subjects = [message.header("Subject") for message in gatepost.maildir.messages()]
    assert subjects == [[b"before"], [b"after"]]


@pytest.mark.parametrize(
    ("policy", "mail", "rcpt"),
    [
        ("tempfail", (451, "4.3.0"), (451, "4.3.0")),
        ("reject", (554, "5.3.0"), (554, "5.3.0")),
        ("skip", (250, "2.1.0"), (450, "4.7.1")),
    ],
)
def test_the_failure_policy_is_the_operators(
    gatepost: Gatepost, policy: str, mail: tuple[int, str], rcpt: tuple[int, str]
) -> None:
    """`skip` at rcpt gives 450, because no plugin decided: no failure makes an open relay."""
    gatepost.pool.update(grace_ms=100, on_failure=policy)
    frontend = gatepost.frontend()
    worker = gatepost.python_worker(["mail", "rcpt"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("RSET", 250)
        worker.close()
        reply = client.command("MAIL FROM:<bob@example.net>")
        assert (reply.code, reply.status) == mail, client.describe(str(reply))
        if reply.code != 250:
            worker = gatepost.python_worker(["mail", "rcpt"], accepting())
            wait_until(
                lambda: client.command("MAIL FROM:<bob@example.net>").code == 250,
                5,
                "MAIL granted again",
            )
            worker.close()
        reply = client.command("RCPT TO:<alice@example.com>")
        assert (reply.code, reply.status) == rcpt, client.describe(str(reply))
        reply = client.command("DATA")
        assert reply.code in (503, 554), client.describe("DATA without a recipient")
        client.quit()
    frontend.logged(policy if policy == "skip" else "mail|rcpt")


def test_one_hook_has_its_own_policy(gatepost: Gatepost) -> None:
    gatepost.pool.update(grace_ms=100, hooks={"vrfy": {"on_failure": "skip"}})
    gatepost.frontend()
    worker = gatepost.python_worker(["vrfy", "mail"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        worker.close()
        client.command("VRFY alice", 252)
        reply = client.command("MAIL FROM:<bob@example.net>")
        assert reply.code == 451, client.describe(str(reply))
        client.quit()


@pytest.mark.parametrize(("command", "code"), [("NOOP", 250), ("HELP", 214), ("QUIT", 221)])
def test_what_needs_no_policy_is_answered_anyway(gatepost: Gatepost, command: str, code: int) -> None:
    """NOOP, HELP and QUIT are answered also when the worker is gone."""
    gatepost.pool["grace_ms"] = 100
    gatepost.frontend()
    worker = gatepost.python_worker(["noop", "help", "quit"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        worker.close()
        client.command(command, code)


def test_a_deadline_is_the_time_to_the_reply(gatepost: Gatepost) -> None:
    """A worker that never answers costs `deadline_ms`, then the policy, never a hang."""
    gatepost.pool["hooks"] = {"mail": {"deadline_ms": 700, "max_deadline_ms": 700}}
    gatepost.frontend()
    worker = gatepost.python_worker(["mail"], lambda event: None)
    with gatepost.connect() as client:
        client.ehlo()
        began = time.monotonic()
        client.command("MAIL FROM:<bob@example.net>", 451)
        assert time.monotonic() - began > 0.5
        client.quit()
    event = worker.saw("mail")
    assert event["deadline_ms"] <= 700
    worker.close()


def test_a_worker_without_a_plugin_is_a_worker(gatepost: Gatepost) -> None:
    """It opens the listeners and declines everything, as `gatepost check` says it does."""
    gatepost.plugins()
    gatepost.pool["minimum_workers"] = 1
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<alice@example.com>", 450)


def test_hooks_of_a_worker_that_is_gone_until_the_operator_says_so(gatepost: Gatepost) -> None:
    """A worker of another name that serves less: its predecessor's hooks fail until SIGHUP, which is not too early."""
    gatepost.pool.update(grace_ms=100, hooks_remembered_ms=1_000, minimum_workers=1)
    frontend = gatepost.frontend(ready=False)
    old = gatepost.python_worker(["mail", "vrfy"], accepting(), worker={"name": "old", "pid": 1})
    frontend.ready()
    new = gatepost.python_worker(["vrfy"], accepting(vrfy="ok"), worker={"name": "new", "pid": 2})
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<a@example.net>", 250)
        client.command("RSET", 250)
        old.close()
        frontend.logged("hooks are asked that no worker here serves.*hooks=mail")
        # Right after a crash not even the operator's word opens the gate.
        frontend.signal(signal.SIGHUP)
        frontend.logged("hooks that no worker here serves stay asked.*hooks=mail")
        client.command("MAIL FROM:<a@example.net>", 451)
        client.command("VRFY a", 250)
        shown = workers(gatepost).stdout
        assert "no worker for mail" in shown, shown

        def is_forgotten() -> bool:
            frontend.signal(signal.SIGHUP)
            return client.command("MAIL FROM:<a@example.net>").code == 250

        wait_until(is_forgotten, 10, "asked no more", 0.2)
        assert "no worker for" not in workers(gatepost).stdout
    frontend.logged("hooks are asked no more: no worker serves them.*hooks=mail")
    new.close()


def test_hooks_that_are_declared_are_asked_whoever_is_there(gatepost: Gatepost) -> None:
    gatepost.pool.update(grace_ms=100, always_asked=["mail"])
    gatepost.frontend()
    with gatepost.python_worker(["vrfy"], accepting(vrfy="ok")), gatepost.connect() as client:
        client.ehlo()
        client.command("VRFY a", 250)
        client.command("MAIL FROM:<a@example.net>", 451)
        with gatepost.python_worker(["mail"], accepting(), worker={"name": "mail", "pid": 2}):
            client.command("MAIL FROM:<a@example.net>", 250)
