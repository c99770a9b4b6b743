"""Logs: one line a session, one a transaction, that name who decided what (parity §4.2 f)."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable

import pytest

from harness.gatepost import Gatepost
from harness.wire import Message, accepting

REFUSED = {"text": ["not today"]}


@pytest.fixture
def refusing(gatepost: Gatepost) -> Callable[[str], Gatepost]:
    """A frontend whose worker refuses at one hook."""

    def start(hook: str) -> Gatepost:
        frontend = gatepost.frontend()
        asked = ["connect", "ehlo", "mail", "rcpt", "data_post", "queue"]
        answer = {"verdict": "deny", "plugin": "the_plugin", "reply": REFUSED}
        worker = gatepost.python_worker(
            asked, accepting(**{hook: answer}), worker={"name": "the-worker", "pid": 1}
        )
        gatepost.logs_of = frontend  # type: ignore[attr-defined]
        gatepost.worker_to_close = worker  # type: ignore[attr-defined]
        return gatepost

    return start


@pytest.mark.parametrize("hook", ["connect", "ehlo", "mail", "rcpt", "data_post", "queue"])
def test_a_refusal_names_its_author(refusing: Callable[[str], Gatepost], hook: str) -> None:
    server = refusing(hook)
    with server.connect() as client:
        for line in ("", "EHLO client.example", "MAIL FROM:<bob@example.net>"):
            reply = client.command(line) if line else client.reply()
            if not reply.is_positive:
                break
        else:
            reply = client.command("RCPT TO:<alice@example.com>")
            if reply.is_positive:
                reply = client.data(b"Subject: x\r\n\r\ny\r\n")
        assert "not today" in reply.text, client.describe(str(reply))
    line = server.programs[0].logged("the_plugin")
    for word in ("the-worker", "policy", hook, str(reply.code), "not today"):
        assert word in line, f"{word} is missing: {line}"
    server.worker_to_close.close()  # type: ignore[attr-defined]


def test_one_line_a_session_and_one_a_transaction(serving: Gatepost) -> None:
    frontend = serving.programs[0]
    at = frontend.log_position()
    with serving.connect() as client:
        client.ehlo("summary.example")
        client.deliver(b"Subject: 1\r\n\r\n", "one@example.net")
        client.deliver(b"Subject: 2\r\n\r\n", "two@example.net")
        client.quit()
    frontend.logged("summary.example", after=at)
    lines = frontend.log()[at:].splitlines()
    assert len([line for line in lines if "one@example.net" in line]) == 1, lines
    assert len([line for line in lines if "two@example.net" in line]) == 1, lines
    (transaction,) = [line for line in lines if "one@example.net" in line]
    assert "queue/maildir" in transaction and "250" in transaction, transaction
    assert len(lines) <= 3, "\n".join(lines)


def test_client_octets_are_escaped(serving: Gatepost) -> None:
    """Nothing that a client sends makes a line of its own or moves a cursor."""
    frontend = serving.programs[0]
    at = frontend.log_position()
    with serving.connect() as client:
        client.expect(220)
        client.send(b"EHLO \x1b[2J\x07evil\r\n")
        client.reply()
        client.send(b"\x1b]0;title\x07 forged\x0bline\xc2\x85more\xe2\x80\xa8\r\n")
        client.reply()
        client.send(b"MAIL FROM:<\x1b[31m@example.net>\r\n")
        client.reply()
        client.command("QUIT", 221)
    frontend.logged(r"127\.0\.0\.1", after=at)
    log = frontend.log_path.read_bytes()
    for octets in (b"\x1b", b"\x07", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\r"):
        assert octets not in log


@pytest.mark.parametrize("program", ["frontend", "worker"])
def test_json_logs(gatepost: Gatepost, program: str) -> None:
    """`--log-format json`: each line an object with a message and the facts beside it."""
    gatepost.write_frontend_toml()
    frontend = gatepost.start("gatepost-frontend", "--config", gatepost.config, "--log-format", "json")
    worker = gatepost.start("gatepost-worker", "--config", gatepost.config, "--log-format", "json")
    frontend.ready()
    worker.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
        client.quit()
    assert frontend.stop() == 0 and worker.stop() == 0
    log = {"frontend": frontend, "worker": worker}[program].log()
    lines: list[Message] = [json.loads(line) for line in log.splitlines()]
    assert lines and all(isinstance(line, dict) for line in lines)
    keys = set.intersection(*(set(line) for line in lines))
    assert {"level", "message"} <= keys, keys


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_client_and_a_worker_say_ends_no_quote(gatepost: Gatepost, log_format: str) -> None:
    """A quotation mark with a combining mark is one; so is one that a worker's plugin name has."""
    frontend = gatepost.frontend("--log-format", log_format, ready=False)
    plugin = 'p\x1b[31m"\u0301 result=accepted'
    answer = {"verdict": "deny", "plugin": plugin, "reply": REFUSED}
    worker = gatepost.python_worker(["rcpt"], accepting(rcpt=answer))
    frontend.ready()
    with gatepost.connect() as client:
        client.expect(220)
        client.send('EHLO x"\u0301=\u009b31m\u202ex\r\n'.encode())
        client.reply()
        client.send('MAIL FROM:<"a\\"\u0301 result=accepted"@b.test> SMTPUTF8\r\n'.encode())
        client.reply()
        client.command("RCPT TO:<bob@example.com>", 550)
        client.command("QUIT", 221)
    frontend.logged("session.*quit")
    worker.close()
    log = frontend.log()
    assert not any(character in log for character in "\x1b\u0301\u009b\u202e"), log
    if log_format == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert plugin in [line.get("plugin") for line in lines], log
    else:
        assert r'plugin="p\u{1b}[31m\"\u{301} result=accepted"' in log, log


def test_a_log_that_nobody_reads_stops_no_session(gatepost: Gatepost) -> None:
    """Standard error is a pipe of one page that stays full."""
    path = gatepost.folder / "gatepost-frontend-0.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    frontend = gatepost.frontend(ready=False)
    frontend.log_path = gatepost.folder / "nobody reads"
    frontend.log_path.touch()
    worker = gatepost.python_worker(["rcpt"], accepting())
    frontend.ready()
    for _ in range(40):
        with gatepost.connect() as client:
            client.ehlo("a.host.with.a.long.name.so.that.its.line.is.long.example")
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.command("RSET", 250)
            client.command("QUIT", 221)
    worker.close()
    assert frontend.stop() == 0
    octets = b""
    while chunk := os.read(reader, 65_536):
        octets += chunk
    os.close(reader)
    assert octets.endswith(b"\n") and 1_000 < len(octets) <= 4_096, len(octets)


def test_log_level(gatepost: Gatepost) -> None:
    gatepost.frontend("--log-level", "error")
    worker = gatepost.python_worker(["rcpt", "queue"], accepting())
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: x\r\n\r\n")
    worker.close()
    assert gatepost.programs[0].log() == ""
