"""A worker at the sockets of two frontends that this program plays: `socket_test.py PROGRAM`."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

PATIENCE = 20
SESSION = {"id": "S", "client": {"ip": "192.0.2.1", "port": 1, "name": None}}


class Frontend:
    """Listens at a socket; one connection at a time."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)

    def accept(self, welcome=True):
        self.peer, _ = self.listener.accept()
        self.peer.settimeout(PATIENCE)
        self.lines = self.peer.makefile("rb")
        hello = self.hear()
        assert hello["type"] == "hello" and hello["violations"] is True, hello
        if welcome:
            self.say(type="welcome", protocol=1, frontend={"id": "f"}, connection="w1", max_frame=1048576, concurrency=1, spool="/x")

    def say(self, **message):
        self.peer.sendall(json.dumps(message).encode() + b"\n")

    def hear(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, id, address):
        local, domain = address.split("@")
        recipient = {"id": 1, "address": address, "local": local, "domain": domain, "params": []}
        self.say(type="event", id=id, key="k", hook="rcpt", attempt=1, deadline_ms=9000, session=SESSION,
                 transaction={"id": "T", "sender": None, "recipient_count": 0}, args={"recipient": recipient},
                 notes={"session": {}, "transaction": {}})

    def end(self):
        self.lines.close()
        self.peer.close()


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        pool = os.path.join(folder, "pools", "policy")
        os.makedirs(pool)
        environment = {**os.environ, "GATEPOST_RUNTIME_DIRECTORY": folder}
        with subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
            try:
                serve(worker, pool)
            finally:
                worker.kill()
            log = worker.stderr.read()
            assert "ERROR" not in log, log


def serve(worker, pool):
    first = Frontend(os.path.join(pool, "one.sock"))  # the worker was there before
    first.accept()
    assert worker.stdout.readline() == "ready: worker example, pool policy, frontend f\n"
    second = Frontend(os.path.join(pool, "one@2.sock"))
    second.accept()
    for frontend in (first, second):
        frontend.ask(1, "eve@example.com")
        assert frontend.hear()["reply"]["code"] == 550
    many = 2000
    for id in range(2, many):  # one after the other, for concurrency is 1
        first.ask(id, f"a{id}@example.com")
        answer = first.hear()
        assert (answer["id"], answer["verdict"]) == (id, "declined"), answer
    first.end()  # the worker dials again
    first.accept(welcome=False)
    first.say(type="reject", code="pool_full", message="later", retry_ms=10)
    assert first.hear() is None
    first.end()
    first.accept()
    first.ask(1, "eve@example.com")
    assert first.hear()["verdict"] == "deny"
    second.say(type="drain", reason="shutdown")
    assert second.hear() == {"type": "drain", "reason": "shutdown"}
    assert second.hear() == {"type": "bye", "code": "drained"}
    assert second.hear() is None
    second.end()
    second.accept()  # it was not told to stop itself
    second.peer.sendall(b'{"type":"nonsense"}\n')
    assert second.hear()["code"] == "unknown_type" and second.hear() is None
    second.end()
    second.accept()
    worker.send_signal(signal.SIGTERM)
    for frontend in (first, second):
        assert frontend.hear() == {"type": "drain", "reason": "stopping"}
    first.ask(2, "eve@example.com")  # crossed the drain on the wire
    assert first.hear()["verdict"] == "deny"
    for frontend in (first, second):
        frontend.say(type="drain", reason="requested")
        assert frontend.hear() == {"type": "bye", "code": "drained"}
        assert frontend.hear() is None
        frontend.end()
    assert worker.wait(PATIENCE) == 0
    print(f"socket: two frontends, {many} events, drains and a reject hold")


main(sys.argv[1])
