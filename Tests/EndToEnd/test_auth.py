"""AUTH, by real clients and by raw sockets: what policy gets, what the client gets, and where no secret may stand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import certificates
from harness.gatepost import Gatepost
from harness.waiting import wait_until
from harness.wire import Die, Worker, accepting

MESSAGE = b"From: <bob@example.net>\r\nSubject: hello\r\n\r\nhello\r\n"
PASSWORD = "open sesame"
ACCEPTING = accepting()
MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5"]
HOOKS = {
    **{hook: {} for hook in ("auth", "mail", "rcpt", "queue", "deny", "ok")},
    "data_post": {"needs": ["headers"]},
}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def check(event: dict[str, Any]) -> str:
    """Lets jo in who has the password, and takes all mail of a session that authenticated."""
    if event["hook"] != "auth":
        return ACCEPTING(event) if event["session"]["relay"] else "deny"
    args = event["args"]
    if "password" in args:
        proof = args["password"] == PASSWORD
    else:
        digest = hmac.new(PASSWORD.encode(), args["challenge"].encode(), hashlib.md5)
        proof = args["response"] == digest.hexdigest()
    return "ok" if args["user"] == "jo" and proof else "declined"


@pytest.fixture
def served(gatepost: Gatepost) -> Gatepost:
    gatepost.listener["tls"] = "starttls"
    gatepost.listener["auth"] = MECHANISMS
    gatepost.listener["require_auth"] = True
    certificate = certificates.make(gatepost.folder, "first", "localhost")
    gatepost.frontend_toml["tls"] = {"certificate": [certificate.toml]}
    gatepost.limits(auth_failure_delay_ms=1)
    return gatepost


def tls_context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


@contextlib.contextmanager
def served_by_worker(gatepost: Gatepost) -> Iterator[Worker]:
    """A frontend whose one worker answers by `check`."""
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(HOOKS, check) as worker:
        frontend.ready()
        yield worker


def connected(gatepost: Gatepost) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20)
    client.ehlo()
    return client


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_swaks(served: Gatepost, mechanism: str) -> None:
    with served_by_worker(served) as worker:
        for password, code in ((PASSWORD, 0), ("wrong", 28)):
            run = subprocess.run(
                ["swaks", "--server", f"127.0.0.1:{served.port}", "--tls", "--from", "bob@example.net",
                 "--to", "alice@example.com", "--auth", mechanism, "--auth-user", "jo",
                 "--auth-password", password],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert run.returncode == code, run.stdout + run.stderr
        mail = next(event for event in worker.events if event["hook"] == "mail")
        assert mail["session"]["auth"] == {"mechanism": mechanism, "user": "jo"}
        assert mail["session"]["relay"] is True
    no_secrets(served, worker)


def test_swaks_without_tls_is_refused(served: Gatepost) -> None:
    with served_by_worker(served):
        run = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{served.port}", "--from", "bob@example.net",
             "--to", "alice@example.com", "--auth", "PLAIN", "--auth-user", "jo", "--auth-password", PASSWORD],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert run.returncode == 28, run.stdout
        with connected(served) as client:
            assert not client.has_extn("auth")
            assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}"))[0] == 538
            assert client.docmd("MAIL", "FROM:<a@b.example>")[0] == 530


def test_curl(served: Gatepost) -> None:
    message = served.folder / "message"
    message.write_bytes(MESSAGE)
    with served_by_worker(served):
        for password, code in ((PASSWORD, 0), ("wrong", 67)):
            run = subprocess.run(
                ["curl", "-sS", "-k", "--ssl-reqd", f"smtp://127.0.0.1:{served.port}", "--user", f"jo:{password}",
                 "--mail-from", "bob@example.net", "--mail-rcpt", "alice@example.com", "-T", str(message)],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert run.returncode == code, run.stderr


def test_the_received_field_says_that_the_client_authenticated(served: Gatepost) -> None:
    served.frontend_toml["listener"][0]["require_auth"] = False
    with served_by_worker(served) as worker:
        with connected(served) as client:
            client.starttls(context=tls_context())
            client.login("jo", PASSWORD)
            client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE)
        post = next(event for event in worker.events if event["hook"] == "data_post")
        received = post["transaction"]["headers"][0]
        assert received["name"] == "Received" and " with ESMTPSA id " in received["value"]


def test_failures_close_the_session_and_then_shut_out_the_address(served: Gatepost) -> None:
    served.limits(auth_failure_delay_ms=1, max_auth_failures=2, max_auth_failures_per_ip=3)
    with served_by_worker(served) as worker:
        wrong = "PLAIN " + b64("\0jo\0no")
        with connected(served) as client:
            client.starttls(context=tls_context())
            client.ehlo()
            assert [client.docmd("AUTH", wrong)[0] for _ in range(3)] == [535, 535, 421]
        seen = [event for event in worker.events if event["hook"] == "auth"]
        assert [event["session"]["counters"].get("auth_failed", 0) for event in seen] == [0, 1]
        with connected(served) as client:
            client.starttls(context=tls_context())
            client.ehlo()
            assert client.docmd("AUTH", wrong)[0] == 535
            # The right password is not even asked about.
            assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}"))[0] == 421
        assert len([event for event in worker.events if event["hook"] == "auth"]) == 3


def test_failures_shut_out_a_user_whatever_the_address(served: Gatepost) -> None:
    """Sessions that each fail once: plugins see the counts, and after two failures the user is not asked about."""
    served.limits(auth_failure_delay_ms=1, max_auth_failures_per_user=2)
    with served_by_worker(served) as worker:
        for user, password, code in (
            ("jo", "no", 535), ("JO", "no", 535), ("jo", PASSWORD, 454), ("Jo", "no", 454), ("al", "no", 535),
        ):  # fmt: skip
            with connected(served) as client:
                client.starttls(context=tls_context())
                client.ehlo()
                assert client.docmd("AUTH", "PLAIN " + b64(f"\0{user}\0{password}"))[0] == code
                assert client.docmd("NOOP")[0] == 250
        asked = [event["args"] for event in worker.events if event["hook"] == "auth"]
        assert [(args["user"], args.get("failed")) for args in asked] == [
            ("jo", None), ("JO", {"address": 1, "user": 1}), ("al", {"address": 2, "user": 0}),
        ]  # fmt: skip
        told = worker.notifications
        shut_out = [event for event in (told.get_nowait() for _ in range(told.qsize())) if event["hook"] == "deny"]
        assert shut_out[1]["args"]["args"]["failed"] == {"address": 1, "user": 1}


def test_no_secret_is_logged_or_told(served: Gatepost) -> None:
    served.frontend_toml["log_level"] = "trace"
    with served_by_worker(served) as worker:
        with connected(served) as client:
            client.starttls(context=tls_context())
            client.ehlo()
            assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}x"))[0] == 535
            # A response that would be logged if it were a command: it begins with a verb.
            assert client.docmd("AUTH", "LOGIN")[0] == 334
            assert client.docmd("RCPTc2VzYW1lIQ")[0] == 501
            client.login("jo", PASSWORD)
            client.docmd("MAIL", "FROM:<a@b.example>")
    no_secrets(served, worker)
    assert "RCPTc2VzYW1lIQ" not in served.logs()


def test_auth_without_tls(gatepost: Gatepost) -> None:
    """Only where the operator wants it: then AUTH is offered and taken in clear text."""
    gatepost.listener.update(auth=["PLAIN"], auth_without_tls=True)
    with served_by_worker(gatepost) as worker:
        with connected(gatepost) as client:
            assert client.esmtp_features["auth"].split() == ["PLAIN"]
            client.login("jo", PASSWORD)
            client.sendmail("bob@example.net", ["far@elsewhere.example"], MESSAGE)
        mail = next(event for event in worker.events if event["hook"] == "mail")
        assert mail["session"]["tls"] is None and mail["session"]["auth"]["user"] == "jo"
        post = next(event for event in worker.events if event["hook"] == "data_post")
        assert " with ESMTPA id " in post["transaction"]["headers"][0]["value"]
    no_secrets(gatepost, worker)


def test_poison_at_auth_is_kept_without_the_password(gatepost: Gatepost) -> None:
    """Two workers die of one login: the evidence names the user, and proves nothing."""
    gatepost.listener.update(auth=["PLAIN", "CRAM-MD5"], auth_without_tls=True)
    gatepost.frontend_toml["log_level"] = "trace"
    frontend = gatepost.frontend()
    asked: list[dict[str, Any]] = []

    def die(event: dict[str, Any]) -> str:
        asked.append(event)
        raise Die

    names = ("first", "second", "third")
    hooks = {"auth": {"idempotent": True}}
    workers = [gatepost.python_worker(hooks, die, worker={"name": name, "pid": 1}) for name in names]
    with connected(gatepost) as client:
        assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}"))[0] == 454
    assert [event["args"]["password"] for event in asked] == [PASSWORD] * 2
    frontend.logged("poison")
    folder = Path(gatepost.frontend_toml["spool_directory"]) / "poison"
    kept = wait_until(lambda: sorted(folder.glob("*.json")), 10, "the event is kept")
    text = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert len(kept) == 1 and '"user":"jo"' in text and '"hook":"auth"' in text
    for secret in (PASSWORD, b64(PASSWORD), '"password"', '"challenge"', '"response"'):
        assert secret not in text and secret not in gatepost.logs()
    for worker in workers:
        worker.close()


def test_a_shadow_beside_auth_gets_no_password(gatepost: Gatepost) -> None:
    """A shadow, and a pool without `secrets`, see that a client logged in; what proved it they never see."""
    gatepost.listener.update(auth=["PLAIN"], auth_without_tls=True)
    gatepost.limits(auth_failure_delay_ms=1)
    gatepost.frontend_toml["pool"] = [
        {"name": "policy", "secrets": True},
        {"name": "other", "minimum_workers": 0},
        {"name": "next", "shadow_of": "policy", "minimum_workers": 0},
    ]
    frontend = gatepost.frontend(ready=False)
    with (
        gatepost.python_worker(HOOKS, check) as policy,
        gatepost.python_worker(HOOKS, check, pool="other") as other,
        gatepost.python_worker(HOOKS, check, pool="next") as shadow,
    ):
        frontend.ready()
        for worker in (other, shadow):
            frontend.logged(rf"a worker is ready.*pool={'other' if worker is other else 'next'}")
        with connected(gatepost) as client:
            assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}x"))[0] == 535
            assert client.docmd("AUTH", "PLAIN " + b64(f"\0jo\0{PASSWORD}"))[0] == 235
            assert client.docmd("MAIL", "FROM:<a@b.example>")[0] == 250
        assert shadow.saw("mail")["session"]["auth"] == {"mechanism": "PLAIN", "user": "jo"}
        assert [event["hook"] for event in policy.events].count("auth") == 2
        for worker in (other, shadow):
            assert "auth" not in worker.hooks_seen()
            told = [worker.notifications.get_nowait() for _ in range(worker.notifications.qsize())]
            assert PASSWORD not in repr(worker.events) + repr(told)
    no_secrets(gatepost, policy)


TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def check_token(event: dict[str, Any]) -> Any:
    """Lets jo in by a token; another one is refused in two steps (RFC 7628 §3.2.3)."""
    if event["hook"] != "auth":
        return check(event)
    args = event["args"]
    if args["step"] == 1 and f"\x01auth=Bearer {TOKEN}\x01" in args["response"]:
        return "ok" if args["user"] == "jo" else "deny"
    if args["step"] == 1:
        said = {"status": "invalid_token", "schemes": "bearer", "scope": "mail"}
        action = {"op": "auth.challenge", "challenge": json.dumps(said), "state": "refused"}
        return {"verdict": "done", "actions": [action]}
    assert args["state"] == "refused"
    return "deny"


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_curl_with_a_token(served: Gatepost, mechanism: str) -> None:
    message = served.folder / "message"
    message.write_bytes(MESSAGE)
    served.listener["auth"] = [mechanism]
    frontend = served.frontend(ready=False)
    with served.python_worker(HOOKS, check_token) as worker:
        frontend.ready()
        for token, code in ((TOKEN, 0), ("wrong", 67)):
            run = subprocess.run(
                ["curl", "-sSv", "-k", "--ssl-reqd", f"smtp://127.0.0.1:{served.port}", "--user", "jo:",
                 "--oauth2-bearer", token, "--mail-from", "bob@example.net",
                 "--mail-rcpt", "alice@example.com", "-T", str(message)],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert run.returncode == code, run.stderr
            assert f"AUTH {mechanism}" in run.stderr
            # curl answers the challenge of OAUTHBEARER alone; at that of XOAUTH2 it leaves.
            assert (" 535 5.7.8 " in run.stderr) == (code != 0 and mechanism == "OAUTHBEARER")
        asked = [event["args"] for event in worker.events if event["hook"] == "auth"]
        steps = [1, 1, 2] if mechanism == "OAUTHBEARER" else [1, 1]
        assert [args["step"] for args in asked] == steps and {args["user"] for args in asked} == {"jo"}
        told = [worker.notifications.get_nowait() for _ in range(worker.notifications.qsize())]
        for secret in (TOKEN, "auth=Bearer", "invalid_token", b64(TOKEN)):
            assert secret not in repr(told) + served.logs()


def in_steps(event: dict[str, Any]) -> dict[str, Any]:
    """Two challenges; each answer is checked by what came back as `state`."""
    args = event["args"]

    def challenge(text: str, state: str) -> dict[str, Any]:
        return {"verdict": "done", "actions": [{"op": "auth.challenge", "challenge": text, "state": state}]}

    seen = (args["step"], args["response"], args.get("state"))
    if seen == (1, "n,,n=jo,r=mine", None):
        return challenge("salt", "the first was right")
    if seen == (2, "sesame", "the first was right"):
        return challenge("proof of ours", "the second was right")
    return {"verdict": "ok" if seen == (3, "", "the second was right") else "deny"}


def test_a_login_of_several_steps_at_several_workers(gatepost: Gatepost) -> None:
    """Each step goes to whichever worker has room, and no step is seen but by the worker that is asked."""
    gatepost.listener.update(auth=["SCRAM-SHA-256"], auth_without_tls=True)
    gatepost.limits(auth_failure_delay_ms=1)
    frontend = gatepost.frontend(ready=False)
    names = ("first", "second")
    hooks = {"auth": {}, "ok": {}, "deny": {}}
    workers = [gatepost.python_worker(hooks, in_steps, worker={"name": name, "pid": 1}) for name in names]
    frontend.ready()
    first = "SCRAM-SHA-256 " + b64("n,,n=jo,r=mine")
    with connected(gatepost) as client:
        assert client.docmd("AUTH", first) == (334, b64("salt").encode())
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH", first)[0] == 334
        assert client.docmd(b64("wrong"))[0] == 535
        assert client.docmd("AUTH", first)[0] == 334
        assert client.docmd("no base64")[0] == 501
        assert client.docmd("AUTH", first)[0] == 334
        assert client.docmd(b64("sesame")) == (334, b64("proof of ours").encode())
        assert client.docmd("")[0] == 235
        assert client.docmd("AUTH", first)[0] == 503
    asked = [event["args"]["step"] for worker in workers for event in worker.events if event["hook"] == "auth"]
    assert sorted(asked) == [1, 1, 1, 1, 2, 2, 3]
    told = [worker.notifications.get_nowait() for worker in workers for _ in range(worker.notifications.qsize())]
    assert {event["hook"] for event in told} == {"ok", "deny"}
    assert all(event["args"]["args"]["user"] == "jo" for event in told if event["args"]["hook"] == "auth")
    for secret in ("r=mine", "sesame", "salt", "was right", "proof of ours", b64("sesame"), b64("salt")):
        assert secret not in repr(told) + gatepost.logs()
    for worker in workers:
        worker.close()


def no_secrets(gatepost: Gatepost, worker: Worker) -> None:
    logs = gatepost.logs()
    for secret in (PASSWORD, b64(f"\0jo\0{PASSWORD}"), b64(f"\0jo\0{PASSWORD}x"), b64(PASSWORD)):
        assert secret not in logs
    told = [worker.notifications.get_nowait() for _ in range(worker.notifications.qsize())]
    assert any(event["args"]["hook"] == "auth" for event in told)
    for event in told:
        assert not {"password", "challenge", "response"} & set(event["args"]["args"])
