"""Programs that take messages: Postfix's sendmail, Exim, and qmail-queue as a script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.peers import EXIM, Exim, Postfix, has_exim
from harness.waiting import wait_until

MESSAGE = b"From: <bob@example.net>\r\nSubject: to a program\r\n\r\n.dot\r\n.\r\nend\r\n"


def deliver(gatepost: Gatepost, *names: str, sender: str = "bob@example.net") -> tuple[int, str | None]:
    with gatepost.connect() as client:
        client.ehlo()
        client.envelope(sender, *(f"{name}@example.com" for name in names))
        reply = client.data(MESSAGE)
    return reply.code, reply.status


@pytest.fixture(scope="module")
def hop() -> Iterator[RecordingHop]:
    hop = RecordingHop(["PIPELINING", "8BITMIME", "DSN"])
    yield hop
    hop.close()


@pytest.fixture(scope="module")
def postfix(hop: RecordingHop) -> Iterator[Postfix]:
    if os.getuid() != 0:
        pytest.skip("postfix(1) must be started by root")
    peer = Postfix(hop.port, "message_size_limit = 10000", "mailbox_size_limit = 10000")
    yield peer
    peer.close()


def test_postfix_takes_the_message_from_maildrop(
    gatepost: Gatepost, postfix: Postfix, hop: RecordingHop
) -> None:
    gatepost.plugins("rcpt_ok", f"queue/postfix-queue /usr/sbin/sendmail config {postfix.config}")
    gatepost.run()
    before = len(hop.messages)
    assert deliver(gatepost, "alice", "carol") == (250, "2.0.0")
    wait_until(lambda: len(hop.messages) > before, 60, lambda: f"a message at the hop\n{postfix.log()}", 0.05)
    assert hop.messages[-1].endswith(b"\r\nSubject: to a program\r\n\r\n..dot\r\n..\r\nend\r\n")
    said = [line for line in hop.commands if line.startswith((b"MAIL", b"RCPT"))][-3:]
    assert said[0].startswith(b"MAIL FROM:<bob@example.net>"), said
    assert {line.split(b">")[0] for line in said[1:]} == {b"RCPT TO:<alice@example.com", b"RCPT TO:<carol@example.com"}


def test_postfix_takes_a_message_while_it_is_stopped(gatepost: Gatepost, postfix: Postfix, hop: RecordingHop) -> None:
    """The message is in the folder `maildrop`, and goes out when Postfix runs again."""
    gatepost.plugins("rcpt_ok", f"queue/postfix-queue config {postfix.config}")
    gatepost.run()
    before = len(hop.messages)
    postfix._command("stop")
    try:
        assert deliver(gatepost, "alice", sender="") == (250, "2.0.0")
        [file] = [path for path in (postfix.folder / "queue/maildrop").iterdir() if path.is_file()]
        assert b"Subject: to a program" in file.read_bytes() and len(hop.messages) == before
    finally:
        postfix._command("start")
    wait_until(lambda: len(hop.messages) > before, 60, lambda: f"a message at the hop\n{postfix.log()}", 0.05)
    assert b"MAIL FROM:<>" in [line.split(b" SIZE")[0].split(b" BODY")[0] for line in hop.commands]


def test_what_postfix_does_not_take_is_refused(gatepost: Gatepost, postfix: Postfix, tmp_path: Path) -> None:
    """A folder without a configuration is a mistake of the operator's, which does not lose mail."""
    gatepost.plugins("rcpt_ok", f"queue/postfix-queue config {tmp_path}")
    gatepost.run()
    assert deliver(gatepost, "alice") == (451, "4.3.0")


@pytest.mark.skipif(not has_exim(), reason="Exim is unpacked by scripts/test, and started by root in a mount of its own")
def test_exim_takes_a_batch(gatepost: Gatepost, hop: RecordingHop) -> None:
    with Exim(hop.port) as exim:
        script = exim.folder / "rsmtp"
        script.write_text(
            f"#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {exim.folder}/passwd /etc/passwd && "
            f"mount --bind {exim.folder}/group /etc/group && exec {EXIM} -C {exim.folder}/exim.conf -odi \"$@\"' sh \"$@\"\n"
        )
        script.chmod(0o755)
        gatepost.plugins("rcpt_ok", f"queue/exim-bsmtp exim_path {script} timeout 60s")
        gatepost.run()
        before = len(hop.messages)
        assert deliver(gatepost, "alice", "carol") == (250, "2.0.0")
        log = (exim.folder / "log" / "main").read_text()
        assert " <= bob@example.net " in log and " => alice@example.com " in log, log
        assert len(hop.messages) == before + 1
        assert hop.messages[-1].endswith(b"\r\n\r\n..dot\r\n..\r\nend\r\n")
        # What Exim refuses for good, and a full disk, which it tells by exit code 1.
        config = exim.folder / "exim.conf"
        text = config.read_text()
        config.write_text("message_size_limit = 20\n" + text)
        assert deliver(gatepost, "alice")[0] == 552
        config.write_text("check_spool_space = 900000G\n" + text)
        assert deliver(gatepost, "alice") == (451, "4.3.0")
        assert len(hop.messages) == before + 1


def test_a_script_in_the_place_of_qmail_queue(gatepost: Gatepost) -> None:
    folder = gatepost.folder / "qmail"
    folder.mkdir()
    script = folder / "qmail-queue"
    script.write_text(f"#!/bin/sh\ncd {folder}\ncat >message; cat <&1 >envelope; exit $(cat code)\n")
    script.chmod(0o755)
    gatepost.plugins("rcpt_ok", f"queue/qmail-queue {script}")
    gatepost.run()
    for code, expected in ((0, (250, "2.0.0")), (31, (554, "5.3.0")), (53, (451, "4.3.0"))):
        (folder / "code").write_text(str(code))
        assert deliver(gatepost, "alice", "carol") == expected
    assert (folder / "envelope").read_bytes() == b"Fbob@example.net\0Talice@example.com\0Tcarol@example.com\0\0"
    assert (folder / "message").read_bytes().endswith(b"Subject: to a program\n\n.dot\n.\nend\n")


def test_a_command_with_words_for_the_client(gatepost: Gatepost) -> None:
    script = gatepost.folder / "take"
    script.write_text('#!/bin/sh\ncat >/dev/null\ncase $2 in eve@*) echo "5.1.6 eve has left"; exit 67;; esac\n')
    script.chmod(0o755)
    gatepost.listener["protocol"] = "lmtp"
    gatepost.plugins("rcpt_ok", f'queue/command "{script} -- %r" each yes')
    gatepost.run()
    with gatepost.connect() as client:
        client.expect(220)
        client.command("LHLO client.example", 250)
        client.command("MAIL FROM:<bob@example.net>", 250)
        for name in ("alice", "eve"):
            client.command(f"RCPT TO:<{name}@example.com>", 250)
        client.command("DATA", 354)
        client.send(b"Subject: a\r\n\r\nb\r\n.\r\n")
        assert client.expect(250).status == "2.0.0"
        assert client.expect(550).status == "5.1.6"
        client.quit()
