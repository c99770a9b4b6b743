"""A frontend with several event loops is one frontend: for clients, for workers, for its operator."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until
from harness.wire import Die, Handler, Message, Worker, accepting

LOOPS = 3
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def gatepost(make_gatepost: type[Gatepost]) -> Gatepost:
    return make_gatepost(event_loops=LOOPS)


def socket_name(loop: int) -> str:
    return "mx1" if loop == 0 else f"mx1@{loop + 1}"


def join(gatepost: Gatepost, loop: int, handler: Handler, **fields: object) -> Worker:
    return Worker(
        gatepost.socket(id=socket_name(loop)),
        {"rcpt": {}, "data_post": {}, "queue": {}},
        handler,
        pool="policy",
        **fields,
    )


@contextlib.contextmanager
def everywhere(gatepost: Gatepost) -> Iterator[list[Worker]]:
    """A worker that is connected to every loop, each connection by itself."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(join(gatepost, loop, accepting(data_post="declined"))) for loop in range(LOOPS)
        ]


def deliver(client: Dialogue) -> None:
    client.ehlo()
    client.deliver(MESSAGE)
    client.quit()


def test_clients_go_to_the_loops_in_turn(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend()
    assert gatepost.sockets() == sorted(gatepost.socket(id=socket_name(loop)) for loop in range(LOOPS))
    with everywhere(gatepost) as workers:
        for _ in range(2 * LOOPS):
            with gatepost.connect() as client:
                deliver(client)
        assert [worker.hooks_seen().count("queue") for worker in workers] == [2, 2, 2]
        assert [worker.welcome["connection"] for worker in workers] == ["w1", "w2", "w3"]
    frontend.stop()
    assert gatepost.sockets() == []


@pytest.mark.parametrize("loop", range(LOOPS))
def test_a_worker_of_one_loop_gets_all_clients(gatepost: Gatepost, loop: int) -> None:
    """As a worker that looks for new sockets once a second, or one that dials the first only."""
    gatepost.pool["minimum_workers"] = 1
    frontend = gatepost.frontend(ready=False)
    with join(gatepost, loop, accepting(data_post="declined")) as worker:
        frontend.ready()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(gatepost.connect()) for _ in range(2 * LOOPS)]
            for client in clients:
                deliver(client)
        assert worker.hooks_seen().count("queue") == 2 * LOOPS


def test_limits_count_the_sessions_of_all_loops(gatepost: Gatepost) -> None:
    gatepost.limits(max_sessions=LOOPS + 1)
    gatepost.frontend()
    with everywhere(gatepost), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect()) for _ in range(LOOPS + 1)]
        for client in clients:
            client.ehlo()
        for _ in range(LOOPS):
            with gatepost.connect() as refused:
                refused.expect(421)
        clients[0].quit()
        with gatepost.connect() as client:
            client.ehlo()


def test_the_queue_of_a_pool_is_as_long_as_it_is_with_one_loop(gatepost: Gatepost) -> None:
    """`queue_limit` is shared among the loops that have clients."""
    gatepost.pool["queue_limit"] = LOOPS + 1
    frontend = gatepost.frontend()
    answers: Handler = lambda event: None
    with contextlib.ExitStack() as stack:
        for loop in range(LOOPS):
            stack.enter_context(join(gatepost, loop, answers, concurrency=1))
        # One with each worker, LOOPS + 1 that wait: the next are refused on every loop.
        clients = [stack.enter_context(gatepost.connect()) for _ in range(5 * LOOPS)]
        for client in clients:
            client.ehlo()
            client.command("MAIL FROM:<a@example.net>", 250)
        for client in clients:
            client.send(b"RCPT TO:<b@example.com>\r\n")
        refused = 5 * LOOPS - LOOPS - (LOOPS + 1)
        wait_until(
            lambda: frontend.log().count("policy failed failure=queue_full") == refused,
            10,
            f"{refused} questions that find the queue full",
        )


def test_poison_is_remembered_by_all_loops(gatepost: Gatepost) -> None:
    """The client's attempts come to different loops; two workers die of the message, and no third."""
    frontend = gatepost.frontend()
    deaths: list[int] = []

    def dying(loop: int) -> Handler:
        def answer(event: Message) -> str:
            if event["hook"] == "data_post":
                deaths.append(loop)
                raise Die
            return "ok"

        return answer

    with contextlib.ExitStack() as stack:
        # One worker a loop: the question is not asked again on the same loop.
        for loop in range(LOOPS):
            stack.enter_context(join(gatepost, loop, dying(loop), worker={"name": f"w{loop}"}))
        clients = [stack.enter_context(gatepost.connect()) for _ in range(LOOPS)]
        for client in clients:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
            client.send(MESSAGE + b".\r\n")
            client.expect(451)
            if len(deaths) == 1:
                frontend.logged("a worker was lost")
    assert len(deaths) == 2, deaths
    frontend.logged("poison: two workers died")
    frontend.logged("failure=poison")


def test_workers_are_shown_once(gatepost: Gatepost) -> None:
    """A worker that is connected to all loops is one worker in `status`, with the counts of all."""
    gatepost.run()
    wait_until(
        lambda: gatepost.programs[1].log().count("serving") == LOOPS, 10, "a worker that serves every loop"
    )
    for _ in range(LOOPS):
        with gatepost.connect() as client:
            deliver(client)
    shown = subprocess.run(
        [BINARIES / "gatepost", "workers", "--json", "--config", gatepost.config],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    status = json.loads(shown.stdout)
    assert status["frontend"] == "mx1"
    assert status["sessions"] == {"open": 0, "opened": LOOPS}
    pool = status["pools"][0]
    assert [worker["name"] for worker in pool["workers"]] == ["gatepost-worker"]
    assert pool["workers"][0]["served"] == pool["served"] >= 2 * LOOPS


def test_one_hangup_reloads_all_loops_and_one_term_ends_them(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend()
    with everywhere(gatepost), contextlib.ExitStack() as stack:
        gatepost.limits(max_noop=1)
        gatepost.write_frontend_toml()
        frontend.signal(signal.SIGHUP)
        frontend.logged("reloaded")
        clients = [stack.enter_context(gatepost.connect()) for _ in range(LOOPS)]
        for client in clients:
            client.ehlo()
            client.command("NOOP", 250)
            client.command("NOOP", 421)
        busy = [stack.enter_context(gatepost.connect()) for _ in range(LOOPS)]
        for client in busy:
            client.ehlo()
            client.envelope()
            client.command("DATA", 354)
        frontend.signal(signal.SIGTERM)
        frontend.logged("stopping")
        for client in busy:
            client.send(MESSAGE + b".\r\n")
            client.expect(250)
            client.expect(421)
    assert frontend.stop() == 0
    assert frontend.log().count("reloaded") == 1 and frontend.log().count(" stopped") == 1


def test_sockets_of_more_loops_are_removed_at_the_next_start(gatepost: Gatepost) -> None:
    frontend = gatepost.frontend()
    frontend.kill()
    frontend.exit_code()
    assert len(gatepost.sockets()) == LOOPS
    gatepost.frontend_toml["event_loops"] = 1
    gatepost.frontend()
    assert gatepost.sockets() == [gatepost.socket()]
