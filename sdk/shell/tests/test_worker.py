"""The worker's life, the plugin of every language, and what a handler can do wrong."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess

import pytest
from frontend import GOLDEN, SDK, WELCOME, Frontend, Worker, until

SHELLS = ["dash", "bash"]
EVENT = next(
    step["line"]
    for step in map(json.loads, (GOLDEN / "hook-rcpt.ndjson").read_text(encoding="utf-8").splitlines())
    if step.get("line", {}).get("type") == "event"
)


def rcpt(number: int, address: str, **more: object) -> dict:
    return {**EVENT, "id": number, "args": {"recipient": {"id": 3, "address": address, "local": "x", "domain": "y", "params": []}}, **more}


@pytest.fixture(params=SHELLS)
def start(request: pytest.FixtureRequest, tmp_path: pathlib.Path):
    """Starts a frontend and the worker of a script."""
    started = []

    def begin(script: str | pathlib.Path, **environment: str) -> tuple[Frontend, Worker]:
        if isinstance(script, str):
            path = tmp_path / "plugin.sh"
            path.write_text('. "$GATEPOST_SHELL/gatepost.sh"\n' + script)
            script = path
        frontend = Frontend(tmp_path)
        worker = Worker(request.param, script, tmp_path, **environment)
        started.append((frontend, worker))
        return frontend, worker

    yield begin
    for frontend, worker in started:
        worker.end()
        frontend.listener.close()


def test_the_plugin_of_every_language(start, tmp_path: pathlib.Path) -> None:
    frontend, worker = start(SDK / "examples/policy.sh", GATEPOST_GREYLIST_SECONDS="0")
    connection = frontend.accept()
    answers = []
    for number, address in enumerate(["EVE@example.com", "old@example.com", "it's \"$(odd)\n`@example.com", "it's \"$(odd)\n`@example.com", {"b64": "/w=="}], 1):
        connection.say(**rcpt(number, address))
        answers.append(connection.line())
    assert answers[0]["reply"] == {"code": 550, "status": "5.1.6", "text": ["eve has left"]}
    assert answers[1]["actions"] == [{"op": "recipient.replace", "id": 3, "address": "new@example.com"}]
    assert (answers[2]["verdict"], answers[2]["reply"]["code"]) == ("denysoft", 450)
    assert answers[3] == {"type": "verdict", "id": 4, "verdict": "declined"}
    assert answers[4]["verdict"] == "denysoft"
    for number, (body, verdict) in enumerate([(b"a forbidden phrase here", "deny"), (b"\0\xff", "declined")], 10):
        file = tmp_path / "a message"
        file.write_bytes(b"Subject: forbidden phrase\r\n\r\n" + body)
        transaction = {**EVENT["transaction"], "headers": [], "message": {"path": str(file), "size": 1, "body_offset": 27}}
        connection.say(**{**EVENT, "id": number, "hook": "data_post", "args": {}, "transaction": transaction})
        answer = connection.line()
        assert answer["verdict"] == verdict
    assert answer["actions"] == [{"op": "header.add", "name": "X-Policy", "value": " shell"}]
    transaction["message"]["path"] = "/nowhere"
    connection.say(**{**EVENT, "id": 20, "hook": "data_post", "args": {}, "transaction": transaction})
    assert connection.line()["code"] == "exception"
    connection.say(**{**EVENT, "id": 21, "hook": "data_post", "args": {}, "elided": ["headers"]})
    assert connection.line() == {"type": "error", "id": 21, "code": "incomplete_event", "started": False}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 3", "exception"),
        ("exit 0", "exception"),
        ("set -u; echo $nothing_at_all", "exception"),
        ("/nowhere/program", "exception"),
        ("action '{'", "invalid_verdict"),
        ("deny 550 5.7.1 \"$(head -c 5000 /dev/zero | tr '\\0' x)\"", "invalid_verdict"),
    ],
)
def test_a_handler_that_fails_is_an_error(start, body: str, code: str) -> None:
    frontend, _ = start(f"on_rcpt() {{ {body}; }}\nhook rcpt\nserve demo\n")
    connection = frontend.accept()
    for number in (1, 2):
        connection.say(**rcpt(number, "a@b"))
        assert connection.line() == {"type": "error", "id": number, "code": code, "started": True}


def test_a_ping_is_answered_while_a_handler_works_and_output_is_no_answer(start) -> None:
    frontend, _ = start("on_rcpt() { echo noise; cat; sleep 0.5; ok 250 2.1.5 'a \"b\"' 'c'; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept()
    connection.say(**rcpt(1, "a@b"))
    connection.say(type="ping", n=7)
    assert connection.line() == {"type": "pong", "n": 7}
    assert connection.line() == {"type": "verdict", "id": 1, "verdict": "ok", "reply": {"code": 250, "status": "2.1.5", "text": ['a "b"', "c"]}}


def test_it_dials_every_frontend_and_again_after_a_restart(start, tmp_path: pathlib.Path) -> None:
    frontend, _ = start("on_rcpt() { :; }\nhook rcpt\nserve demo\n")
    second = Frontend(tmp_path, "mx2")
    first = frontend.accept()
    other = second.accept()
    first.close()
    frontend.stop()
    frontend.listen()
    again = frontend.accept()
    for connection in (again, other):
        connection.say(**rcpt(1, "a@b"))
        assert connection.line()["verdict"] == "declined"
    second.stop()


def test_it_drains_with_work_in_hand(start) -> None:
    frontend, worker = start("on_rcpt() { sleep 0.5; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept()
    connection.say(**rcpt(1, "a@b"))
    connection.say(type="ping", n=1)
    assert connection.line()["type"] == "pong"
    worker.terminate()
    said = [connection.line() for _ in range(2)]
    assert {"type": "drain", "reason": "stopping"} in said
    connection.say(type="drain", reason="requested")
    said += [connection.line()]
    assert {"type": "verdict", "id": 1, "verdict": "declined"} in said and said[-1] == {"type": "bye", "code": "drained"}
    assert connection.line() is None
    assert worker.exit_code() == 0


def test_sigterm_before_the_welcome_drains_after_it(start) -> None:
    frontend, worker = start("on_rcpt() { :; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept(welcome=False)
    assert connection.line()["type"] == "hello"
    worker.terminate()
    connection.say(**WELCOME)
    assert connection.line() == {"type": "drain", "reason": "stopping"}
    connection.say(type="drain", reason="requested")
    assert connection.line() == {"type": "bye", "code": "drained"}
    assert worker.exit_code() == 0


def test_no_welcome_in_five_seconds(start) -> None:
    frontend, _ = start("on_rcpt() { :; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept(welcome=False)
    assert connection.line()["type"] == "hello"
    assert connection.line() == {"type": "bye", "code": "timeout"}
    assert connection.line() is None


def test_after_sigkill_its_connections_end(start) -> None:
    frontend, worker = start("on_rcpt() { :; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept()
    worker.process.send_signal(signal.SIGKILL)
    worker.exit_code()
    connection.say(**rcpt(1, "a@b"))
    assert connection.line() is None


@pytest.mark.parametrize(
    ("script", "said"),
    [("hook rcpt", "no function on_rcpt"), ("on_rcpt() { :; }\nhook rcpt '.args['", "syntax error")],
)
def test_a_wrong_plugin_does_not_start(start, script: str, said: str) -> None:
    _, worker = start(f"{script}\nserve demo\n")
    assert worker.exit_code() != 0
    assert said in worker.log.read_text()


def test_two_events_above_its_concurrency(start) -> None:
    frontend, worker = start("on_rcpt() { sleep 0.5; }\nhook rcpt\nserve demo\n")
    connection = frontend.accept(welcome=False)
    assert connection.line()["concurrency"] == 1
    connection.say(**{**WELCOME, "concurrency": 1})
    until(lambda: "ready" in worker.log.read_text(), "no welcome")
    connection.say(**rcpt(1, "a@b"))
    connection.say(**rcpt(2, "a@b"))
    assert connection.line() == {"type": "error", "id": 2, "code": "overloaded", "started": False}
    assert connection.line()["verdict"] == "declined"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_commands_of_the_readme(shell: str, tmp_path: pathlib.Path) -> None:
    """An author's plugin and its test, as README.md has them, in a folder of their own."""
    readme = (SDK / "README.md").read_text(encoding="utf-8")
    blocks = [block.split("\n", 1)[1] for block in readme.split("```sh")[1:] for block in [block.split("```")[0]]]
    assert blocks[0] == (SDK / "examples/worker.sh").read_text(encoding="utf-8")
    (tmp_path / "worker.sh").write_text(blocks[0])
    test = next(block for block in blocks if "testing.sh" in block)
    (tmp_path / "worker-test.sh").write_text(test)
    for name in ("gatepost.sh", "testing.sh"):
        (tmp_path / name).write_text((SDK / name).read_text())

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "GATEPOST_SHELL": str(tmp_path)}
        command = [shell, "worker-test.sh"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "worker.sh").write_text(blocks[0].replace("eve@example.com", "adam@example.com"))
    assert run().returncode != 0
