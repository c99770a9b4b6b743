"""FUTURERELEASE (RFC 4865): offered while every worker at queue holds messages, and passed on or refused."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.smtp import Dialogue
from harness.waiting import wait_until
from harness.wire import accepting
from test_logins import write_users

MESSAGE = b"Subject: x\r\n\r\nx\r\n"
KEPT = {"extensions": ["FUTURERELEASE"]}
HOOKS = ["auth", "rcpt", "queue"]
MAIL = "MAIL FROM:<bob@example.net>"
RCPT = "RCPT TO:<alice@example.com>"


def logged_in(client: Dialogue) -> str | None:
    """Greets and logs in as anybody; returns what EHLO said of FUTURERELEASE."""
    lines = client.ehlo().lines
    client.command("AUTH PLAIN AGJvYgBzZWNyZXQ=", 235)
    return next((line for line in lines if line.startswith("FUTURERELEASE")), None)


@pytest.fixture
def submission(gatepost: Gatepost) -> Gatepost:
    """A listener with logins that may offer FUTURERELEASE, and its pool's workers may see passwords."""
    gatepost.offer_auth()
    gatepost.listener.update(require_auth=True, extensions=["PIPELINING", "FUTURERELEASE"])
    gatepost.pool["secrets"] = True
    return gatepost


def test_it_is_offered_while_all_that_queue_hold_messages(submission: Gatepost) -> None:
    frontend = submission.frontend(ready=False)
    with submission.python_worker(HOOKS, accepting(auth="ok"), **KEPT) as worker:
        frontend.ready()
        with submission.connect() as client:
            offer = logged_in(client)
            assert offer is not None
            _, seconds, latest = offer.split(" ")
            assert int(seconds) == 2_592_000
            date = datetime.strptime(latest, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            assert abs(date.timestamp() - time.time() - 2_592_000) < 3_600
            client.command(f"{MAIL} HOLDFOR=0", 501)
            client.command(f"{MAIL} HOLDFOR=2592001", 501)
            client.command(f"{MAIL} HOLDUNTIL=2001-01-01T00:00:00Z", 501)
            client.command(f"{MAIL} HOLDFOR=5 HOLDUNTIL={latest}", 501)
            before = time.time()
            client.command(f"{MAIL} HOLDFOR=86400", 250)
            after = time.time()
            client.command(RCPT, 250)
            assert client.data(MESSAGE).code == 250
            client.command(f"{MAIL} HOLDUNTIL={latest}", 250)
            client.command(RCPT, 250)
            assert client.data(MESSAGE).code == 250
            client.command(MAIL, 250)
            client.command(RCPT, 250)
            assert client.data(MESSAGE).code == 250
        first, second, third = (
            event["transaction"] for event in worker.events if event["hook"] == "queue"
        )
        assert first["sender"]["params"] == [["HOLDFOR", "86400"]]
        assert before * 1000 - 1 <= first["hold_until_ms"] - 86_400_000 <= after * 1000 + 1
        assert second["sender"]["params"] == [["HOLDUNTIL", latest]]
        assert second["hold_until_ms"] == int(date.timestamp()) * 1000
        assert "hold_until_ms" not in third


def test_without_such_a_worker_it_is_not_offered(submission: Gatepost) -> None:
    frontend = submission.frontend(ready=False)
    with submission.python_worker(HOOKS, accepting(auth="ok")):
        frontend.ready()
        with submission.connect() as client:
            assert logged_in(client) is None
            client.command(f"{MAIL} HOLDFOR=60", 555)


def test_workers_that_come_and_go_break_no_promise(submission: Gatepost) -> None:
    """Offered at EHLO; then a worker that holds nothing comes, and leaves again."""
    submission.pool["on_failure"] = "tempfail"
    frontend = submission.frontend(ready=False)
    with submission.python_worker(HOOKS, accepting(auth="ok"), **KEPT) as worker:
        frontend.ready()
        with submission.connect() as client:
            assert logged_in(client) is not None
            client.command(f"{MAIL} HOLDFOR=60", 250)
            client.command(RCPT, 250)
            with submission.python_worker(["queue"], accepting(auth="ok"), worker={"name": "other"}) as other:
                # The message that was begun, and the next one, with the other worker there.
                assert client.data(MESSAGE).code == 451
                client.command(f"{MAIL} HOLDFOR=60", 451)
                client.command(MAIL, 250)
                client.command("RSET", 250)
                with submission.connect() as second:
                    assert logged_in(second) is None
            assert not other.events
            assert not [event for event in worker.events if event["hook"] == "queue"]


def test_a_message_that_waits_goes_to_no_worker_that_came_meanwhile(submission: Gatepost) -> None:
    """The only worker is busy when the message is complete; then one comes that is free and holds nothing."""
    frontend = submission.frontend(ready=False)
    free = threading.Event()

    def busy_with_carol(event: dict[str, Any]) -> str:
        if event["hook"] == "rcpt" and event["args"]["recipient"]["local"] == "carol":
            free.wait(30)
        return "declined" if event["hook"] == "mail" else "ok"

    with submission.python_worker(HOOKS, busy_with_carol, concurrency=1, **KEPT) as worker:
        frontend.ready()
        with submission.connect() as client, submission.connect() as second:
            for each in (client, second):
                assert logged_in(each) is not None
            client.command(f"{MAIL} HOLDFOR=60", 250)
            client.command(RCPT, 250)
            client.command("DATA", 354)
            second.command(MAIL, 250)
            second.send(b"RCPT TO:<carol@example.com>\r\n")
            wait_until(lambda: len(worker.events) == 4, 10, lambda: str(worker.hooks_seen()))
            client.send(MESSAGE + b".\r\n")
            # The message is in the frontend's socket before the other worker dials.
            with submission.python_worker(["queue"], accepting(), worker={"name": "other"}) as other:
                assert client.reply().code == 451
                assert not other.events
                free.set()
                assert second.reply().code == 250
            client.command(f"{MAIL} HOLDFOR=60", 250)
        assert "queue" not in worker.hooks_seen()


@pytest.mark.parametrize("plugin", ["queue/smtp-forward", "queue/smtp-proxy"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_hold_is_passed_on_or_the_message_refused(
    submission: Gatepost, plugin: str, offered: bool
) -> None:
    hop = RecordingHop(["PIPELINING", *["FUTURERELEASE 99999 2040-01-01T00:00:00Z"] * offered])
    write_users(submission, bob="secret")
    submission.plugins("auth/auth_flat_file", f"{plugin} 127.0.0.1:{hop.port}", "rcpt_ok")
    submission.run()
    with submission.connect() as client:
        assert logged_in(client) is not None
        if offered:
            client.command(f"{MAIL} HOLDFOR=3600", 250)
            client.command(RCPT, 250)
            assert client.data(MESSAGE).code == 250
        elif plugin == "queue/smtp-proxy":
            client.command(f"{MAIL} HOLDFOR=3600", 554)
        else:
            client.command(f"{MAIL} HOLDFOR=3600", 250)
            client.command(RCPT, 250)
            reply = client.data(MESSAGE)
            assert (reply.code, reply.status) == (554, "5.3.3")
    mails = [line for line in hop.commands if line.startswith(b"MAIL")]
    assert mails == [MAIL.encode() + b" HOLDFOR=3600"] * offered
    assert len(hop.messages) == offered
    hop.close()


def test_a_worker_that_also_stores_at_once_does_not_say_it(submission: Gatepost) -> None:
    """All plugins of a worker at queue have to hold messages, for any of them may take one."""
    hop = RecordingHop(["FUTURERELEASE 99999 2040-01-01T00:00:00Z"])
    write_users(submission, bob="secret")
    forward = f"queue/smtp-forward 127.0.0.1:{hop.port}"
    submission.plugins("auth/auth_flat_file", "rcpt_ok", forward, "queue/maildir {mail}")
    submission.run()
    with submission.connect() as client:
        assert logged_in(client) is None
        client.command(f"{MAIL} HOLDFOR=60", 555)
    hop.close()
