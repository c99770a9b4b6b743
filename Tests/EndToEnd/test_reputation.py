"""What plugins remember of clients: in a file and in Redis, by several workers, and when the store is gone."""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from harness.gatepost import BINARIES, SLOWNESS, Gatepost
from harness.program import PATIENCE
from harness.redis import RedisServer, store_command
from harness.smtp import Reply
from harness.waiting import wait_until

MESSAGE = b"From: <bob@example.net>\r\nSubject: x\r\n\r\nhello\r\n"
JO = "jo:$y$j75$wl6egCHucJT/4Yi294r7n0$4uni3HZoZaedQuRF6Rbob8d4ECCS9yuaQg/oaONJQg9"


@contextlib.contextmanager
def server() -> Iterator[RedisServer]:
    redis = RedisServer()
    try:
        yield redis
    finally:
        redis.close()


def use(gatepost: Gatepost, url: str, timeout_ms: int = 10_000) -> None:
    gatepost.worker_toml(store={"url": url, "timeout_ms": timeout_ms})


def use_file(gatepost: Gatepost) -> None:
    use(gatepost, f"sqlite:{gatepost.folder}/state/gatepost.db")


def mail(gatepost: Gatepost, sender: str = "bob@example.net") -> Reply:
    """The reply to MAIL in a session of its own."""
    with gatepost.connect() as client:
        client.ehlo()
        reply = client.command(f"MAIL FROM:<{sender}>")
        client.quit()
    return reply


def command(gatepost: Gatepost, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", *words, "--config", gatepost.config], capture_output=True, text=True, timeout=30
    )


def test_a_client_is_refused_for_a_while_and_known_then(gatepost: Gatepost) -> None:
    use_file(gatepost)
    gatepost.plugins("greylisting black_timeout 1500ms", "rcpt_ok", "queue/maildir {mail}")
    gatepost.run()
    reply = mail(gatepost)
    assert (reply.code, reply.text) == (450, "4.7.1 This mail is temporarily denied")
    wait_until(lambda: mail(gatepost).code == 250, PATIENCE, "the client passes", 0.1)
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(MESSAGE)
        client.quit()
    listed = store_command(gatepost, "list", "--plugin", "greylisting").stdout
    assert "greylisting/ip=127.0.0.1" in listed and "in 35 d" in listed, listed
    assert store_command(gatepost, "forget", "greylisting/ip=127.0.0.1").returncode == 0
    assert mail(gatepost).code == 450


@pytest.mark.parametrize("kind", ["file", "redis"])
@pytest.mark.parametrize("burst", ["", " burst 7"])
def test_two_workers_count_together(gatepost: Gatepost, kind: str, burst: str) -> None:
    with server() as redis:
        if kind == "file":
            use_file(gatepost)
        else:
            use(gatepost, f"redis://127.0.0.1:{redis.port}")
        gatepost.control("limits", "connections per client 1000/1h", f"messages per client 7/31d{burst}")
        gatepost.plugins("limit", "rcpt_ok", "queue/maildir {mail}")
        frontend = gatepost.frontend(ready=False)
        workers = [gatepost.worker() for _ in range(2)]
        frontend.ready()
        codes: list[int] = []

        def client() -> None:
            codes.extend(mail(gatepost).code for _ in range(4))

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        assert sorted(codes) == [250] * 7 + [451] * 9
        # Each worker knows what the other counted.
        for worker in workers:
            worker.expects_exit = 0
        workers[0].stop()
        assert mail(gatepost).code == 451
        with gatepost.connect() as other:
            other.ehlo()
            reply = other.command("MAIL FROM:<bob@example.net>")
        assert reply.text == "4.7.0 Too many messages, try again later"


@pytest.mark.parametrize("kind", ["stopped", "dead"])
@pytest.mark.parametrize(
    ("policy", "reply"), [("decline", (250, "2.1.0")), ("tempfail", (451, "4.3.0"))]
)  # fmt: skip
def test_a_server_that_is_gone_holds_no_mail_up(
    gatepost: Gatepost, kind: str, policy: str, reply: tuple[int, str]
) -> None:
    with server() as redis:
        use(gatepost, f"redis://127.0.0.1:{redis.port}", timeout_ms=400)
        gatepost.plugins(
            f"greylisting black_timeout 0 on_store_failure {policy}",
            f'limit rule "messages per client 1000/1h" on_store_failure {policy}',
            "karma", "rcpt_ok", "queue/maildir {mail}",
        )  # fmt: skip
        _, worker = gatepost.run()
        wait_until(lambda: mail(gatepost).code == 250, PATIENCE, "the client is known", 0.1)
        assert redis.program is not None
        redis.program.signal(signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
        began = time.monotonic()
        answer = mail(gatepost)
        # karma, greylisting and limit wait for timeout_ms each at most.
        assert time.monotonic() - began < 3 * SLOWNESS
        assert (answer.code, answer.status) == reply
        worker.logged("store unavailable")
        if kind == "stopped":
            redis.program.signal(signal.SIGCONT)
        else:
            redis.program.abandon()
            redis.run()
        wait_until(lambda: mail(gatepost).code == 250, PATIENCE, "the store is used again", 0.1)


def test_a_naughty_client_may_log_in(gatepost: Gatepost) -> None:
    use_file(gatepost)
    gatepost.offer_auth()
    gatepost.pool["secrets"] = True
    gatepost.control("flat_auth_pw", JO)
    (gatepost.config / "flat_auth_pw").chmod(0o640)
    gatepost.control("hosts_allow", "127.0.0.1 DENY we know you")
    gatepost.control("badmailfrom", "bad@example.net")
    gatepost.plugins(
        "hosts_allow", "auth/auth_flat_file", "badmailfrom", "rcpt_ok", "delay_deny", "queue/maildir {mail}"
    )
    gatepost.run()
    token = base64.b64encode(b"\0jo\0secret").decode()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bad@example.net>", 250)
        reply = client.command("RCPT TO:<alice@example.com>", 550)
        assert "we know you" in reply.text and len(reply.lines) == 2, reply
        client.command("RSET", 250)
        client.command(f"AUTH PLAIN {token}", 235)
        client.deliver(MESSAGE)
        client.command("MAIL FROM:<bad@example.net>", 250)
        client.quit()


def test_a_bad_client_stays_away_until_it_is_released(gatepost: Gatepost) -> None:
    use_file(gatepost)
    gatepost.control("karma_tlds", "top:-5")
    gatepost.plugins("karma reject 1", "rcpt_ok", "queue/maildir {mail}")
    gatepost.run()
    assert mail(gatepost, "bob@example.top").code == 250

    def banner() -> int:
        with gatepost.connect() as client:
            return client.reply().code

    wait_until(lambda: banner() == 554, PATIENCE, "the client is refused", 0.05)
    done = command(gatepost, "karma", "search", "127.0.0.1")
    assert done.stdout.splitlines()[1].split() == ["127.0.0.1", "-1", "1", "0", "1", "0", "d", "ago", "1", "d", "left"]
    assert command(gatepost, "karma", "release", "127.0.0.1").returncode == 0
    assert banner() == 220


def test_errors_of_a_client_are_counted(gatepost: Gatepost) -> None:
    use_file(gatepost)
    gatepost.control("limits", "errors per client 3/1h  Too many errors from you")
    gatepost.plugins("limit", "rcpt_ok", "queue/maildir {mail}")
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        for _ in range(2):
            client.command("RCPT TO:<far@elsewhere.example>", 550)
        client.command("RCPT TO:nonsense", 501)
        client.quit()

    def banner() -> Reply:
        with gatepost.connect() as client:
            return client.reply()

    wait_until(lambda: banner().code == 421, PATIENCE, "the client is refused", 0.05)
    assert banner().text == "4.7.0 Too many errors from you"
