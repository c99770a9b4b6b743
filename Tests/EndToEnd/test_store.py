"""The store of plugins: one suite on each driver, several processes at once, servers that die, hang and lie."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import certificates
from harness.certificates import Certificate
from harness.gatepost import SLOWNESS, Gatepost
from harness.ports import free_port
from harness.program import PATIENCE
from harness.redis import RedisServer, StoreProcess, store_client, store_command, store_process
from harness.waiting import wait_until

PASSWORD = "s3cret:@/%"
#: In a URL.
ENCODED = "s3cret%3A%40%2F%25"


@contextlib.contextmanager
def server(*arguments: Any, **options: Any) -> Iterator[RedisServer]:
    redis = RedisServer(*arguments, **options)
    try:
        yield redis
    finally:
        redis.close()


def use(gatepost: Gatepost, url: str, **keys: Any) -> None:
    # Long where nothing is meant to be late: the machine may be slow.
    gatepost.worker_toml(store={"url": url, "timeout_ms": 10_000, **keys})


def use_redis(gatepost: Gatepost, redis: RedisServer, login: str = "", **keys: Any) -> None:
    use(gatepost, f"redis://{login}127.0.0.1:{redis.port}/0", **keys)


def use_file(gatepost: Gatepost) -> Path:
    path = gatepost.folder / "state" / "gatepost.db"
    use(gatepost, f"sqlite:{path}")
    return path


def check(gatepost: Gatepost) -> None:
    """Three processes run StoreCheck at once, each with keys of its own."""
    processes = [store_client(gatepost, "check") for _ in range(3)]
    for process in processes:
        output, _ = process.communicate(timeout=120 * SLOWNESS)
        lines = output.splitlines()
        assert process.returncode == 0 and len(lines) >= 18, output
        assert [line for line in lines if not line.startswith("ok ")] == []


def test_one_suite_on_a_file(gatepost: Gatepost) -> None:
    use_file(gatepost)
    check(gatepost)


def test_one_suite_on_redis(gatepost: Gatepost) -> None:
    with server() as redis:
        use_redis(gatepost, redis)
        check(gatepost)
        redis.command("SET", "foreign", "1")
        assert redis.command("GET", "foreign") == "1"
        assert "foreign" not in store_command(gatepost, "list").stdout


def test_one_suite_on_redis_without_hello(gatepost: Gatepost) -> None:
    """A server that speaks RESP2 alone."""
    with server(rename_command='HELLO ""', requirepass=f'"{PASSWORD}"') as redis:
        use_redis(gatepost, redis, f":{ENCODED}@")
        check(gatepost)


def test_one_suite_over_tls(gatepost: Gatepost) -> None:
    certificate = certificates.make(gatepost.folder, "localhost")
    secret = gatepost.folder / "secret"
    secret.write_text(PASSWORD + "\n")
    with server(certificate, user=f'me on ~* +@all ">{PASSWORD}"') as redis:
        use(
            gatepost, f"rediss://me@localhost:{redis.port}/3",
            password_file=str(secret), ca_file=str(certificate.chain),
        )
        check(gatepost)


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_processes_at_once_lose_nothing(gatepost: Gatepost, kind: str) -> None:
    with server() as redis:
        if kind == "file":
            use_file(gatepost)
        else:
            use_redis(gatepost, redis)
        counts = [store_client(gatepost, "add", "sum", "500") for _ in range(3)]
        counts += [store_client(gatepost, "append", "text", "50") for _ in range(3)]
        for process in counts:
            output, _ = process.communicate(timeout=120 * SLOWNESS)
            assert (process.returncode, output) == (0, "done\n"), output
        assert store_command(gatepost, "get", "sum").stdout.splitlines()[-1] == "value    1500"
        assert store_command(gatepost, "get", "text").stdout.splitlines()[-2] == "octets   150"


def test_a_process_that_is_killed_leaves_a_file_that_works(gatepost: Gatepost) -> None:
    use_file(gatepost)
    with store_process(gatepost) as survivor:
        assert survivor.call("add", "sum", "1") == "ok 1"
        for count in range(2, 6):
            process = store_client(gatepost, "add", "other", "1000000")
            with store_process(gatepost) as witness:
                # It is at work.
                start = witness.call("get", "other")
                witness_sees_more(witness, start)
            process.kill()
            process.communicate()
            assert survivor.call("add", "sum", "1") == f"ok {count}"


def witness_sees_more(witness: StoreProcess, start: str) -> None:
    wait_until(lambda: witness.call("get", "other") not in (start, "none"), PATIENCE, "more")


def test_a_server_that_dies_is_an_error_and_is_found_again(gatepost: Gatepost) -> None:
    with server() as redis:
        use_redis(gatepost, redis)
        with store_process(gatepost) as process:
            assert process.call("set", "a", "1") == "ok"
            assert redis.program is not None
            redis.program.kill()
            for _ in range(3):
                answer = process.call("get", "a")
                assert answer.startswith("error store unavailable: redis://127.0.0.1:"), answer
            assert "refused" in answer or "closed" in answer, answer
            redis.program.abandon()
            redis.run()
            process.becomes("none", "get", "a")
            # Scripts of before are unknown to it.
            assert process.call("add", "b", "2") == "ok 2"


def test_a_server_that_hangs_is_an_error_in_time(gatepost: Gatepost) -> None:
    with server() as redis:
        use_redis(gatepost, redis, timeout_ms=500)
        with store_process(gatepost) as process:
            process.becomes("ok", "set", "a", "1")
            assert redis.program is not None
            redis.program.signal(signal.SIGSTOP)
            # Callers that wait for less than timeout_ms, over and over.
            for _ in range(20):
                answer = process.call("hasty", "a")
                assert answer == "cancelled" or answer.startswith("error"), answer
            # The second of them on a connection that the kernel has taken, and nobody greets.
            for _ in range(3):
                answer = process.call("get", "a")
                assert answer.startswith("error store unavailable") and " no answer " in answer, answer
            redis.program.signal(signal.SIGCONT)
            process.becomes("ok 1", "get", "a")


def test_a_login_that_is_refused_is_an_error_without_the_password(gatepost: Gatepost) -> None:
    with server(requirepass=PASSWORD.replace("%", "")) as redis:
        for login, words in [(":wr0ng@", "WRONGPASS"), ("", "NOAUTH"), ("me:wr0ng@", "WRONGPASS")]:
            use_redis(gatepost, redis, login)
            with store_process(gatepost) as process:
                answer = process.call("get", "a")
            assert answer.startswith("error store unavailable") and words in answer and "wr0ng" not in answer, answer
        done = store_command(gatepost, "list")
        assert done.returncode == 69 and "WRONGPASS" in done.stderr and "wr0ng" not in done.stderr


def test_a_certificate_must_be_the_server_s(gatepost: Gatepost) -> None:
    ours, other = (certificates.make(gatepost.folder, name) for name in ("localhost", "elsewhere.example"))
    for certificate, authorities, words in [
        (ours, other, "CERTIFICATE_VERIFY_FAILED"),
        (other, other, "elsewhere.example"),
    ]:
        with server(certificate) as redis:
            use(gatepost, f"rediss://localhost:{redis.port}", ca_file=str(authorities.chain))
            with store_process(gatepost) as process:
                answer = process.call("get", "a")
            assert answer.startswith("error store unavailable"), answer
            assert "CERTIFICATE" in answer.upper() or words in answer, answer
    in_clear(gatepost, ours)


def in_clear(gatepost: Gatepost, certificate: Certificate) -> None:
    """A server without TLS gets no login."""
    with server() as redis:
        use(gatepost, f"rediss://:{ENCODED}@localhost:{redis.port}", ca_file=str(certificate.chain))
        with store_process(gatepost) as process:
            assert process.call("get", "a").startswith("error store unavailable")


def test_a_full_server_and_a_replica_say_so(gatepost: Gatepost) -> None:
    with server(maxmemory=1, maxmemory_policy="noeviction") as redis:
        use_redis(gatepost, redis)
        with store_process(gatepost) as process:
            for call in (("set", "a", "1"), ("add", "a", "1")):
                answer = process.call(*call)
                assert answer.startswith("error store full") and "OOM" in answer, answer
            assert process.call("get", "a") == "none"
    with server(replicaof=f"127.0.0.1 {free_port()}") as redis:
        use_redis(gatepost, redis)
        with store_process(gatepost) as process:
            assert process.call("get", "a") == "none"
            answer = process.call("add", "a", "1")
            assert answer.startswith("error store unavailable") and "READONLY" in answer, answer
            redis.command("REPLICAOF", "NO", "ONE")
            process.becomes("ok 1", "add", "a", "1")


class Pretender:
    """A server that answers each connection with the same octets, a few at a time."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.clients.append(client)
                client.recv(65_536)
                for octet in self.octets:
                    client.sendall(bytes([octet]))

    def __enter__(self) -> Pretender:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()
        for client in self.clients:
            client.close()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what the server sends is not understood"),
        (b"%0\r\n$99999999999\r\n", "a string has the length 99999999999"),
        (b"%0\r\n:1\r\n", ""),
        (b"%0\r\n*2\r\n:1\r\n:2\r\n", "the server's reply makes no sense"),
        (b"%0\r\n-LOADING Redis is loading the dataset in memory\r\n", "LOADING Redis is loading"),
        (b"%0\r\n-MOVED 3999 127.0.0.1:6381\r\n", "MOVED 3999 127.0.0.1:6381"),
        (b"-ERR max number of clients reached\r\n", "max number of clients reached"),
        (b"%0\r\n$5\r\nab", "no answer"),
        (b"+OK\r\n", "the answer to the greeting makes no sense"),
        (b"", "no answer"),
    ],
)
def test_a_server_that_lies_or_is_silent_is_an_error(gatepost: Gatepost, octets: bytes, words: str) -> None:
    with Pretender(octets) as pretender:
        use(gatepost, f"redis://127.0.0.1:{pretender.port}", timeout_ms=400 if "no answer" in words else 10_000)
        with store_process(gatepost) as process:
            answer = process.call("get", "a")
            assert answer.startswith("error store unavailable") and words in answer, answer
            assert process.call("get", "a").startswith("error store unavailable")


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_entries_are_listed_shown_and_forgotten(gatepost: Gatepost, kind: str) -> None:
    with server() as redis:
        if kind == "file":
            path = use_file(gatepost)
            assert store_command(gatepost, "list").stdout == "nothing is stored\n"
            assert not path.exists()
        else:
            use_redis(gatepost, redis)
            assert store_command(gatepost, "list").stdout == "nothing is stored\n"
        with store_process(gatepost) as process:
            for key, value in [("limit/a", "1"), ("limit/b\\é", "long" * 40), ("other/a", "3")]:
                assert process.call("set", key, value) == "ok"
        done = store_command(gatepost, "list")
        assert done.returncode == 0, done.stderr
        titles, *rows = done.stdout.splitlines()
        assert titles.split() == ["KEY", "EXPIRES", "OCTETS", "VALUE"]
        assert [(row.split()[0], row.split()[-2]) for row in rows] == [
            ("limit/a", "1"), ("limit/b\\x5c\\xc3\\xa9", "160"), ("other/a", "1"),
        ]  # fmt: skip
        assert rows[1].endswith("…") and len(rows[1]) < 120 and " in 9 min " in rows[0]
        assert len(store_command(gatepost, "list", "--plugin", "limit").stdout.splitlines()) == 3
        assert len(store_command(gatepost, "list", "--prefix", "oth").stdout.splitlines()) == 2
        done = store_command(gatepost, "list", "--limit", "2")
        assert len(done.stdout.splitlines()) == 3 and "more than 2 entries" in done.stderr
        done = store_command(gatepost, "get", "limit/b\\x5c\\xc3\\xa9")
        assert done.returncode == 0
        assert done.stdout.splitlines()[2:] == ["octets   160", f"value    {'long' * 40}"]
        done = store_command(gatepost, "forget", "limit/a", "none", "limit/b\\x5c\\xc3\\xa9")
        assert done.returncode == 1
        assert done.stdout.splitlines() == ["forgotten: limit/a", "forgotten: limit/b\\x5c\\xc3\\xa9"]
        assert done.stderr == "gatepost store: none is not there\n"
        assert store_command(gatepost, "forget", "other/a").returncode == 0
        done = store_command(gatepost, "get", "limit/a")
        assert (done.returncode, done.stderr) == (1, "gatepost store: limit/a is not there\n")
        assert store_command(gatepost, "get", "a\\b").returncode == 64
        assert store_command(gatepost, "list", "--limit", "0").returncode == 64


def test_a_store_in_memory_is_explained(gatepost: Gatepost) -> None:
    use(gatepost, "memory:")
    for words in (["list"], ["get", "a"], ["forget", "a"]):
        done = store_command(gatepost, *words)
        assert done.returncode == 69 and "in the memory of each worker" in done.stderr


def test_mistakes_and_failures_have_their_exit_codes(gatepost: Gatepost) -> None:
    use(gatepost, "mysql://x")
    done = store_command(gatepost, "list")
    assert done.returncode == 78 and "store.url" in done.stderr
    use(gatepost, f"redis://127.0.0.1:{free_port()}")
    done = store_command(gatepost, "list")
    assert done.returncode == 69 and done.stderr.startswith("gatepost store: "), done.stderr
    path = use_file(gatepost)
    path.parent.mkdir()
    path.write_text("this is no database, " * 100)
    done = store_command(gatepost, "list")
    assert done.returncode == 69 and "file is not a database" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_the_command_works_as_the_worker_s_user(gatepost: Gatepost) -> None:
    path = use_file(gatepost)
    with store_process(gatepost) as process:
        assert process.call("set", "a", "1") == "ok"
    gatepost.folder.chmod(0o755)
    # Another user may not even look into the folder.
    done = store_command(gatepost, "list", through=("setpriv", "--reuid", "65534", "--clear-groups"))
    assert done.returncode == 69 and "run this as the worker's user" in done.stderr, done.stderr
    for each in (path.parent, *path.parent.iterdir()):
        os.chown(each, 65534, -1)
    done = store_command(gatepost, "list")
    assert done.returncode == 69 and "belongs to user nobody; run this as that user" in done.stderr
    table = {"url": f"sqlite:{path}"}
    gatepost.worker_toml(user="nobody", store=table)
    done = store_command(gatepost, "get", "a")
    assert done.returncode == 0, done.stderr
    for each in path.parent.iterdir():
        assert each.stat().st_uid == 65534


def test_a_plugin_counts_across_workers(gatepost: Gatepost) -> None:
    """Tests/FaultyWorker has a plugin that counts hellos in the store."""
    use_file(gatepost)
    gatepost.plugins("counting", "faulty")
    frontend = gatepost.frontend(ready=False)
    workers = [gatepost.start("FaultyWorker", "--config", gatepost.config) for _ in range(2)]
    for worker in workers:
        worker.ready()
    frontend.ready()
    for _ in range(6):
        with gatepost.connect() as client:
            client.ehlo()
            client.quit()
    done = store_command(gatepost, "get", "counting/127.0.0.1")
    assert done.stdout.splitlines()[-1] == "value    6", done.stderr


def test_a_worker_starts_without_its_store(gatepost: Gatepost) -> None:
    path = use_file(gatepost)
    path.parent.mkdir()
    path.mkdir()
    gatepost.plugins("counting", "faulty")
    frontend = gatepost.frontend(ready=False)
    worker = gatepost.start("FaultyWorker", "--config", gatepost.config)
    worker.ready()
    worker.logged("the store cannot be used yet")
    frontend.ready()
    with gatepost.connect() as client:
        # The plugin's own decision.
        client.expect(220)
        client.command("EHLO x", 450)
        path.rmdir()

    def is_served() -> bool:
        with gatepost.connect() as client:
            client.expect(220)
            client.send(b"EHLO x\r\n")
            return client.reply().code == 250

    wait_until(is_served, PATIENCE, "the store is used again", 0.2)


def test_check_names_what_is_wrong_with_a_store(gatepost: Gatepost) -> None:
    gatepost.plugins("counting", "faulty")
    use(gatepost, "rediss://127.0.0.1", ca_file=str(gatepost.folder / "none.pem"))
    worker = gatepost.start("FaultyWorker", "--config", gatepost.config, "--check")
    worker.expects_exit = 78
    assert worker.exit_code() == 78
    assert "worker.toml: store.ca_file: " in worker.log() and "No such file" in worker.log()
    use_file(gatepost)
    worker = gatepost.start("FaultyWorker", "--config", gatepost.config, "--check")
    assert worker.exit_code() == 0
    assert not (gatepost.folder / "state").exists()
