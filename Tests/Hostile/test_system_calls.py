"""Every system call of spool and replacement fails once, in every way that it can.

The failure policy of the pool is `skip`, so that a failure of the frontend's own that counted as one of the pool's would let
a message through that policy has not seen: the frontend's own trouble is 451 or 452 and never consent.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gatepost import SLOWNESS, Gatepost
from harness.program import Program
from harness.waiting import wait_until
from harness.wire import Message, Worker
from proofs import proves

#: One octet at a time instead of a failure.
SHORT = 0
FULL = {errno.ENOSPC, errno.EDQUOT}
MESSAGE = b"Subject: as it came\r\n\r\nVIRUS\r\n"
CLEANED = b"Subject: cleaned\r\n\r\n" + b"clean\r\n" * 20_000


class Stage:
    """A frontend whose system calls fail on demand, and a worker that cleans each message."""

    def __init__(self, server: Gatepost, library: Path) -> None:
        self.server = server
        self.orders = server.folder / "fault"
        self.orders.write_text("")
        self.number = 0
        server.pool["on_failure"] = "skip"
        server.write_frontend_toml()
        self.frontend: Program = server.start(
            "gatepost-frontend",
            "--config",
            server.config,
            LD_PRELOAD=str(library),
            GATEPOST_FAULT=str(self.orders),
        )
        self.out = Path(server.frontend_toml["spool_directory"]) / "mx1" / "out" / "policy"
        self.queued: list[bytes] = []
        self.replaces = False
        self.worker: Worker = server.python_worker(
            {"rcpt": {}, "data_post": {"needs": ["message"]}, "queue": {"needs": ["message"]}},
            self.answer,
        )
        self.frontend.ready()

    def answer(self, event: Message) -> Message | str:
        if event["hook"] == "queue":
            self.queued.append(Path(event["transaction"]["message"]["path"]).read_bytes())
            return "ok"
        if event["hook"] == "data_post" and self.replaces:
            (self.out / "clean").write_bytes(CLEANED)
            return {"verdict": "declined", "actions": [{"op": "message.replace", "path": "clean"}]}
        return "ok" if event["hook"] == "rcpt" else "declined"

    def fail(self, call: str, part: str, code: int, times: int) -> None:
        self.number += 1
        fresh = self.orders.with_name("fault.new")
        fresh.write_text(f"{self.number} {call} {part} {code} {times}")
        fresh.replace(self.orders)

    def send(self) -> tuple[int, str]:
        """The reply to a message, in a session that goes on; messages that were queued are in `queued`."""
        with self.server.connect() as client:
            client.ehlo()
            client.envelope()
            reply = client.data(MESSAGE)
            client.command("NOOP", 250)
            client.quit()
        return reply.code, str(reply.status)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).parent / "faults" / "faults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
    return built


@pytest.fixture
def stage(gatepost: Gatepost, library: Path) -> Iterator[Stage]:
    if SLOWNESS > 1:
        pytest.skip("a sanitizer wants to be loaded first")
    stage = Stage(gatepost, library)
    yield stage
    stage.fail("none", "none", 1, 0)
    assert stage.send() == (250, "2.0.0"), "mail is accepted again"
    stage.worker.close()


#: Of the message's own file: the call, and how it may fail.
SPOOL = [
    ("create", code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EROFS,
                 errno.EIO, errno.ENOMEM, errno.ENOENT, errno.EEXIST)
] + [("write", code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)]


@proves("message_lost")
def test_the_message_cannot_be_written(stage: Stage) -> None:
    for call, code in SPOOL:
        stage.fail(call, "/spool/mx1/m", code, 1)
        expected = (452, "4.3.1") if code in FULL else (451, "4.3.0")
        assert stage.send() == expected, f"{call} {errno.errorcode[code]}"
        assert stage.queued == []
    stage.frontend.logged("message_lost")


#: Of the worker's file and of its copy: the call, on which path, and how it may fail for reasons of ours.
OURS = [
    *(("open", "/out/policy", code) for code in (errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES)),
    *(("openat", "clean", code) for code in (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM)),
    *(("fstat", "/out/policy/clean", code) for code in (errno.EIO, errno.ENOMEM)),
    *(("read", "/out/policy/clean", code) for code in (errno.EIO, errno.ENOMEM)),
    *(("create", "/spool/mx1/m", code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO)),
    *(("write", "/spool/mx1/m", code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)),
]
#: What the worker did wrong: the failure policy has its say, and the message goes on as it came.
THEIRS = [("openat", "clean", code) for code in (errno.ENOENT, errno.ELOOP, errno.EACCES, errno.ENXIO)]


@proves("message_lost")
def test_the_replacement_cannot_be_taken(stage: Stage) -> None:
    stage.replaces = True
    for call, part, code in OURS:
        # The message itself is in its file when the worker has answered.
        answer = stage.worker.handler

        def then_fail(event: Message) -> Message | str | None:
            if event["hook"] == "data_post":
                stage.fail(call, part, code, 1)
            return answer(event)

        stage.worker.handler = then_fail
        expected = (452, "4.3.1") if code in FULL else (451, "4.3.0")
        assert stage.send() == expected, f"{call} {part} {errno.errorcode[code]}"
        stage.worker.handler = answer
        assert stage.queued == [], f"{call} {part} {errno.errorcode[code]}"
    spool = stage.out.parents[1]
    wait_until(lambda: not list(spool.glob("m*")), 5, lambda: f"an empty spool: {os.listdir(spool)}")


@proves("file_refused")
def test_the_worker_left_no_file(stage: Stage) -> None:
    stage.replaces = True
    for call, part, code in THEIRS:
        stage.fail(call, part, code, 1)
        assert stage.send() == (250, "2.0.0"), errno.errorcode[code]
        assert stage.queued.pop() == MESSAGE
    stage.frontend.logged(r"file_refused.*worker=raw#1")


@pytest.mark.parametrize("code", [SHORT, errno.EINTR], ids=["short", "interrupted"])
def test_what_is_no_failure(stage: Stage, code: int) -> None:
    """A short or an interrupted call goes on, and nothing is missing; a file that stays is no matter."""
    stage.replaces = True
    for call, part in [("write", "/spool/mx1/m"), ("read", "/out/policy/clean")]:
        if call == "read" and code == SHORT:
            continue
        stage.fail(call, part, code, 5)
        assert stage.send() == (250, "2.0.0"), call
        assert stage.queued.pop() == CLEANED
    stage.fail("unlinkat", "clean", errno.EIO, 1)
    assert stage.send() == (250, "2.0.0")
    assert stage.queued.pop() == CLEANED


#: What accept(2) may say; of EINTR nothing is logged.
ACCEPT = [
    errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EPROTO,
    errno.EINTR, errno.EIO, errno.EINVAL, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
]  # fmt: skip


def test_accepting_goes_on(stage: Stage) -> None:
    """The client that could not be accepted waits in the backlog and is served all the same."""
    for code in ACCEPT:
        stage.fail("accept4", "tcp", code, 3)
        assert stage.send() == (250, "2.0.0"), errno.errorcode[code]
        stage.fail("accept4", "/pools/", code, 3)
        stage.server.python_worker(["help"], lambda event: "declined").close()
    wanted = "a connection could not be accepted"
    stage.frontend.logged(rf"{wanted}.*listener=")
    stage.frontend.logged(rf"{wanted}.*pool=")
    lines = [line for line in stage.frontend.log().splitlines() if wanted in line]
    assert len(lines) < len(ACCEPT), lines


def test_a_socket_that_cannot_be_bound_again_is_tried_again(stage: Stage) -> None:
    path = Path(stage.server.socket())
    stage.fail("bind", "/pools/", errno.EACCES, 2)
    path.unlink()
    stage.frontend.logged("a pool's socket cannot be bound again")
    wait_until(path.exists, 10, "the pool's socket")
    stage.server.python_worker(["help"], lambda event: "declined").close()
