"""Clients that close, or end their input, before they have their reply (RFC 5321 §4.1.1.4, §6.1)."""

from __future__ import annotations

import signal

import pytest

from harness.gatepost import Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until
from harness.wire import accepting

CONTENT = b"From: cam@example.net\r\nSubject: motion\r\n\r\nx\r\n.\r\n"
#: Hooks of a complete message, in their order.
HOOKS = ["data_post", "queue"]


def leave(client: Dialogue, how: str) -> None:
    {"half": Dialogue.end_input, "close": Dialogue.close, "reset": Dialogue.reset}[how](client)


@pytest.mark.parametrize("how", ["half", "close", "reset"])
@pytest.mark.parametrize("at", [0, 1], ids=HOOKS)
def test_a_message_is_the_servers_after_the_final_dot(
    gatepost: Gatepost, how: str, at: int
) -> None:
    """It is asked about to the end, and logged as it ended; `disconnect` comes once, after that."""
    frontend = gatepost.frontend()
    gatepost.python_worker(["rcpt"], accepting())
    with gatepost.raw_worker() as worker, gatepost.connect() as client:
        worker.hello([*HOOKS, "disconnect"])
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(CONTENT)
        for hook in HOOKS[:at]:
            worker.answer(worker.event(hook), "declined")
        event = worker.event(HOOKS[at])
        descriptors = len(frontend.descriptors())
        leave(client, how)
        if how == "reset":
            # The channel is gone before the answer comes.
            wait_until(lambda: len(frontend.descriptors()) < descriptors, 5, "the reset was seen")
        for hook in HOOKS[at:]:
            event = event if event["hook"] == hook else worker.event(hook)
            worker.answer(event, "ok" if hook == "queue" else "declined")
        if how == "half":
            assert client.reply().code == 250
            client.closed()
        assert worker.expect("notify")["hook"] == "disconnect"
        assert not worker.has_more(0.2)
    frontend.logged("result=accepted")
    gatepost.spool_is_empty()


@pytest.mark.parametrize("how", ["half", "close"])
def test_what_was_sent_before_the_end_is_answered(gatepost: Gatepost, how: str) -> None:
    """Pipelined commands and a message, and the end of input behind them, in one write."""
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(CONTENT + b"MAIL FROM:<cam@example.net>\r\nRCPT TO:<alice@example.com>\r\n")
        leave(client, how)
        if how == "half":
            assert [client.reply().code for _ in range(3)] == [250, 250, 250]
            client.closed()
    wait_until(lambda: len(gatepost.maildir) == 1, 10, "the message is delivered")


def test_a_message_without_its_final_dot_is_not_the_servers(gatepost: Gatepost) -> None:
    frontend, _ = gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(CONTENT[:-3])
    frontend.logged("end=client_gone")
    assert len(gatepost.maildir) == 0
    gatepost.spool_is_empty()


def test_shutting_down_ends_a_message_whose_client_is_gone(gatepost: Gatepost) -> None:
    gatepost.frontend_toml["shutdown_ms"] = 500
    frontend = gatepost.frontend()
    gatepost.python_worker(["rcpt"], accepting())
    with gatepost.raw_worker() as worker, gatepost.connect() as client:
        worker.hello(["queue"])
        client.ehlo()
        client.envelope()
        client.command("DATA", 354)
        client.send(CONTENT)
        worker.event("queue")
        client.reset()
        frontend.signal(signal.SIGTERM)
        assert worker.expect("cancel")["reason"] == "client_gone"
        assert frontend.exit_code() == 0
