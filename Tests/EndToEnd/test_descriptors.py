"""Sessions leave descriptors to workers, the spool and the log, however many clients come."""

from __future__ import annotations

import contextlib
import resource

from harness.gatepost import BINARIES, Gatepost
from harness.program import Program
from harness.wire import accepting

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
