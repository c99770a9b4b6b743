"""A worker that dies costs no session anything: `kill -9` at every hook (issue: "it is done when").

The workers are raw Python on purpose: the event that is lost is chosen exactly. A process that is
killed and a socket that is closed are the same to the frontend: EOF.
"""

from __future__ import annotations

import signal
import socket
import threading

import pytest

from harness.gatepost import Gatepost
from harness.sessions import STEPS
from harness.smtp import Dialogue
from harness.wire import DECISIONS, Die, Message, Worker, accepting

#: The hooks of one whole session, in the order in which it asks them.
HOOKS = [hook for hook in DECISIONS if hook not in ("helo",)]
IDEMPOTENT = {"queue": {"idempotent": True}, "auth": {"idempotent": True}}
#: Grants all that a session asks.
ACCEPTING = accepting(auth="ok")


@pytest.fixture(autouse=True)
def offers_auth(gatepost: Gatepost) -> None:
    gatepost.offer_auth()


class Pair:
    """Two workers of one pool; the first one to get an event of `hook` dies with it."""

    def __init__(self, server: Gatepost, hook: str, hooks: dict[str, Message]) -> None:
        self.hook, self.armed = hook, True
        self.survivor: list[Message] = []
        self.died_with: Message | None = None
        self.lock = threading.Lock()
        self.workers = [
            Worker(server.socket(), hooks, self.handle, worker={"name": name, "pid": 1})
            for name in ("first", "second")
        ]

    def handle(self, event: Message) -> str:
        with self.lock:
            if event["hook"] == self.hook and self.armed:
                self.armed, self.died_with = False, event
                raise Die
            if event["hook"] == self.hook and self.died_with is not None:
                self.survivor.append(event)
        return str(ACCEPTING(event))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def session(client: Dialogue, queue_code: int = 250, auth_code: int = 235) -> None:
    """A session that runs through every hook of `HOOKS`; each reply is as if nothing happened."""
    client.expect(220)
    client.command("EHLO client.example", 250)
    client.command(STEPS["auth"], auth_code)
    client.command("NOOP", 250)
    client.command("HELP", 214)
    client.command("VRFY alice", 252)
    client.command("XYZZY", 500)
    client.command("MAIL FROM:<bob@example.net>", 250)
    client.command("RCPT TO:<alice@example.com>", 250)
    client.command("DATA", 354)
    client.send(b"Subject: x\r\n\r\ny\r\n.\r\n")
    reply = client.expect(queue_code)
    if queue_code == 451:
        assert reply.status == "4.3.0", client.describe(str(reply))
    client.quit()


@pytest.mark.parametrize("hook", HOOKS)
def test_the_next_worker_answers(gatepost: Gatepost, hook: str) -> None:
    """An event that a dead worker held is asked again, once, elsewhere: same event, attempt 2."""
    frontend = gatepost.frontend()
    hooks: dict[str, Message] = {name: {} for name in HOOKS} | IDEMPOTENT
    pair = Pair(gatepost, hook, hooks)
    with gatepost.connect() as client:
        session(client)
    assert pair.died_with is not None, f"no {hook} event came"
    assert len(pair.survivor) == 1, f"{len(pair.survivor)} events of {hook} came again"
    again = pair.survivor[0]
    assert again["attempt"] == 2
    assert again["deadline_ms"] <= pair.died_with["deadline_ms"]
    changes = ("id", "attempt", "deadline_ms")
    assert without(again, *changes) == without(pair.died_with, *changes)
    dead = "first" if pair.died_with in pair.workers[0].events else "second"
    line = frontend.logged(rf"\b{dead}\b")
    assert "policy" in line, f"the log does not name the pool: {line}"
    pair.close()


def without(event: Message, *keys: str) -> Message:
    return {key: value for key, value in event.items() if key not in keys}


def test_auth_is_not_asked_twice(gatepost: Gatepost) -> None:
    """A back end may count each try, and the worker did not say `idempotent`: 454, as if it were down."""
    gatepost.frontend()
    pair = Pair(gatepost, "auth", {name: {} for name in HOOKS})
    with gatepost.connect() as client:
        session(client, auth_code=454)
        assert pair.survivor == []
    pair.close()


def test_queue_is_not_asked_twice(gatepost: Gatepost) -> None:
    """It has a side effect, and the worker did not say `idempotent`: 451, the client tries again."""
    gatepost.frontend()
    pair = Pair(gatepost, "queue", {name: {} for name in HOOKS})
    with gatepost.connect() as client:
        session(client, queue_code=451)
        assert pair.survivor == []
    with gatepost.connect() as client:
        session(client)
    pair.close()


@pytest.mark.parametrize("hook", ["ehlo", "mail", "rcpt", "data_post"])
def test_started_false_is_always_asked_again(gatepost: Gatepost, hook: str) -> None:
    """`error` with `started:false` says that nothing was done: another worker is asked."""
    gatepost.frontend()
    refused: list[int] = []

    def refusing(event: Message) -> None:
        refused.append(event["id"])
        first.raw.send(
            {"type": "error", "id": event["id"], "code": "busy", "started": False, "message": "x"}
        )

    first = Worker(gatepost.socket(), [hook], refusing, worker={"name": "refuser"})
    second = Worker(gatepost.socket(), HOOKS, ACCEPTING, worker={"name": "helper"})
    with gatepost.connect() as client:
        session(client)
    assert hook in second.hooks_seen()
    first.close()
    second.close()


def test_many_sessions_survive_one_death(gatepost: Gatepost) -> None:
    """A worker that holds the events of four sessions dies; each of them goes on elsewhere.

    Four, because a worker gets no more at once until it has answered (slow start).
    """
    gatepost.frontend()
    held = threading.Semaphore(0)

    def hold(event: Message) -> None:
        held.release()

    # Alone at first, so that it gets all of the events.
    holder = Worker(gatepost.socket(), ["mail"], hold, concurrency=100, worker={"name": "holder"})
    clients = [gatepost.connect() for _ in range(4)]
    for client in clients:
        client.ehlo()
        client.send(b"MAIL FROM:<bob@example.net>\r\n")
    for _ in clients:
        assert held.acquire(timeout=10)
    helper = Worker(gatepost.socket(), HOOKS, accepting(), concurrency=100, worker={"name": "helper"})
    holder.close()
    for client in clients:
        client.expect(250)
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\ny\r\n").code == 250
        client.quit()
        client.close()
    helper.close()


def test_kill_9_of_a_real_worker_at_data_post(gatepost: Gatepost) -> None:
    """A Swift worker waits for a scanner that says nothing; killed, another one asks again."""
    with Stalling() as scanner:
        gatepost.plugins(
            f"spamassassin spamd_socket 127.0.0.1:{scanner.port}", "rcpt_ok", "queue/maildir {mail}"
        )
        frontend = gatepost.frontend(ready=False)
        gatepost.worker()
        gatepost.worker()
        frontend.ready()
        with gatepost.connect() as client, gatepost.connect() as other:
            client.ehlo()
            other.ehlo()
            client.envelope()
            client.command("DATA", 354)
            client.send(b"Subject: x\r\n\r\ny\r\n.\r\n")
            first = scanner.accept()
            victim = _owner_of(first, gatepost)
            victim.kill()
            other.command("MAIL FROM:<carol@example.net>", 250)
            second = scanner.accept()
            answer = b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.1 / 5.0\r\n\r\nX-Spam-Status: No\r\n\r\n"
            scanner.read_request(second)
            second.sendall(answer)
            second.close()
            client.expect(250)
            client.quit()
            other.quit()
        frontend.logged(rf"{victim.pid}|lost|gone|closed|died")
        assert len(gatepost.maildir) == 1
        first.close()


def _owner_of(connection: socket.socket, gatepost: Gatepost):
    """The worker at the other end of a TCP connection on loopback, by its inode in /proc."""
    port = connection.getpeername()[1]
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01":
            inode = f"socket:[{fields[9]}]"
            for program in gatepost.programs:
                if program.is_running and inode in program.descriptors():
                    return program
    raise AssertionError("no process owns the connection")


class Stalling:
    """A server that accepts and reads, and answers when the test says so."""

    def __enter__(self) -> Stalling:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(20)
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def accept(self) -> socket.socket:
        connection, _ = self.socket.accept()
        connection.settimeout(20)
        return connection

    def read_request(self, connection: socket.socket) -> bytes:
        """A whole spamd request, by its Content-length."""
        octets = b""
        while True:
            head, separator, body = octets.partition(b"\r\n\r\n")
            if separator:
                fields = dict(
                    line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line
                )
                if len(body) >= int(fields.get(b"content-length", b"0")):
                    return octets
            part = connection.recv(65_536)
            if not part:
                return octets
            octets += part


def test_a_stopped_worker_is_passed_by(gatepost: Gatepost) -> None:
    """SIGSTOP: its events meet their deadline and are asked elsewhere; new ones go elsewhere."""
    gatepost.pool["deadline_ms"] = 1_500
    gatepost.pool["max_deadline_ms"] = 3_000
    frontend = gatepost.frontend(ready=False)
    stopped = gatepost.worker()
    gatepost.worker()
    frontend.ready()
    stopped.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            with gatepost.connect() as client:
                client.expect(220)
                code = client.command("EHLO client.example").code
                assert code == 250, client.describe("EHLO needs no plugin of this worker")
                codes = [client.command("MAIL FROM:<bob@example.net>").code]
                codes.append(client.command("RCPT TO:<alice@example.com>").code)
                assert set(codes) <= {250, 451}, client.describe(str(codes))
    finally:
        stopped.signal(signal.SIGCONT)
