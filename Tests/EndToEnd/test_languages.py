"""The same policy in every language that has an SDK, each beside the real frontend (sdk/*/examples/policy.*)."""

from __future__ import annotations

import shutil
import signal
import sys

import pytest

from harness.gatepost import ROOT, Gatepost
from harness.program import Program

#: The command that runs each policy. A row is one SDK.
LANGUAGES: dict[str, list[str]] = {
    "python": [sys.executable, "-u", "sdk/python/examples/policy.py"],
    "javascript": ["node", "sdk/javascript/examples/policy.js"],
    "perl": ["perl", "-Isdk/perl/lib", "sdk/perl/examples/policy.pl"],
    "c": ["bash", "-c", 'b=$GATEPOST_RUNTIME_DIRECTORY-c; make -s -C sdk/c "BUILD=$b" "$b/policy" && exec "$b/policy"'],
    "ruby": ["ruby", "-Isdk/ruby/lib", "sdk/ruby/examples/policy.rb"],
    "shell": ["dash", "sdk/shell/examples/policy.sh"],
    "go": [str(ROOT / "sdk/go/examples/run"), "policy"],
}
POOL = "language"


def start_policy(gatepost: Gatepost, language: str) -> Program:
    """The policy of this language, connected to the frontend, with a greylist that lets a second attempt pass."""
    program, *arguments = LANGUAGES[language]
    assert shutil.which(program), f"{program} is missing: see scripts/packages"
    started = Program(
        f"{language}-policy",
        [program, *arguments],
        gatepost.folder / f"{language}-policy.log",
        {
            "GATEPOST_RUNTIME_DIRECTORY": str(gatepost.folder / "run"),
            "GATEPOST_POOL": POOL,
            "GATEPOST_GREYLIST_SECONDS": "0",
            "PYTHONPATH": str(ROOT / "sdk/python"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=ROOT,
    )
    gatepost.programs.append(started)
    return started


@pytest.fixture(params=list(LANGUAGES))
def policy(request: pytest.FixtureRequest, gatepost: Gatepost) -> tuple[Gatepost, Program, str]:
    """Pool `language` with one policy, then pool `policy`, whose Swift worker takes recipients and delivers."""
    gatepost.frontend_toml["pool"] = [
        {"name": POOL, "minimum_workers": 1, "grace_ms": 20_000},
        {"name": "policy", "minimum_workers": 1},
    ]
    frontend = gatepost.frontend(ready=False)
    gatepost.worker("policy")
    started = start_policy(gatepost, request.param)
    frontend.ready()  # two workers are there: this one and the policy
    return gatepost, started, request.param


def test_it_decides_about_recipients(policy: tuple[Gatepost, Program, str]) -> None:
    gatepost, _, _ = policy
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        left = client.command("RCPT TO:<EVE@example.com>", 550)
        assert (left.status, "eve has left" in left.text) == ("5.1.6", True), str(left)
        first = client.command("RCPT TO:<alice@example.com>", 450)
        assert (first.status, "Greylisted, come back later" in first.text) == ("4.7.1", True), str(first)
        client.command("RCPT TO:<alice@example.com>", 250)
        client.command("RCPT TO:<carol@example.com>", 450)
        client.quit()


def test_a_recipient_is_replaced_and_the_message_is_marked(policy: tuple[Gatepost, Program, str]) -> None:
    gatepost, _, language = policy
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<old@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()
    delivered = gatepost.maildir.only()
    assert delivered.header("X-Policy") == [language.encode()]
    assert delivered.header("Delivered-To") == [b"new@example.com"], delivered.octets
    assert delivered.octets.endswith(b"Subject: x\r\n\r\nbody\r\n")


def test_a_forbidden_phrase_is_refused(policy: tuple[Gatepost, Program, str]) -> None:
    """In the body: a field of the header may say it. It is found wherever it begins in a large file."""
    gatepost, _, _ = policy
    with gatepost.connect() as client:
        client.ehlo()
        large = (b"y" * 70 + b"\r\n") * 910  # 65,520 octets: the phrase goes over an edge of 64 KiB
        for body in (b"a forbidden phrase here\r\n", large + b"12345678 forbidden phrase\r\n"):
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.command("RCPT TO:<old@example.com>", 250)
            refused = client.data(b"Subject: x\r\n\r\n" + body)
            assert (refused.code, refused.status) == (554, "5.7.1"), str(refused)
            assert "The body holds a forbidden phrase" in refused.text
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<old@example.com>", 250)
        assert client.data(b"Subject: forbidden phrase\r\n\r\nbody\r\n").code == 250
        client.quit()
    assert len(gatepost.maildir) == 1


def test_no_session_is_lost_when_it_is_killed(policy: tuple[Gatepost, Program, str]) -> None:
    """SIGKILL inside a transaction; the session waits for the next one, which is asked."""
    gatepost, started, language = policy
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<old@example.com>", 250)
        started.expects_exit = None
        started.signal(signal.SIGKILL)
        started.exit_code()
        start_policy(gatepost, language)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()
    assert gatepost.maildir.only().header("X-Policy") == [language.encode()]


def test_it_drains(policy: tuple[Gatepost, Program, str]) -> None:
    """SIGTERM with a second one beside it: exit 0, and each message of the session is marked and delivered."""
    gatepost, started, language = policy
    start_policy(gatepost, language)
    with gatepost.connect() as client:
        client.ehlo()
        for number in range(10):
            if number == 5:
                started.signal(signal.SIGTERM)
            client.command("MAIL FROM:<bob@example.net>", 250)
            client.command("RCPT TO:<old@example.com>", 250)
            assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()
    assert started.exit_code() == 0, started.tail()
    assert [message.header("X-Policy") for message in gatepost.maildir.messages()] == [[language.encode()]] * 10
