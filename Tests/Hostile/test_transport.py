"""Framing and transport (protocol/failure.md)."""

from __future__ import annotations

import array
import json
import os
import resource
import socket
import time
from collections.abc import Callable

import pytest

from harness.gatepost import IS_DEBUG
from harness.smtp import Dialogue
from harness.waiting import wait_until
from harness.wire import Message, RawWorker, encoded, hello
from proofs import proves
from scene import SLACK_OCTETS, Scene, failed_by_policy

HELLO = encoded(hello(["vrfy"], pool="hostile"))


def verdict(event: Message, verdict: str = "ok", **fields: object) -> bytes:
    return encoded({"type": "verdict", "id": event["id"], "verdict": verdict, **fields})


# Before the handshake


@proves("handshake_timeout")
@pytest.mark.parametrize(
    "octets", [b"", b'{"type":"hello"', HELLO], ids=["1-silence", "2-half", "2-no-newline"]
)
def test_no_hello_in_time(scene: Scene, octets: bytes) -> None:
    """Rejected after 5 s, and never counted as a ready worker."""
    worker = scene.attacker()
    worker.octets(octets)
    with scene.victim() as client:
        client.command("VRFY alice", 252)
    began = time.monotonic()
    (said,) = worker.closed(8)
    assert (said["type"], said["code"]) == ("reject", "bad_hello")
    assert time.monotonic() - began > 3


@proves("handshake_timeout")
def test_3_slow_hellos(scene: Scene) -> None:
    """The time is for the whole hello, and many such connections at once disturb no session."""
    workers = [scene.attacker() for _ in range(40)]
    began = time.monotonic()
    opened = set(range(len(workers)))
    for position in range(100):
        for number in list(opened):
            try:
                workers[number].socket.sendall(HELLO[position : position + 1])
            except OSError:
                opened.discard(number)
        if not opened:
            break
        time.sleep(0.1)
    assert not opened, f"{len(opened)} still open after {time.monotonic() - began:.1f} s"


NOISE = {
    "4-http": b"GET / HTTP/1.1\r\n\r\n",
    "4-smtp": b"EHLO x\r\n",
    "4-line": b"\n",
    "4-star": b"*\n",
    "5-tls": bytes.fromhex("16030100a5010000a10303") + b"\x99" * 160 + b"\n",
    "5-nul": b"\0" * 1_000_000,
    "5-random": os.urandom(1_000_000),
    "6-endless": b'{"type":"hello","x":"' + b"x" * 1_000_000,
}


@proves("hello_malformed", "hello_too_long")
@pytest.mark.parametrize("name", NOISE)
def test_noise_instead_of_hello(scene: Scene, name: str) -> None:
    """One `reject` line at most, then closed."""
    worker = scene.attacker()
    try:
        worker.socket.sendall(NOISE[name])
    except OSError:
        pass
    said = worker.closed(7)
    assert len(said) <= 1 and all(line["type"] in ("reject", "bye") for line in said), said


BAD_HELLO: dict[str, tuple[str, dict[str, object]]] = {
    "8-max-frame-0": ("bad_hello", {"max_frame": 0}),
    "8-max-frame-minus": ("bad_hello", {"max_frame": -1}),
    "8-max-frame-2-63": ("bad_hello", {"max_frame": 2**63}),
    "8-max-frame-word": ("bad_hello", {"max_frame": "x"}),
    "8-max-frame-1": ("bad_hello", {"max_frame": 1}),
    "8-max-frame-65535": ("bad_hello", {"max_frame": 65_535}),
    "32-concurrency-2-31": ("bad_hello", {"concurrency": 2**31}),
    "32-concurrency-minus": ("bad_hello", {"concurrency": -5}),
    "31-concurrency-fraction": ("bad_hello", {"concurrency": 1.5}),
    "67-protocol-0-0": ("protocol_unsupported", {"protocol": [0, 0]}),
    "67-protocol-2-9": ("protocol_unsupported", {"protocol": [2, 9]}),
    "67-protocol-9-1": ("bad_hello|protocol_unsupported", {"protocol": [9, 1]}),
    "67-protocol-missing": ("bad_hello", {"protocol": None}),
    "67-protocol-string": ("bad_hello", {"protocol": "1"}),
    "37-unknown-pool": ("pool_unknown", {"pool": "nowhere"}),
    "37-other-pool": ("pool_unknown|bad_hello", {"pool": "healthy"}),
    "68-unknown-hook": ("bad_hello", {"hooks": {"teapot": {}}}),
    "68-10000-hooks": ("bad_hello", {"hooks": {f"hook{n}": {} for n in range(10_000)}}),
    "68-unknown-need": ("bad_hello", {"hooks": {"vrfy": {"needs": ["everything"]}}}),
    "68-hooks-list": ("bad_hello", {"hooks": ["vrfy"]}),
    "68-no-hooks-member": ("bad_hello", {"hooks": None}),
    "68-name-with-escape": ("bad_hello", {"worker": {"name": "\u001b[31mred"}}),
    "68-name-missing": ("bad_hello", {"worker": {}}),
}


@proves("hello_invalid", "hello_unknown_hook", "protocol_unsupported", "pool_unknown")
@pytest.mark.parametrize("name", BAD_HELLO)
def test_bad_hello(scene: Scene, name: str) -> None:
    """`reject` with its code, then closed; no half state."""
    codes, fields = BAD_HELLO[name]
    worker = scene.attacker()
    message = {**hello(["vrfy"], pool="hostile"), **fields}
    worker.send({key: value for key, value in message.items() if value is not None})
    (said,) = worker.closed()
    assert said["type"] == "reject" and said["code"] in codes.split("|"), said
    assert isinstance(said["message"], str)
    with scene.victim() as client:
        client.command("VRFY alice", 252)


def test_68_no_hooks(scene: Scene) -> None:
    """A worker that asks for nothing is welcome and gets nothing."""
    worker = scene.worker({})
    with scene.victim() as client:
        client.command("VRFY alice", 252)
    assert worker.is_open()


def test_32_no_concurrency(scene: Scene) -> None:
    """`concurrency` 0 is a worker that only observes: it never gets an event."""
    worker = scene.worker({"vrfy": {"observe": True}}, concurrency=0)
    with scene.victim() as client:
        client.command("VRFY alice", 252)
    assert worker.expect("notify")["hook"] == "vrfy"


@proves("not_hello_first")
@pytest.mark.parametrize("type", ["verdict", "drain", "ping", "welcome"])
def test_69_not_hello_first(scene: Scene, type: str) -> None:
    """Whatever comes before `hello` is refused as a bad one."""
    worker = scene.attacker()
    worker.send({"type": type, "id": 1, "verdict": "ok", "n": 1, "reason": "x"})
    (said,) = worker.closed()
    assert said["type"] == "reject" and said["code"] == "bad_hello", said


@proves("unexpected_message", "unknown_type")
@pytest.mark.parametrize("name", ["second-hello", "event", "unknown-type", "no-type", "welcome"])
def test_69_wrong_messages(scene: Scene, name: str) -> None:
    """A message that is not a worker's to send ends its connection, with `bye`."""
    worker, client, event = scene.asked()
    with client:
        worker.send(
            {
                "second-hello": HELLO,
                "event": b'{"type":"event","id":1,"hook":"vrfy"}',
                "unknown-type": b'{"type":"teapot"}',
                "no-type": b'{"id":1,"verdict":"ok"}',
                "welcome": b'{"type":"welcome","protocol":1}',
            }[name]
        )
        said = worker.closed()
        assert said and said[-1]["type"] == "bye", said
        assert said[-1]["code"] in ("unexpected_message", "unknown_type", "bad_message"), said
        failed_by_policy(client)


# Frames


@proves("frame_too_long")
def test_6_a_line_without_end(scene: Scene) -> None:
    """Closed at max_frame; the frontend never buffers more; the event fails by policy."""
    worker, client, _ = scene.asked()
    peak = scene.frontend.peak_octets()
    sent, chunk = 0, b"x" * (1 << 16)
    worker.octets(b'{"type":"verdict","verdict":"')
    with client:
        worker.socket.settimeout(5)
        try:
            while sent < 1 << 30:
                sent += worker.socket.send(chunk)
        except OSError:
            pass
        assert sent < 8 << 20, f"{sent} octets were taken"
        failed_by_policy(client)
    grown = scene.frontend.peak_octets() - peak
    assert grown < 16 << 20, f"the peak grew by {grown}"


@proves("frame_too_long")
@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_7_the_longest_frame(set_stage: Callable[..., Scene], surplus: int) -> None:
    """Max_frame - 1 and max_frame octets, LF included, are taken; one more is not."""
    if IS_DEBUG:
        scene = set_stage(max_frame_octets=65_536)
    else:
        scene = set_stage()
    worker = scene.worker(["vrfy"])
    longest = json.loads(worker.said[-1].partition("← ")[2])["max_frame"]
    with scene.victim() as client:
        client.send(b"VRFY alice\r\n")
        event = worker.event("vrfy")
        line = verdict(event, pad="")
        padding = longest + surplus - len(line) - 1
        worker.send(line.replace(b'"pad":""', b'"pad":"' + b"x" * padding + b'"'))
        if surplus <= 0:
            client.expect(250)
        else:
            failed_by_policy(client)
            assert worker.closed()[-1]["code"] == "frame_too_long"


def test_9_two_frames_in_one_write(scene: Scene) -> None:
    worker = scene.worker(["vrfy"])
    with scene.victim() as one, scene.victim() as two:
        one.send(b"VRFY alice\r\n")
        two.send(b"VRFY alice\r\n")
        first, second = worker.event(), worker.event()
        worker.octets(verdict(second) + b"\n" + verdict(first) + b"\n")
        one.expect(250)
        two.expect(250)


def test_9_a_frame_octet_by_octet(scene: Scene) -> None:
    """Cut inside a UTF-8 sequence and inside an escape as well."""
    worker, client, event = scene.asked()
    with client:
        line = verdict(event, reply={"text": ["ok"]}, plugin="p", notes={"session": {"a": "é\u00e9"}})
        line = line.replace(b"\\u00e9", "é".encode(), 1) + b"\n"
        for position in range(len(line)):
            worker.socket.sendall(line[position : position + 1])
            time.sleep(0.001)
        client.expect(250)


@pytest.mark.parametrize("name", ["crlf", "spaces", "tab"])
def test_10_white_space_is_tolerated(scene: Scene, name: str) -> None:
    worker, client, event = scene.asked()
    line = verdict(event)
    with client:
        worker.send({"crlf": line + b"\r", "spaces": b"  " + line + b"  ", "tab": b"\t" + line}[name])
        client.expect(250)


#: Row and name, the id of the failure, and the line that is sent; {id} is the event's.
BROKEN: dict[str, tuple[str, bytes]] = {
    "10-bom": ("frame_not_json", b'\xef\xbb\xbf{"type":"verdict","id":{id},"verdict":"ok"}'),
    "10-blank": ("frame_not_json", b""),
    "12-not-json": ("frame_not_json", b"nonsense"),
    "12-truncated": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok"'),
    "12-nan": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok","x":NaN}'),
    "12-lower-nan": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok","x":nan}'),
    "12-infinity": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok","x":-Infinity}'),
    "12-comment": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok"/* yes */}'),
    "12-single-quotes": ("frame_not_json", b"{'type':'verdict','id':{id},'verdict':'ok'}"),
    "12-trailing-comma": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok",}'),
    "12-leading-zero": ("frame_not_json", b'{"type":"verdict","id":0{id},"verdict":"ok"}'),
    "12-half-number": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok","x":1.}'),
    "12-plus": ("frame_not_json", b'{"type":"verdict","id":+{id},"verdict":"ok"}'),
    "12-True": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok","x":True}'),
    "13-number": ("frame_not_object", b"5"),
    "13-array": ("frame_not_object", b"[]"),
    "13-null": ("frame_not_object", b"null"),
    "13-string": ("frame_not_object", b'"x"'),
    "14-depth-33": ("frame_too_deep", b'{"type":"verdict","id":{id},"verdict":"ok","x":' + b"[" * 32 + b"]" * 32 + b"}"),
    "14-depth-1000": ("frame_too_deep", b'{"type":"verdict","id":{id},"x":' + b"[" * 1_000 + b"]" * 1_000 + b"}"),
    "14-open": ("frame_too_deep", b"[" * 1_000_000),
    "16-verdict-twice": ("frame_duplicate_key", b'{"type":"verdict","id":{id},"verdict":"ok","verdict":"deny"}'),
    "16-id-twice": ("frame_duplicate_key", b'{"type":"verdict","id":{id},"id":2,"verdict":"ok"}'),
    "16-escaped-twice": ("frame_duplicate_key", b'{"type":"verdict","id":{id},"verdict":"deny","\\u0076erdict":"ok"}'),
    "16-deep-twice": ("frame_duplicate_key", b'{"type":"verdict","id":{id},"verdict":"ok","notes":{"session":{"a":1,"a":2}}}'),
    "17-nul-in-key": ("frame_nul_key", b'{"type":"verdict","id":{id},"verdict\\u0000x":"ok"}'),
    "18-invalid-utf8": ("frame_not_utf8", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"\xff"}'),
    "18-overlong": ("frame_not_utf8", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"\xc0\xae"}'),
    "18-lone-surrogate": ("frame_surrogate", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"\\ud800"}'),
    "18-raw-surrogate": ("frame_not_utf8", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"\xed\xa0\x80"}'),
    "18-beyond": ("frame_not_utf8", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"\xf5\x80\x80\x80"}'),
    "19-raw-control": ("frame_control", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"a\x01b"}'),
    "19-raw-tab": ("frame_control", b'{"type":"verdict","id":{id},"verdict":"ok","plugin":"a\tb"}'),
    "20-two-objects": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok"}{"id":2}'),
    "20-nul-between": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok"}\0{"id":2}'),
    "20-garbage": ("frame_not_json", b'{"type":"verdict","id":{id},"verdict":"ok"}x'),
    "30-id-2-63": ("frame_number", b'{"type":"verdict","id":9223372036854775808,"verdict":"ok"}'),
    "30-id-2-64": ("frame_number", b'{"type":"verdict","id":18446744073709551616,"verdict":"ok"}'),
    "30-id-minus": ("bad_message", b'{"type":"verdict","id":-1,"verdict":"ok"}'),
    "30-id-zero": ("bad_message", b'{"type":"verdict","id":0,"verdict":"ok"}'),
    "30-id-fraction": ("bad_message", b'{"type":"verdict","id":{id}.5,"verdict":"ok"}'),
    "30-id-point-zero": ("bad_message", b'{"type":"verdict","id":{id}.0,"verdict":"ok"}'),
    "30-id-exponent": ("bad_message", b'{"type":"verdict","id":{id}e0,"verdict":"ok"}'),
    "30-id-string": ("bad_message", b'{"type":"verdict","id":"{id}","verdict":"ok"}'),
    "30-id-null": ("bad_message", b'{"type":"verdict","id":null,"verdict":"ok"}'),
    "30-id-true": ("bad_message", b'{"type":"verdict","id":true,"verdict":"ok"}'),
    "30-id-missing": ("bad_message", b'{"type":"verdict","verdict":"ok"}'),
    "31-number-1e999": ("frame_number", b'{"type":"progress","id":{id},"extend_ms":1e999}'),
    "31-extend-fraction": ("bad_message", b'{"type":"progress","id":{id},"extend_ms":1.5}'),
    "31-extend-minus": ("bad_message", b'{"type":"progress","id":{id},"extend_ms":-1}'),
    "31-extend-2-64": ("frame_number", b'{"type":"progress","id":{id},"extend_ms":18446744073709551616}'),
    "59-interleaved": ("frame_not_json|frame_interleaved", b'{"type":"verd{"type":"verdict","id":{id},"verdict":"ok"}ict","id":{id}}'),
}


@proves(*{id for reason, _ in BROKEN.values() for id in reason.split("|")})
@pytest.mark.parametrize("name", BROKEN)
def test_broken_lines(scene: Scene, name: str) -> None:
    """The connection ends, the event fails by policy, never by consent."""
    reason, line = BROKEN[name]
    worker, client, event = scene.asked()
    with client:
        try:
            worker.send(line.replace(b"{id}", b"%d" % event["id"]))
        except OSError:
            pass
        failed_by_policy(client)
        said = worker.closed()
        assert all(line["type"] in ("bye", "cancel") for line in said), said
    logged = scene.logged(reason)
    assert "hostile" in logged and "attacker" in logged, logged


@proves("frame_cut")
def test_11_a_verdict_without_its_line_end(scene: Scene) -> None:
    """A line without LF before EOF is no message: it may be the beginning of another one."""
    worker, client, event = scene.asked()
    with client:
        worker.octets(verdict(event))
        worker.close()
        failed_by_policy(client)


@pytest.mark.parametrize("name", ["keys", "notes"])
def test_15_very_many_keys(scene: Scene, name: str) -> None:
    """A frame full of keys is read in a short time, or refused."""
    worker, client, event = scene.asked()
    members = ",".join(f'"k{n}":0' for n in range(9_000 if IS_DEBUG else 90_000))
    line = verdict(event)[:-1]
    if name == "keys":
        line += b"," + members.encode() + b"}"
    else:
        line += b',"notes":{"session":{' + members.encode() + b"}}}"
    with client:
        before = scene.frontend.cpu_seconds()
        worker.send(line)
        assert client.reply().code in (250, 451)
        # Of the processor, which a busy machine does not lengthen; the probe's messages are in it.
        assert scene.frontend.cpu_seconds() - before < 1


# Sockets


def flooding(scene: Scene, worker: RawWorker, count: int) -> list[Dialogue]:
    """Sessions that make events for a worker until it has all its credit."""
    clients = []
    for _ in range(count):
        client = scene.victim()
        client.send(b"VRFY " + b"a" * 400 + b"\r\n")
        clients.append(client)
    return clients


def test_21_a_worker_that_never_reads(scene: Scene) -> None:
    """No more than its credit is written to it; deadlines free the sessions."""
    worker = scene.worker(["vrfy"], concurrency=20)
    clients = flooding(scene, worker, 40)
    for client in clients:
        failed_by_policy(client, 10)
        client.close()


@proves("slow_reader")
def test_21_a_full_socket(scene: Scene) -> None:
    """A worker with endless credit that never reads: closed, nothing piles up in the frontend."""
    worker = scene.worker(["vrfy"], concurrency=60_000)
    worker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    for _ in range(5):
        clients = flooding(scene, worker, 30)
        for client in clients:
            failed_by_policy(client, 10)
            client.close()


@proves("slow_reader")
@pytest.mark.parametrize("concurrency", [1, 0], ids=["worker", "observer"])
def test_21_pings_and_never_reads(scene: Scene, concurrency: int) -> None:
    """The answers that wait for a worker that does not read are bounded; then it is closed."""
    hooks: dict[str, Message] = {"vrfy": {}} if concurrency else {"vrfy": {"observe": True}}
    worker = scene.worker(hooks, concurrency=concurrency)
    pings = b'{"type":"ping","n":1}\n' * 5_000
    sent = 0
    worker.socket.settimeout(20)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while sent < 500 << 20:
            worker.socket.sendall(pings)
            sent += len(pings)
    scene.logged("a worker is closed.*slow_reader")
    assert scene.frontend.resident_octets() < scene.resident + SLACK_OCTETS


@proves("zombie")
def test_22_hangs_while_idle(set_stage: Callable[..., Scene]) -> None:
    """A worker that has nothing to do and does not answer `ping` is shown as silent, then closed."""
    scene = set_stage(ping_ms=300, zombie_ms=2_000)
    hung = scene.worker(["vrfy"], worker={"name": "hung"})
    observer = scene.worker({"status": {"observe": True}}, concurrency=0, worker={"name": "watcher"})

    def state() -> str | None:
        status = observer.expect("notify")["args"]
        (pool,) = (each for each in status["pools"] if each["name"] == "hostile")
        workers = {each["name"]: each for each in pool["workers"]}
        assert workers["watcher"]["pid"] == os.getpid()
        return workers["hung"]["state"] if "hung" in workers else None

    wait_until(lambda: state() == "silent", 10, "silent", 0)
    wait_until(lambda: state() is None, 10, "closed", 0)
    scene.logged(rf"a worker is closed.*pid={os.getpid()}.*reason=zombie.*worker=hung")
    assert [message["type"] for message in hung.closed()] == ["ping", "bye"]
    # The watcher answered each ping.
    assert observer.is_open()


def test_21_pings_and_reads(scene: Scene) -> None:
    """Each ping is answered, in order, as long as the answers are read."""
    worker = scene.worker(["vrfy"])
    for start in range(0, 200_000, 2_000):
        worker.octets(b"".join(b'{"type":"ping","n":%d}\n' % n for n in range(start, start + 2_000)))
        for n in range(start, start + 2_000):
            assert worker.read() == {"type": "pong", "n": n}


@proves("deadline", "zombie")
def test_22_a_worker_that_never_answers(scene: Scene) -> None:
    """Deadline, policy, and after zombie_ms without an answer the connection."""
    worker, client, event = scene.asked()
    with client:
        began = time.monotonic()
        failed_by_policy(client)
        assert time.monotonic() - began > 0.8
        cancel = worker.read()
        assert cancel["type"] == "cancel" and cancel["id"] == event["id"], cancel
        assert cancel["reason"] == "deadline"
        said = worker.closed(8)
        assert said and said[-1]["type"] == "bye" and said[-1]["code"] == "zombie", said


@proves("deadline")
def test_23_an_answer_too_slow(scene: Scene) -> None:
    """The deadline is for the whole line."""
    worker, client, event = scene.asked()
    with client:
        client.socket.settimeout(0.0)
        line = verdict(event)
        for position in range(len(line)):
            try:
                worker.socket.sendall(line[position : position + 1])
            except OSError:
                break
            time.sleep(0.1)
            if position == 20:
                break
        failed_by_policy(client)


def test_24_both_sides_write(scene: Scene) -> None:
    """The frontend goes on reading from a worker that it cannot write to."""
    worker = scene.worker(["vrfy"], concurrency=1_000)
    clients = flooding(scene, worker, 50)
    worker.socket.settimeout(5)
    pongs = b"".join(encoded({"type": "pong", "n": n}) + b"\n" for n in range(20_000))
    try:
        worker.socket.sendall(pongs)
    except OSError:
        pass
    for client in clients:
        failed_by_policy(client, 10)
        client.close()


@proves("worker_lost")
@pytest.mark.parametrize("how", ["shut-write", "shut-read", "reset", "shut-both"])
def test_25_half_closed(scene: Scene, how: str) -> None:
    """All of these count as EOF; the questions go to another worker or fail by policy."""
    worker, client, _ = scene.asked()
    with client:
        if how == "reset":
            worker.reset()
        else:
            worker.socket.shutdown(
                {
                    "shut-write": socket.SHUT_WR,
                    "shut-read": socket.SHUT_RD,
                    "shut-both": socket.SHUT_RDWR,
                }[how]
            )
        failed_by_policy(client)


@proves("worker_lost")
def test_25_a_write_fails_while_its_lines_are_read(scene: Scene) -> None:
    """When a write fails, the frontend reads the remaining lines while it still handles an earlier one."""
    worker = scene.worker(["noop", "vrfy"], concurrency=1)
    with scene.victim() as first, scene.victim() as second:
        # Events of this size are sent at once instead of at the end of the loop's turn.
        big = {"session": {"padding": "x" * 10_000}}
        for client in (first, second):
            client.send(b"NOOP\r\n")
            worker.answer(worker.event("noop"), "declined", notes=big)
            client.expect(250)
        for client in (first, second):
            client.send(b"VRFY alice\r\n")
        event = worker.event("vrfy")
        # The answer frees the credit for the second event, whose write fails; more than one read is left.
        worker.socket.shutdown(socket.SHUT_RD)
        ping = b'{"type":"ping","n":1}\n'
        answer = encoded({"type": "verdict", "id": event["id"], "verdict": "ok"}) + b"\n"
        worker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        worker.octets(answer + ping * 10_000)
        first.expect(250)
        failed_by_policy(second)


@proves("descriptors_passed")
def test_26_descriptors_in_the_mail(scene: Scene) -> None:
    """Descriptors that come with a message are not taken, or closed at once."""
    worker, client, event = scene.asked()
    with client:
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            for _ in range(10):
                fds = array.array("i", [null] * 100)
                worker.socket.sendmsg(
                    [encoded({"type": "pong", "n": 1}) + b"\n"],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)],
                )
        finally:
            os.close(null)
        worker.send(verdict(event))
        client.expect(250)
        opened = [each for each in scene.frontend.descriptors() if each == "/dev/null"]
        assert len(opened) < 10, f"{len(opened)} descriptors of /dev/null"


@proves("connect_storm")
def test_27_a_storm_of_connections(scene: Scene) -> None:
    """Connect and close, thousands of times; the log does not grow with each."""
    path = str(scene.gatepost.socket("hostile"))
    until = time.monotonic() + 2
    count = 0
    while time.monotonic() < until:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(path)
            count += 1
        except BlockingIOError:
            time.sleep(0.001)
        connection.close()
    assert count > 500
    lines = len(scene.log().splitlines())
    probes = scene.probe.count
    assert lines < 2_000 + 10 * probes, f"{lines} log lines for {count} connections"


@proves("pool_full")
def test_28_too_many_connections(set_stage: Callable[..., Scene]) -> None:
    """`max_connections` of a pool; one more gets `reject pool_full`."""
    scene = set_stage(max_connections=10)
    workers = [scene.worker(["vrfy"]) for _ in range(9)]
    surplus = scene.attacker()
    try:
        surplus.send(HELLO)
    except OSError:
        pass
    said = surplus.closed()
    assert not said or said[-1]["code"] == "pool_full", said
    workers.pop().close()

    def free_again() -> bool:
        worker = scene.attacker()
        try:
            worker.hello(["vrfy"], pool="hostile")
            return True
        except (AssertionError, OSError):
            return False

    wait_until(free_again, 5, "a place in the pool", 0.1)


def test_29_the_frontend_runs_out_of_descriptors(scene: Scene) -> None:
    """At its limit the frontend neither spins nor ends; all is well afterwards."""
    scene.probe.end()
    scene.probe = type(scene.probe)(scene.gatepost)
    limit = len(scene.frontend.descriptors()) + 12
    before = resource.prlimit(scene.frontend.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(scene.frontend.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    clients = []
    try:
        for _ in range(30):
            clients.append(socket.create_connection(("127.0.0.1", scene.gatepost.port), 5))
        time.sleep(0.3)
        spent = _cpu_seconds(scene.frontend.pid)
        time.sleep(1)
        spent = _cpu_seconds(scene.frontend.pid) - spent
        assert spent < 0.5, f"{spent:.2f} s of CPU in a second of waiting"
    finally:
        for client in clients:
            client.close()
        resource.prlimit(scene.frontend.pid, resource.RLIMIT_NOFILE, before)
    scene.frontend_is_well()

    def well() -> bool:
        try:
            scene.probe.send()
            return True
        except (AssertionError, OSError):
            return False

    wait_until(well, 10, "mail again")
    scene.probe.slowest = 0
    scene.probe.start()


def _cpu_seconds(pid: int) -> float:
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
