"""Every transcript of a worker that is not `strict`, over a real socket (protocol/golden/README.md)."""

from __future__ import annotations

import json
import pathlib
import shlex
from concurrent.futures import ThreadPoolExecutor

import pytest
from frontend import GOLDEN, Frontend, Worker, matches, octets_of

def transcripts() -> dict[str, list[dict]]:
    found = {}
    for path in sorted(GOLDEN.glob("*.ndjson")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if lines[0]["side"] != "frontend" and lines[0].get("level") != "strict":
            found[path.stem] = lines
    return found


ALL = transcripts()


def script_of(first: dict) -> str:
    """The plugin's file that does what a transcript's first line says."""
    handlers, hooks, more = "", "", {"concurrency": 4, **first.get("hello", {})}
    for hook, script in first["plugins"].items():
        lines = []
        if "raise" in script:
            lines.append("return 1")
        if "progress" in script:
            lines.append(f"progress {script['progress']}")
        if script.get("until") == "cancel":
            lines.append("while :; do sleep 1; done")
        if "verdict" in script:
            reply = script.get("reply", {})
            words = [script["verdict"], str(reply.get("code", "")), reply.get("status", ""), *reply.get("text", [])]
            lines.append("verdict " + " ".join(shlex.quote(word) for word in words))
        for action in script.get("actions", []):
            lines.append("action " + shlex.quote(json.dumps(action)))
        if "notes" in script:
            lines.append("notes " + shlex.quote(json.dumps(script["notes"])))
        members = {name: script[name] for name in ("needs", "observe", "idempotent") if name in script}
        if "extensions" in script:
            more["extensions"] = script["extensions"]
        handlers += f"on_{hook}() {{\n" + "\n".join(lines or [":"]) + "\n}\n"
        hooks += f"hook {hook} .hook {shlex.quote(json.dumps(members))}\n"
    return f'. "$GATEPOST_SHELL/gatepost.sh"\n{handlers}{hooks}serve demo {shlex.quote(json.dumps(more))}\n'


def replay(frontend: Frontend, worker: Worker, lines: list[dict], splitting: str) -> None:
    connection = frontend.accept(welcome=False)
    cancelled = {step["line"]["id"] for step in lines[1:] if step.get("line", {}).get("type") == "cancel"}
    wanted: list[dict] = []
    pending = b""
    stopping = False

    def barrier() -> None:
        nonlocal pending, wanted
        if pending:
            connection.send(pending)
            pending = b""
        expected: dict[int | None, list[dict]] = {}
        for line in wanted:
            expected.setdefault(line.get("id"), []).append(line)
        for _ in wanted:
            got = connection.line()
            assert got is not None, f"closed; wanted {wanted}"
            queue = expected.get(got.get("id"))
            assert queue, f"not expected: {got}; wanted {wanted}"
            line = queue.pop(0)
            assert matches(line, got, cancelled), f"wanted {line}, got {got}"
        wanted = []

    try:
        for step in lines[1:]:
            if step.get("from") == "worker":
                wanted.append(step["line"])
                if step["line"]["type"] == "hello" or stopping:  # a signal takes its time
                    barrier()
                    stopping = False
            elif "from" in step:
                octets = octets_of(step)
                if splitting == "whole":
                    pending += octets
                else:
                    size = 1 if splitting == "octets" and len(octets) < 20_000 else 997 if splitting == "octets" else len(octets)
                    for start in range(0, len(octets), size):
                        connection.send(octets[start : start + size])
            else:
                barrier()
                stopping = step.get("stop") == "worker"
                if stopping:
                    worker.terminate()
                if step.get("close") == "worker":
                    assert connection.line() is None
        barrier()
        # An answer too much would come before this one.
        if not any("close" in step or "stop" in step for step in lines[1:]) and lines[-1].get("line", {}).get("type") not in ("bye", "reject"):
            connection.say(type="ping", n=4_711)
            assert connection.line() == {"type": "pong", "n": 4_711}
    finally:
        connection.close()


GROUPS: dict[str, list[str]] = {}
for name in ALL:
    GROUPS.setdefault(script_of(ALL[name][0]), []).append(name)
RUNS = [("dash", "lines"), ("dash", "octets"), ("dash", "whole"), ("bash", "lines")]


def play(script: str, shell: str, splitting: str, folder: pathlib.Path) -> None:
    """The transcripts with one first line, by one worker that dials again after each; it is started anew after a `stop`."""
    folder.mkdir()
    policy = folder / "policy.sh"
    policy.write_text(script)
    frontend = Frontend(folder)
    worker = Worker(shell, policy, folder)
    try:
        for name in GROUPS[script]:
            try:
                replay(frontend, worker, ALL[name], splitting)
            except (AssertionError, OSError) as error:
                raise AssertionError(f"{name}, {shell}, {splitting}: {error}\n{worker.log.read_text()}") from error
            if any("stop" in step for step in ALL[name]):
                assert worker.exit_code() == 0, f"{name}, {shell}: {worker.log.read_text()}"
                worker = Worker(shell, policy, folder)
    finally:
        worker.end()
        frontend.stop()


@pytest.mark.parametrize(("shell", "splitting"), RUNS)
def test_transcripts(shell: str, splitting: str, tmp_path: pathlib.Path) -> None:
    """Most of the time is waiting, so several workers run at once."""
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(play, script, shell, splitting, tmp_path / str(number)) for number, script in enumerate(GROUPS)]
    failed = [str(run.exception()) for run in runs if run.exception()]
    assert not failed, "\n\n".join(failed)


def test_there_are_transcripts() -> None:
    assert len(ALL) > 60
