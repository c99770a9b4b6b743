"""queue/quarantine and `gatepost quarantine`: what is kept is listed, shown, released to a next hop, deleted."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.hop import RecordingHop
from harness.peers import DovecotLMTP
from harness.ports import free_port

MESSAGE = b"From: <bob@example.net>\r\nSubject: look at me\r\n\r\n.dot\r\nend\r\n"


def command(gatepost: Gatepost, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BINARIES / "gatepost", "quarantine", words[0], "--config", gatepost.config, *words[1:]],
        capture_output=True, timeout=60,
    )


def lines(gatepost: Gatepost) -> list[str]:
    done = command(gatepost, "list")
    assert done.returncode == 0, done
    return done.stdout.decode().splitlines()[1:]


@pytest.fixture
def kept(gatepost: Gatepost) -> Gatepost:
    """Two messages in the quarantine, the second to two recipients."""
    gatepost.plugins("rcpt_ok", "queue/quarantine {folder}/kept always yes", "queue/maildir {mail}")
    gatepost.run()
    for names in (["alice"], ["alice", "carol"]):
        with gatepost.connect() as client:
            client.ehlo()
            client.envelope("bob@example.net", *(f"{name}@example.com" for name in names))
            assert client.data(MESSAGE).code == 250
    return gatepost


def test_messages_are_listed_and_shown_and_deleted(kept: Gatepost) -> None:
    first, second = sorted(lines(kept), key=lambda line: "+1" in line)
    assert "<bob@example.net>" in first and "<alice@example.com>" in first and first.endswith("always")
    id = second.split()[0]
    shown = command(kept, "show", id)
    assert shown.returncode == 0 and shown.stdout.count(b"recipient ") == 2, shown
    raw = command(kept, "show", id, "--message")
    assert raw.stdout.endswith(MESSAGE) and raw.stdout.startswith(b"Received: from ")
    done = command(kept, "delete", id)
    assert (done.returncode, done.stdout) == (0, f"deleted: {id}\n".encode())
    assert [line.split()[0] for line in lines(kept)] == [first.split()[0]]
    done = command(kept, "delete", id, first.split()[0])
    assert done.returncode == 1 and f'there is no "{id}"'.encode() in done.stderr
    assert command(kept, "list").stdout == b"the quarantine is empty\n"
    assert command(kept, "show", "../config/me").returncode == 1
    assert list((kept.folder / "kept").iterdir()) == []


def test_a_released_message_goes_out_as_it_came(kept: Gatepost) -> None:
    hop = RecordingHop(["PIPELINING", "8BITMIME"])
    ids = [line.split()[0] for line in lines(kept)]
    done = command(kept, "release", "--to", f"127.0.0.1:{hop.port}", *ids)
    assert done.returncode == 0 and done.stdout.count(b"released: ") == 2, done
    assert len(hop.messages) == 2 and all(message.endswith(MESSAGE.replace(b"\n.dot", b"\n..dot")) for message in hop.messages)
    assert hop.commands.count(b"RCPT TO:<alice@example.com>") == 2 and b"RCPT TO:<carol@example.com>" in hop.commands
    assert lines(kept) == []
    hop.close()


def test_a_server_that_refuses_or_is_gone_leaves_the_message(kept: Gatepost) -> None:
    id = lines(kept)[0].split()[0]
    done = command(kept, "release", "--to", f"127.0.0.1:{free_port()}", "--timeout", "5", id)
    assert done.returncode == 69 and b"is not released" in done.stderr, done
    # Our own listener takes no mail for this domain.
    kept.control("rcpthosts", "other.example")
    done = command(kept, "release", "--to", f"127.0.0.1:{kept.port}", id)
    assert done.returncode == 69 and b"550 5.7.1 " in done.stderr, done
    assert len(lines(kept)) == 2


def test_two_commands_do_not_release_one_message(kept: Gatepost) -> None:
    hop = RecordingHop(["PIPELINING", "8BITMIME"])
    id = lines(kept)[0].split()[0]
    [path] = kept.folder.rglob(f"{id}.json")
    with path.open("rb") as entry:
        fcntl.flock(entry, fcntl.LOCK_EX)
        done = command(kept, "release", "--to", f"127.0.0.1:{hop.port}", id)
        assert done.returncode == 69 and b"is being released by another command" in done.stderr, done
    assert hop.messages == [] and len(lines(kept)) == 2
    assert command(kept, "release", "--to", f"127.0.0.1:{hop.port}", id).returncode == 0
    hop.close()


@pytest.mark.skipif(os.getuid() != 0, reason="dovecot(1) must be started by root")
def test_a_message_is_released_to_dovecot(kept: Gatepost) -> None:
    [id] = [line.split()[0] for line in lines(kept) if "+1" not in line]
    with DovecotLMTP() as dovecot:
        assert command(kept, "release", "--to", str(dovecot.socket), "--keep", id).returncode == 0
        [message] = dovecot.mail("alice")
        assert b"Return-Path: <bob@example.net>" in message and b"Subject: look at me" in message
    assert len(lines(kept)) == 2


def test_without_a_line_the_folder_is_an_argument(gatepost: Gatepost, tmp_path: Path) -> None:
    done = command(gatepost, "list")
    assert done.returncode == 78 and b"name the --folder" in done.stderr
    assert command(gatepost, "list", "--folder", str(tmp_path / "none")).stdout == b"the quarantine is empty\n"
    (tmp_path / "bad.json").write_text("{")
    done = command(gatepost, "list", "--folder", str(tmp_path))
    assert done.returncode == 69 and b"bad.json is no entry" in done.stderr
