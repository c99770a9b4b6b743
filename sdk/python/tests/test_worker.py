"""The worker against real sockets and small frontends of this file. Nothing here sleeps to wait for something."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SDK))

from gatepost import Event, Verdict, Worker, declined, deny, denysoft, done, ok  # noqa: E402

PATIENCE = 20  # seconds; only a test that fails waits for so long
SESSION = {
    "id": "S1", "listener": "mx", "started_ms": 1, "client": {"ip": "192.0.2.1", "port": 1, "name": None},
    "server": {"ip": "192.0.2.2", "port": 25}, "proxy": None, "hello": {"verb": "EHLO", "name": "x"}, "tls": None,
    "auth": None, "relay": False, "early_talker": False,
    "counters": {"commands": 1, "errors": 0, "unrecognized": 0, "transactions": 1, "rcpt_ok": 0, "rcpt_denied": 0},
}  # fmt: skip


def event(id, hook="rcpt", address="jo@example.org", **fields):
    local, domain = address.split("@")
    return {
        "type": "event", "id": id, "key": f"S1.1.{id}", "hook": hook, "attempt": 1, "deadline_ms": 20000, "session": SESSION,
        "transaction": {"id": "S1.1", "sender": {"address": "", "local": "", "domain": None, "params": []}, "recipient_count": 0},
        "args": {"recipient": {"id": 1, "address": address, "local": local, "domain": domain, "params": []}},
        "notes": {"session": {}, "transaction": {}}, **fields,
    }  # fmt: skip


def notify(hook, args):
    message = {key: value for key, value in event(1, hook).items() if key not in ("id", "key", "attempt", "deadline_ms")}
    return {**message, "type": "notify", "args": args}


class Peer:
    """The frontend's end of one connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def next(self):
        """The next line; None at EOF."""
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        return json.loads(line) if line else None

    def send(self, *messages):
        self.writer.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def welcome(self, **fields):
        self.hello = await self.next()
        assert self.hello["type"] == "hello"
        self.send({
            "type": "welcome", "protocol": 1, "frontend": {"id": "mx1", "version": "0", "hostname": "h"}, "connection": "w1",
            "max_frame": 65536, "concurrency": self.hello["concurrency"], "spool": "/tmp",
            "limits": {"notes_octets": 65536, "actions": 256, "reply_lines": 20}, **fields,
        })  # fmt: skip
        return self

    def close(self):
        self.writer.close()


class Frontend:
    """A socket in the pool's folder; `await accept()` gives the next connection."""

    def __init__(self, path):
        self.path = path
        self.peers = asyncio.Queue()
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_unix_server(self._connected, self.path)
        return self

    def _connected(self, reader, writer):
        self.writers.append(writer)
        self.peers.put_nowait(Peer(reader, writer))

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    async def accept(self):
        return await asyncio.wait_for(self.peers.get(), PATIENCE)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="gp") as name:  # short: a socket's path is at most 107 octets
        yield name


def scenario(worker, body):
    """Runs the worker beside `body`, stops it, and awaits its end."""

    async def main():
        serving = asyncio.ensure_future(worker.serve())
        try:
            await asyncio.wait_for(body(), 2 * PATIENCE)
        finally:
            worker.stop()
            await asyncio.wait_for(serving, PATIENCE)

    asyncio.run(main())


def make(folder, **options):
    return Worker("demo", folder=folder, look_every=0.02, **options)


def test_reconnects_when_the_frontend_goes_and_comes_back(folder):
    worker = make(folder)
    worker.rcpt(lambda event: ok())

    async def body():
        path = os.path.join(folder, "mx1.sock")
        async with Frontend(path) as frontend:
            for _ in range(3):
                peer = await (await frontend.accept()).welcome()
                peer.send(event(1))
                assert (await peer.next())["verdict"] == "ok"
                peer.close()
        await asyncio.wait([worker._dialling[path]])  # the file is gone: the worker stops dialling it
        async with Frontend(path) as frontend:  # a new socket of the same name
            peer = await (await frontend.accept()).welcome()
            peer.close()

    scenario(worker, body)


def test_serves_every_socket_of_the_folder_and_finds_new_ones(folder):
    worker = make(folder)
    worker.rcpt(lambda event: ok())

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as one:
            first = await (await one.accept()).welcome()
            async with Frontend(os.path.join(folder, "mx2.sock")) as two:
                second = await (await two.accept()).welcome()
                first.send(event(1))
                second.send(event(1))
                assert (await first.next())["verdict"] == (await second.next())["verdict"] == "ok"

    scenario(worker, body)


def test_dials_again_after_a_reject(folder):
    worker = make(folder)
    worker.rcpt(lambda event: ok())

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await frontend.accept()
            await peer.next()
            peer.send({"type": "reject", "code": "pool_full", "message": "full", "retry_ms": 1})
            peer.close()
            await (await frontend.accept()).welcome()

    scenario(worker, body)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_handlers_run_at_once_up_to_the_concurrency(folder, kind):
    worker = make(folder, concurrency=4)
    everybody = threading.Barrier(4, timeout=PATIENCE)
    arrived = []

    def plain(event):
        everybody.wait()
        return ok()

    async def coroutine(event):
        arrived.append(asyncio.Event())
        if len(arrived) == 4:
            for other in arrived:
                other.set()
        await arrived[event.id - 1].wait()
        return ok()

    worker.rcpt(plain if kind == "plain" else coroutine)

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(*[event(id) for id in (1, 2, 3, 4)])
            answers = [await peer.next() for _ in range(4)]
            assert sorted(answer["id"] for answer in answers) == [1, 2, 3, 4]

    scenario(worker, body)


def test_drains_answers_what_crossed_and_leaves(folder):
    worker = make(folder)
    running, go = threading.Event(), threading.Event()

    @worker.rcpt
    def slow(event):
        running.set()
        assert go.wait(PATIENCE)
        return ok()

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1))
            await asyncio.get_running_loop().run_in_executor(None, running.wait, PATIENCE)
            worker.stop()
            assert (await peer.next())["type"] == "drain"
            peer.send(event(2), {"type": "drain"})
            go.set()
            lines = [await peer.next() for _ in range(4)]
            assert sorted(line["id"] for line in lines[:2]) == [1, 2]
            assert lines[2] == {"type": "bye", "code": "drained"} and lines[3] is None
            assert frontend.peers.empty()

    scenario(worker, body)


def test_a_frontend_that_drains_is_dialled_again(folder):
    worker = make(folder)
    worker.rcpt(lambda event: ok())

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send({"type": "drain", "reason": "shutdown"})
            assert [await peer.next() for _ in range(3)] == [
                {"type": "drain", "reason": "shutdown"}, {"type": "bye", "code": "drained"}, None,
            ]  # fmt: skip
            await (await frontend.accept()).welcome()

    scenario(worker, body)


class Odd(Exception):
    def __str__(self):
        return "odd \udcff text"


def leave(event):
    raise SystemExit(3)


def odd(event):
    raise Odd


BROKEN = {
    "raises": (odd, "exception"),
    "exits": (leave, "exception"),
    "returns a word": (lambda event: "ok", "exception"),
    "returns True": (lambda event: True, "exception"),
    "returns False": (lambda event: False, "exception"),
    "a note that is no JSON": (lambda event: ok(notes={"session": {"x": object()}}), "invalid_verdict"),
    "a note too large a number": (lambda event: ok(notes={"session": {"x": 2**60}}), "invalid_verdict"),
    "NaN": (lambda event: ok(notes={"session": {"x": float("nan")}}), "invalid_verdict"),
    "a NUL in a key": (lambda event: ok(notes={"session": {"x\0y": 1}}), "invalid_verdict"),
    "one key twice": (lambda event: ok(notes={"session": {"1": 1, 1: 2}}), "invalid_verdict"),
    "a lone surrogate": (lambda event: ok(notes={"session": {"x": "\ud800"}}), "invalid_verdict"),
    "more than the frontend takes": (lambda event: ok(notes={"session": {"x": "y" * 70000}}), "invalid_verdict"),
    "a control character": (lambda event: deny("x\x1b[31m"), "invalid_verdict"),
    "a code like 2**60": (lambda event: deny("x", code=2**60), "invalid_verdict"),
}


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("name", BROKEN)
def test_whatever_a_handler_does_there_is_one_answer_and_the_worker_lives(folder, name, blocking):
    worker = make(folder)
    function, code = BROKEN[name]
    worker.hook("rcpt", blocking=blocking)(function)

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1), event(2))
            answers = [await peer.next(), await peer.next()]
            peer.send({"type": "ping", "n": 1})
            assert await peer.next() == {"type": "pong", "n": 1}
            assert {answer["id"] for answer in answers} == {1, 2}
            for answer in answers:
                assert (answer["type"], answer["code"], answer["started"]) == ("error", code, True)

    scenario(worker, body)


def test_several_handlers_are_asked_in_order_until_one_does_not_decline(folder):
    worker = make(folder)

    @worker.rcpt(needs=["headers"])
    def first(event):
        event.session_notes["seen"] = ["first"]
        event.delay_reply(5)

    @worker.rcpt(needs=["recipients"], plugin="second/1")
    async def second(event):
        event.session_notes["seen"].append("second")
        return declined(notes={"transaction": {"x": 1}})

    @worker.hook("rcpt", blocking=False)
    def third(event):
        assert event.session_notes["seen"] == ["first", "second"] and event.transaction_notes["x"] == 1
        return ok("one\ntwo", code=250, status="2.0.0") if event.id == 2 else deny("no\r\n\r\nnever", code=550)

    @worker.rcpt
    def fourth(event):
        raise AssertionError("nobody asks the fourth")

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            assert peer.hello["hooks"] == {"rcpt": {"needs": ["recipients", "headers"]}}
            assert peer.hello["plugins"] == ["first", "second/1", "third", "fourth"]
            peer.send(event(1))
            answer = await peer.next()
            assert answer["verdict"] == "deny" and answer["plugin"] == "third"
            assert answer["reply"] == {"code": 550, "text": ["no", "never"]}
            assert answer["notes"] == {"session": {"seen": ["first", "second"]}, "transaction": {"x": 1}}
            assert answer["actions"] == [{"op": "reply.delay", "ms": 5}]
            assert [(entry["plugin"], entry["verdict"]) for entry in answer["trace"]] == [
                ("first", "declined"), ("second/1", "declined"), ("third", "deny"),
            ]  # fmt: skip
            peer.send(event(2))
            assert (await peer.next())["reply"] == {"code": 250, "status": "2.0.0", "text": ["one", "two"]}

    scenario(worker, body)


def test_cancel_ends_an_async_handler_and_tells_a_plain_one(folder):
    worker = make(folder, concurrency=3)

    @worker.rcpt
    async def coroutine(event):
        await asyncio.Event().wait()

    @worker.mail
    def plain(event):
        assert event.wait_cancelled(PATIENCE) and event.cancelled and event.cancel_reason == "client_gone"
        return ok()

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1), event(2, "mail"), {"type": "ping", "n": 1})
            assert (await peer.next())["type"] == "pong"
            peer.send(*[{"type": "cancel", "id": id, "reason": "client_gone"} for id in (1, 2)])
            answers = {answer["id"]: answer for answer in [await peer.next(), await peer.next()]}
            assert (answers[1]["type"], answers[1]["code"], answers[1]["started"]) == ("error", "cancelled", True)
            assert answers[2]["type"] == "verdict"

    scenario(worker, body)


def test_a_deadline_ends_an_async_handler_and_tells_a_plain_one(folder):
    worker = make(folder, concurrency=4)

    @worker.rcpt
    async def coroutine(event):
        if event.args["recipient"]["local"] == "more":
            event.progress(60_000)
        await asyncio.Event().wait()

    @worker.mail
    def plain(event):
        assert event.wait_cancelled(PATIENCE) and event.cancel_reason == "deadline"
        return ok()

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1, address="more@example.org", deadline_ms=100))
            assert (await peer.next())["type"] == "progress"
            peer.send(event(2, deadline_ms=100), event(3, "mail", deadline_ms=100))
            answers = {answer["id"]: answer for answer in [await peer.next(), await peer.next()]}
            # The frontend has not cancelled anything.
            assert (answers[2]["code"], answers[2]["started"], answers[2]["plugin"]) == ("deadline", True, "coroutine")
            assert answers[2]["message"] == "rcpt took longer than 100 ms"
            assert answers[3]["type"] == "verdict"
            # The one that asked for more is still at work, and ends as cancelled.
            peer.send({"type": "cancel", "id": 1, "reason": "client_gone"})
            assert (await peer.next())["code"] == "cancelled"

    scenario(worker, body)


def test_a_frontend_that_does_not_read_is_not_read_from(folder):
    worker = make(folder)
    count = 200_000

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            (link,) = worker._links
            peer.send(*[{"type": "ping", "n": n} for n in range(count)])
            # The test's reader stops at its own limit; then the worker's answers pile up there.
            while link._transport.is_reading():
                await asyncio.sleep(0)
            assert link._transport.get_write_buffer_size() < 1 << 20
            for n in range(count):
                assert await peer.next() == {"type": "pong", "n": n}
            assert link._transport.is_reading()

    scenario(worker, body)


def test_a_thread_that_never_began_is_handed_back_untouched(folder):
    worker = make(folder, concurrency=1)
    running, go = threading.Event(), threading.Event()

    @worker.rcpt
    def slow(event):
        running.set()
        assert go.wait(PATIENCE)
        return ok()

    async def body():
        sockets = [os.path.join(folder, name) for name in ("mx1.sock", "mx2.sock")]  # which share the worker's threads
        async with Frontend(sockets[0]) as one, Frontend(sockets[1]) as other:
            first = await (await one.accept()).welcome()
            second = await (await other.accept()).welcome()
            first.send(event(1))
            await asyncio.get_running_loop().run_in_executor(None, running.wait, PATIENCE)
            second.send(event(2), {"type": "cancel", "id": 2, "reason": "deadline"})
            answer = await second.next()
            assert (answer["id"], answer["code"], answer["started"]) == (2, "cancelled", False)
            go.set()
            assert (await first.next())["id"] == 1

    scenario(worker, body)


def test_an_answer_names_the_plugin_that_decided_or_failed_and_traces_each(folder):
    worker = make(folder)

    @worker.rcpt
    def first(event):
        return None if event.id == 1 else deny() if event.id == 2 else ok(actions=[{"op": "\ud800"}])

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1), event(2), event(3))
            answers = {answer["id"]: answer for answer in [await peer.next(), await peer.next(), await peer.next()]}
            assert "plugin" not in answers[1] and answers[2]["plugin"] == "first"
            for id, word in ((1, "declined"), (2, "deny")):
                (entry,) = answers[id]["trace"]
                assert (entry["plugin"], entry["verdict"], answers[id]["verdict"]) == ("first", word, word)
            assert (answers[3]["code"], answers[3]["plugin"]) == ("invalid_verdict", "first")

    scenario(worker, body)


def test_notifications_come_in_order_and_are_dropped_beyond_the_limit(folder):
    from gatepost.worker import LARGEST_BACKLOG

    worker = make(folder)
    seen, go, everything = [], threading.Event(), threading.Event()

    @worker.disconnect
    def gone(event):
        assert go.wait(PATIENCE)
        seen.append(event.args["duration_ms"])
        if len(seen) == 2:
            raise RuntimeError("one that fails ends nothing")
        if len(seen) == LARGEST_BACKLOG:
            everything.set()

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome(max_frame=1048576)
            peer.send(*[notify("disconnect", {"reason": "quit", "duration_ms": n}) for n in range(LARGEST_BACKLOG + 50)])
            peer.send({"type": "ping", "n": 1})
            assert (await peer.next())["type"] == "pong"
            go.set()
            assert await asyncio.get_running_loop().run_in_executor(None, everything.wait, PATIENCE)

    scenario(worker, body)
    assert seen[:LARGEST_BACKLOG] == list(range(LARGEST_BACKLOG))
    assert worker.dropped_notifications >= 49


def test_open_message_is_the_current_header_and_the_body_as_it_lies(folder):
    worker = make(folder)
    path = os.path.join(folder, "m1")
    Path(path).write_bytes(b"Old: header\r\n\r\nbody \xff\r\n.\r\n")
    got = []

    @worker.data_post(needs=["headers", "message"])
    def read(event):
        with event.open_message() as stream:
            got.append(stream.read(7) + stream.read())
        with event.open_message() as stream:
            got.append(b"".join(iter(lambda: stream.read(1), b"")))
        got.append(Path(event.message_path).read_bytes())
        assert event.header("x-new") == b"caf\xe9" and event.header("none") is None

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            message = event(1, "data_post")
            message["transaction"]["headers"] = [{"id": 1, "name": "X-New", "space": "\t", "value": {"b64": "IGNhZuk="}}]
            message["transaction"]["message"] = {"path": path, "size": 26, "body_offset": 13}
            peer.send(message)
            assert (await peer.next())["verdict"] == "declined"

    scenario(worker, body)
    assert got[0] == got[1] == b"X-New\t: caf\xe9\r\n\r\nbody \xff\r\n.\r\n"
    assert got[2].startswith(b"Old: header")


@pytest.mark.parametrize("elided", [["headers"], ["headers", "recipients"]])
def test_a_message_without_its_header_is_not_begun(folder, elided):
    worker = make(folder)
    begun = []

    @worker.queue(needs=["headers", "message"])
    def queue(event):
        begun.append(event.key)
        return ok()

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1, "queue", elided=elided))
            answer = await peer.next()
            assert (answer["type"], answer["code"], answer["started"]) == ("error", "incomplete_event", False)

    scenario(worker, body)
    assert not begun


def test_a_replacement_is_written_into_the_pools_folder_of_that_frontend(folder):
    worker = make(folder)
    got = []

    @worker.data_post
    def replace(event):
        paths = {event.new_message_path() for _ in range(2)}
        assert {os.path.dirname(path) for path in paths} == {event.out_folder} and len(paths) == 2
        got.append(event.out_folder)
        event.replace_message(min(paths))
        got.append(os.path.basename(min(paths)))

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome(spool="/spool/mx1")
            peer.send(event(1, "data_post"))
            got.append((await peer.next())["actions"])

    scenario(worker, body)
    assert got == [f"/spool/mx1/out/{worker.pool}", got[1], [{"op": "message.replace", "path": got[1]}]]


def test_changes_of_the_header_round_a_replaced_message_are_made_to_the_file(folder):
    worker = make(folder)
    got = []

    @worker.data_post(needs=["headers"])
    def change(event):
        event.add_header("X-Early", "1")
        event.delete_header(1)
        event.add_recipient("jo@example.org")
        event.replace_message("/spool/out/policy/old")
        event.set_header(2, " new")

    @worker.data_post
    def replace(event):
        return declined(actions=[{"op": "message.replace", "path": "new"}, {"op": "header.delete", "id": 1}])

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            message = event(1, "data_post")
            message["transaction"]["headers"] = [{"id": 1, "name": "A", "value": ""}, {"id": 2, "name": "B", "value": ""}]
            peer.send(message)
            got.extend((await peer.next())["actions"])

    scenario(worker, body)
    assert got == [
        {"op": "message.replace", "path": "new"},
        {"op": "header.add", "name": "X-Early", "value": "1", "at": "top"},
        {"op": "header.delete_all", "name": "A"},
        {"op": "recipient.add", "address": "jo@example.org"},
        {"op": "header.delete_all", "name": "B"},
        {"op": "header.add", "name": "B", "value": " new", "at": "top"},
        {"op": "header.delete_all", "name": "A"},
    ]


def test_what_was_not_sent_is_an_error_of_that_event(folder):
    worker = make(folder)
    worker.rcpt(lambda event: ok() if event.recipients else None)

    async def body():
        async with Frontend(os.path.join(folder, "mx1.sock")) as frontend:
            peer = await (await frontend.accept()).welcome()
            peer.send(event(1))
            assert (await peer.next())["type"] == "error"

    scenario(worker, body)


def test_the_worker_keeps_what_all_its_handlers_at_queue_keep(folder):
    worker = make(folder)
    assert "extensions" not in worker.hello()
    worker.queue(extensions=["MT-PRIORITY", "FUTURERELEASE"])(lambda event: None)
    assert worker.hello()["extensions"] == ["MT-PRIORITY", "FUTURERELEASE"]
    worker.queue(extensions=["FUTURERELEASE"])(lambda event: None)
    assert worker.hello()["extensions"] == ["FUTURERELEASE"]
    worker.queue(lambda event: None)
    assert "extensions" not in worker.hello()
    for hook, observe in (("rcpt", False), ("queue", True)):
        with pytest.raises(ValueError):
            make(folder).hook(hook, observe=observe, extensions=["FUTURERELEASE"])


def test_registration_refuses_what_would_never_be_asked():
    worker = Worker("demo")
    with pytest.raises(ValueError):
        worker.hook("teapot")
    with pytest.raises(ValueError):
        worker.hook("rcpt", needs=["tea"])
    worker.rcpt(observe=True)(lambda event: None)
    with pytest.raises(ValueError):
        worker.rcpt(lambda event: None)
    with pytest.raises(ValueError):
        Verdict("accept")
    with pytest.raises(ValueError):
        deny("x" * 501)
    with pytest.raises(ValueError):
        deny(*["x"] * 21)
    assert deny("x" * 500).reply == {"text": ["x" * 500]}


class CountedList(list):
    """Counts the items that are looked at."""

    looks = 0

    def __iter__(self):
        for item in super().__iter__():
            self.looks += 1
            yield item


@pytest.mark.parametrize("count", [100, 200, 400])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_each_of_many_fields_is_looked_at_once_however_many_are_changed(count, is_replaced):
    raw = event(1, "data_post_headers")
    headers = CountedList({"id": id, "name": f"F{id}", "value": " x"} for id in range(1, count + 1))
    raw["transaction"]["headers"] = headers
    asked = Event(raw)
    if is_replaced:
        asked.replace_message("new")
    for id in range(1, count + 1):
        asked.set_header(id, " y")
        asked.delete_header(id)
    assert headers.looks == count
    assert len(asked.actions) == (3 * count + 1 if is_replaced else 2 * count)


def test_the_example_runs_as_a_program_and_leaves_at_sigterm(folder):
    pool = Path(folder, "pools", "python")
    pool.mkdir(parents=True)
    example = SDK / "examples" / "worker.py"
    assert len(example.read_text().splitlines()) <= 20
    environment = {**os.environ, "PYTHONPATH": str(SDK), "GATEPOST_RUNTIME_DIRECTORY": folder}

    async def body():
        async with Frontend(str(pool / "mx1.sock")) as frontend:
            process = subprocess.Popen([sys.executable, str(example)], env=environment, stdout=subprocess.PIPE)
            try:
                peer = await (await frontend.accept()).welcome()
                loop = asyncio.get_running_loop()
                assert (await loop.run_in_executor(None, process.stdout.readline)).startswith(b"ready")
                peer.send(event(1, address="eve@example.com"), event(2))
                answers = {answer["id"]: answer for answer in [await peer.next(), await peer.next()]}
                assert answers[1]["reply"] == {"code": 550, "status": "5.1.6", "text": ["eve@example.com has left"]}
                assert answers[2]["notes"] == {"session": {"asked": 1}}
                process.send_signal(signal.SIGTERM)
                assert (await peer.next())["type"] == "drain"
                peer.send({"type": "drain"})
                assert (await peer.next())["type"] == "bye"
                assert await loop.run_in_executor(None, process.wait, PATIENCE) == 0
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                process.stdout.close()

    asyncio.run(body())


def test_the_readme_shows_the_example():
    assert (SDK / "examples" / "worker.py").read_text() in (SDK / "README.md").read_text()


def test_deny_and_ok_have_what_was_asked():
    recipient = event(1)["args"]
    denied = Event(notify("deny", {"hook": "rcpt", "args": recipient, "verdict": "deny"}))
    assert denied.asked == recipient and denied.recipient.address == b"jo@example.org"
    sender = {"address": "bob@example.net", "local": "bob", "domain": "example.net", "params": []}
    assert Event(notify("ok", {"hook": "mail", "args": {"sender": sender}})).sender.address == b"bob@example.net"
    assert Event(notify("ok", {"hook": "ehlo", "args": {"name": {"b64": "/w=="}}})).argument("name") == b"\xff"
    # An earlier frontend did not tell.
    old = Event(notify("deny", {"hook": "rcpt", "verdict": "deny"}))
    assert old.asked == {} and old.sender.address == b""
    assert Event(event(1)).asked == recipient


def test_single_recipients_are_refused_with_deny_and_denysoft_alone():
    event = Event({"hook": "data_post", "args": {}})
    event.refuse_recipient(3, deny("not me", code=550))
    event.refuse_recipient(4, denysoft())
    assert event.actions == [
        {"op": "recipient.refuse", "id": 3, "verdict": "deny", "reply": {"code": 550, "text": ["not me"]}},
        {"op": "recipient.refuse", "id": 4, "verdict": "denysoft"},
    ]
    with pytest.raises(ValueError):
        event.refuse_recipient(5, ok())


def test_a_login_of_several_steps():
    args = {"mechanism": "SCRAM-SHA-256", "user": "jo", "step": 2, "response": "x", "state": {"b64": "/w=="}}
    asked = Event({"hook": "auth", "args": args})
    assert (asked.step, asked.state, asked.argument("response")) == (2, b"\xff", b"x")
    assert asked.challenge("what next", b"\xfe") == Verdict("done")
    assert asked.actions == [{"op": "auth.challenge", "challenge": "what next", "state": {"b64": "/g=="}}]
    plain = Event({"hook": "auth", "args": {"mechanism": "PLAIN", "user": "jo", "password": "x"}})
    assert (plain.step, plain.state) == (0, b"")


def test_the_token_of_a_login():
    for response in ("n,a=jo,\x01host=h\x01auth=Bearer t0k=\x01\x01", "user=jo\x01auth=bearer  t0k=\x01\x01"):
        args = {"mechanism": "XOAUTH2", "user": "jo", "step": 1, "response": response}
        assert Event({"hook": "auth", "args": args}).bearer_token == b"t0k="
        for other in ({"step": 2}, {"mechanism": "SCRAM-SHA-256"}, {"response": "auth=Basic t0k="}, {"response": "auth=Bearer "}):
            assert Event({"hook": "auth", "args": {**args, **other}}).bearer_token is None
