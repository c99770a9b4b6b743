"""The Python SDK replays every transcript of a worker: whole, one octet at a time, one line at a time."""

import asyncio
import sys

import pytest

from contract import ROOT, TRANSCRIPTS, check_message, raw_octets, transcript

sys.path.insert(0, str(ROOT / "sdk" / "python"))

from gatepost import Verdict, Worker  # noqa: E402
from gatepost.wire import parse_line  # noqa: E402
from gatepost.worker import Link  # noqa: E402

PATIENCE = 10  # seconds; only a test that fails waits for so long


class Pipe(asyncio.Transport):
    """A transport that keeps what is written, and tells who waits."""

    def __init__(self, link):
        super().__init__()
        self.link = link
        self.written = b""
        self.closed = False
        self.news = asyncio.Event()

    def write(self, data):
        assert not self.closed, "written after close"
        self.written += bytes(data)
        self.news.set()

    def is_closing(self):
        return self.closed

    def close(self):
        if not self.closed:
            self.closed = True
            self.news.set()
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)

    def lines(self):
        return [parse_line(line) for line in self.written.split(b"\n")[:-1]]


def handler(script, kind):
    """The handler that a transcript's script describes, plain (in a thread), inline, or async."""

    def answer():
        if "raise" in script:
            raise RuntimeError(script["raise"])
        if "verdict" not in script:
            return None
        reply = script.get("reply", {})
        text, code, status = tuple(reply.get("text", ())), reply.get("code"), reply.get("status")
        return Verdict(script["verdict"], text, code, status, script.get("notes", {}), script.get("actions", ()))

    def plain(event):
        if "progress" in script:
            event.progress(script["progress"])
        if script.get("until") == "cancel":
            assert event.wait_cancelled(PATIENCE)
        return answer()

    async def coroutine(event):
        if "progress" in script:
            event.progress(script["progress"])
        if script.get("until") == "cancel":
            await asyncio.Event().wait()
        return answer()

    return coroutine if kind == "async" else plain


def make(header, kind):
    options = {"name": "demo", "concurrency": 4, "max_frame": 65_536, **header.get("hello", {})}
    about = options.pop("worker", {})
    worker = Worker(
        about.get("name", "demo"),
        options.get("pool", "policy"),
        concurrency=options["concurrency"],
        max_frame=options["max_frame"],
        version=about.get("version"),
        instance=about.get("instance"),
    )
    for hook, script in header["plugins"].items():
        said = {key: script[key] for key in ("needs", "observe", "idempotent", "extensions") if key in script}
        inline = kind == "inline" and "until" not in script
        worker.hook(hook, blocking=not inline, **said)(handler(script, kind))
    return worker


OPTIONAL = {"plugin", "trace", "message"}


def sets(hooks):
    """What hello says about its hooks; needs are a set."""
    return {hook: {**said, "needs": sorted(said.get("needs", []))} for hook, said in hooks.items()}


def matches(shown, said, cancelled):
    """Compares as protocol/golden/README.md says."""
    if said.get("id") in cancelled and said["type"] in ("verdict", "error"):
        return shown.get("id") == said["id"] and shown["type"] in ("verdict", "error")
    for key, value in shown.items():
        if key == "message":
            continue
        if shown["type"] == "hello" and key in ("worker", "plugins"):
            if key == "worker" and shown["worker"]["name"] != said["worker"]["name"]:
                return False
            continue
        if shown["type"] == "hello" and key == "hooks":
            value, said = sets(value), {**said, "hooks": sets(said["hooks"])}
        if key not in said or said[key] != value or type(said[key]) is not type(value):
            return False
    if shown["type"] == "hello":
        return True
    return all(key in shown or key in OPTIONAL or value in ([], {}) for key, value in said.items())


def compare(expected, said, cancelled):
    groups = {}
    for line in said:
        groups.setdefault(line.get("id"), []).append(line)
    wanted = {}
    for line in expected:
        wanted.setdefault(line.get("id"), []).append(line)
    assert set(groups) == set(wanted), f"expected ids {list(wanted)}, got {said}"
    for id, lines in wanted.items():
        assert len(lines) == len(groups[id]), f"expected {lines}, got {groups[id]}"
        for shown, line in zip(lines, groups[id]):
            assert matches(shown, line, cancelled), f"expected {shown}, got {line}"
    for line in said:
        check_message(line)


def pieces(octets, splitting):
    if splitting == "whole":
        return [b"".join(octets)]
    if splitting == "line":
        return octets
    return [bytes([octet]) for octet in b"".join(octets)]


async def replay(path, splitting, kind):
    header, steps = transcript(path)
    worker = make(header, kind)
    worker._begin()
    link = Link(worker)
    pipe = Pipe(link)
    link.connection_made(pipe)
    expected, cancelled, waiting = [], set(), []

    async def barrier():
        for piece in pieces(waiting, splitting):
            if not pipe.closed:
                link.data_received(piece)
        waiting.clear()
        while len(pipe.lines()) < len(expected):
            pipe.news.clear()
            await asyncio.wait_for(pipe.news.wait(), PATIENCE)

    try:
        for step in steps:
            if step.get("from") == "worker":
                expected.append(step["line"])
                if step["line"]["type"] == "hello":
                    await barrier()
            elif step.get("from") == "frontend":
                waiting.append(raw_octets(step))
                if step.get("line", {}).get("type") == "cancel":
                    cancelled.add(step["line"]["id"])
            elif step == {"stop": "worker"}:
                await barrier()
                link.drain()
            elif step == {"close": "worker"}:
                await barrier()
                await asyncio.wait_for(asyncio.wait([link.ended]), PATIENCE)
                assert pipe.closed
            elif step == {"close": "frontend"}:
                await barrier()
                link.connection_lost(None)
        await barrier()
        if not link.ended.done():  # nothing more is on its way: a pong is the last line
            link.data_received(b'{"type":"ping","n":424242}\n')
            expected.append({"type": "pong", "n": 424242})
            await barrier()
        assert link.core.outstanding == 0
        compare(expected, pipe.lines(), cancelled)
    except asyncio.TimeoutError:
        pytest.fail(f"waited in vain: expected {expected}, got {pipe.lines()}")
    finally:
        worker._end()


CASES = [path for path in TRANSCRIPTS if transcript(path)[0]["side"] in ("both", "worker")]


@pytest.mark.parametrize("kind", ["plain", "inline", "async"])
@pytest.mark.parametrize("splitting", ["whole", "octet", "line"])
@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_replay(path, splitting, kind):
    asyncio.run(replay(path, splitting, kind))


def test_there_is_something_to_replay():
    assert len(CASES) > 70
