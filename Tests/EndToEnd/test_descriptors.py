"""Sessions leave descriptors to workers, the spool and the log, however many clients come."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from pathlib import Path

from harness.gatepost import BINARIES, Gatepost
from harness.program import Program
from harness.waiting import wait_until
from harness.wire import accepting

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"

LIMIT = 200
#: 64, and two for each of two sockets that listen, and one for each connection of the pool.
RESERVE = 64 + 4 + 16
SESSIONS = (LIMIT - RESERVE) // 2


def limited_frontend(gatepost: Gatepost) -> Program:
    """A frontend that starts with a soft limit of 100 descriptors and a hard one of LIMIT."""
    gatepost.write_frontend_toml()
    command = ["prlimit", f"--nofile=100:{LIMIT}", BINARIES / "gatepost-frontend", "--config", gatepost.config]
    log = gatepost.folder / "gatepost-frontend-limited.log"
    frontend = Program("gatepost-frontend-limited", command, log, cwd=gatepost.folder)
    gatepost.programs.append(frontend)
    return frontend


def test_workers_and_messages_get_descriptors_when_clients_take_all_they_can(gatepost: Gatepost) -> None:
    gatepost.limits(max_sessions_per_ip=0)
    gatepost.pool["max_connections"] = 16
    gatepost.frontend_toml["event_loops"] = 1
    frontend = limited_frontend(gatepost)
    worker = gatepost.python_worker(["rcpt", "queue"], accepting(), concurrency=1_000)
    frontend.ready()
    assert resource.prlimit(frontend.pid, resource.RLIMIT_NOFILE) == (LIMIT, LIMIT)
    frontend.logged(
        rf"max_sessions is bounded by .* descriptors={LIMIT} max_sessions=2000 reserve={RESERVE} sessions={SESSIONS}"
    )
    before = len(frontend.descriptors())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect()) for _ in range(SESSIONS)]
        for client in clients:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
            # More than stays in memory: each message has its file open.
            client.socket.sendall(b"Subject: x\r\n\r\n" + (b"y" * 998 + b"\r\n") * 200)
        for _ in range(50):
            stack.enter_context(gatepost.connect()).expect(421)
        late = gatepost.python_worker(["vrfy"], lambda event: "ok", worker={"name": "late"})
        assert len(frontend.descriptors()) >= before + 2 * SESSIONS
        for client in clients:
            client.command(".", 250)
        late.close()
    assert "could not be accepted" not in frontend.log()
    worker.close()


def processor_seconds(pid: int) -> float:
    """The time that the processors spent on the process, its calls of the kernel included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood(port: int, count: int) -> list[socket.socket]:
    """Connections that say nothing; the kernel completes them, whether the server accepts them or not."""
    made = []
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(("127.0.0.1", port))
        made.append(client)
    return made


def test_a_flood_of_clients_beyond_the_sessions(gatepost: Gatepost) -> None:
    """With few descriptors, ten times as many clients: sessions go on, and afterwards new ones begin."""
    gatepost.limits(max_sessions_per_ip=0)
    gatepost.pool["max_connections"] = 16
    frontend = limited_frontend(gatepost)
    worker = gatepost.python_worker(["rcpt", "queue"], accepting(), concurrency=1_000)
    frontend.ready()
    before = len(frontend.descriptors())
    with gatepost.connect() as client:
        client.ehlo()
        for _ in range(5):
            clients = flood(gatepost.port, 2 * LIMIT)
            client.deliver(MESSAGE)
            for each in clients:
                each.close()
        wait_until(lambda: len(frontend.descriptors()) <= before + 1, 20, "the flood's descriptors are closed")
        with gatepost.connect() as late:
            late.ehlo()
            late.deliver(MESSAGE)
            late.quit()
        client.quit()
    assert "could not be accepted" not in frontend.log()
    worker.close()


def test_accepting_goes_on_after_no_descriptor_was_left(gatepost: Gatepost) -> None:
    """accept(2) itself fails, as when the operator's limit is lower than the frontend knew."""
    gatepost.limits(max_sessions_per_ip=0)
    frontend = gatepost.frontend(ready=False)
    worker = gatepost.python_worker(["rcpt", "queue"], accepting(), concurrency=1_000)
    frontend.ready()
    limits = resource.prlimit(frontend.pid, resource.RLIMIT_NOFILE)
    with gatepost.connect() as client:
        client.ehlo()
        numbers = {int(name) for name in os.listdir(f"/proc/{frontend.pid}/fd")}
        first_free = next(number for number in range(len(numbers) + 1) if number not in numbers)
        resource.prlimit(frontend.pid, resource.RLIMIT_NOFILE, (first_free, limits[1]))
        clients = flood(gatepost.port, 300)
        frontend.logged("a connection could not be accepted; accepting goes on", 20)
        began = processor_seconds(frontend.pid)
        for _ in range(10):
            client.deliver(MESSAGE)
            time.sleep(0.2)
        used = processor_seconds(frontend.pid) - began
        # A loop that tried again at once would need all of the two seconds.
        assert used < 1, f"{used:.2f} s of processor time in two seconds"
        assert numbers >= {int(name) for name in os.listdir(f"/proc/{frontend.pid}/fd")}
        resource.prlimit(frontend.pid, resource.RLIMIT_NOFILE, limits)
        # The connections that waited are served, and so are new ones.
        clients[-1].setblocking(True)
        clients[-1].settimeout(20)
        assert clients[-1].recv(4) == b"220 "
        for each in clients:
            each.close()
        with gatepost.connect() as late:
            late.ehlo()
            late.deliver(MESSAGE)
            late.quit()
        client.quit()
    worker.close()
