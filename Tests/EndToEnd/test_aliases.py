"""`aliases`: a message goes to the targets of its recipients, by swaks to a Maildir and on to Postfix."""

from __future__ import annotations

import smtplib
import subprocess
from pathlib import Path

from harness import certificates
from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.peers import PostfixServer
from harness.waiting import wait_until

ALIASES = [
    "info@example.com: jo@example.com, ann@example.com",
    "sales@example.com: info@example.com, jo@example.com",
    "away@example.com: jo@elsewhere.test",
    "loop@example.com: back@example.com",
    "back@example.com: loop@example.com",
]


def copies(gatepost: Gatepost) -> dict[str, int]:
    """The Maildirs, each with its number of messages."""
    root = gatepost.maildir.path
    return {
        str(new.parent.relative_to(root)): len(list(new.iterdir())) for new in root.glob("*/*/new")
    }


def swaks(gatepost: Gatepost, recipients: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{gatepost.port}", "--from", "bob@example.net", "--to", recipients,
         "--header", "Subject: to an alias"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_each_mailbox_gets_one_copy(gatepost: Gatepost) -> None:
    gatepost.control("aliases", *ALIASES)
    gatepost.plugins("aliases", "rcpt_ok", "queue/maildir {mail} %d/%m")
    gatepost.run()
    done = swaks(gatepost, "sales@example.com,info+today@example.com,jo@example.com")
    assert done.returncode == 0, done.stdout
    assert copies(gatepost) == {"example.com/jo": 1, "example.com/ann": 1}


def test_the_received_field_names_the_alias_and_a_refused_recipient_leaves_nothing(
    gatepost: Gatepost,
) -> None:
    gatepost.control("aliases", *ALIASES)
    gatepost.control("badrcptto", "info@example.com")
    gatepost.plugins("aliases", "badrcptto", "rcpt_ok", "queue/maildir {mail} %d/%m")
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<info@example.com>", 550)
        assert client.command("RCPT TO:<loop@example.com>", 451).status == "4.3.5"
        client.command("RCPT TO:<jo@elsewhere.test>", 550)
        client.command("RCPT TO:<away@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 250
    assert copies(gatepost) == {"elsewhere.test/jo": 1}
    [path] = (gatepost.maildir.path / "elsewhere.test" / "jo" / "new").iterdir()
    header = path.read_text().split("\n\n")[0]
    assert "for <away@example.com>;" in header.split("Received:")[1]
    assert "jo@elsewhere.test" not in header.split("Received:")[1]


def test_the_wishes_for_reports_stay_with_the_first_target(gatepost: Gatepost) -> None:
    hop = RecordingHop(["PIPELINING", "DSN"])
    gatepost.listener["extensions"] = ["PIPELINING", "DSN"]
    gatepost.control("aliases", *ALIASES)
    gatepost.plugins("aliases", "rcpt_ok", f"queue/smtp-forward 127.0.0.1:{hop.port}")
    gatepost.run()
    wishes = "NOTIFY=NEVER ORCPT=rfc822;info@example.com"
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command(f"RCPT TO:<info@example.com> {wishes}", 250)
        assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 250
    assert hop.commands[2:4] == [
        f"RCPT TO:<jo@example.com> {wishes}".encode(), b"RCPT TO:<ann@example.com>",
    ]  # fmt: skip
    hop.close()


def test_postfix_gets_the_targets(gatepost: Gatepost, tmp_path: Path) -> None:
    certificate = certificates.make(tmp_path, "hop", "hop.example", "localhost")
    gatepost.control("aliases", "@old.example: @example.com", "shop@old.example: jo@example.com")
    gatepost.control("rcpthosts", "old.example")
    with PostfixServer(certificate) as postfix:
        trust = f"tls verify tls_ca_file {certificate.chain} tls_name hop.example"
        gatepost.plugins("aliases", "rcpt_ok", f"queue/smtp-forward 127.0.0.1:{postfix.port} {trust}")
        gatepost.run()
        # Postfix takes mail for example.com alone.
        with smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20) as client:
            client.sendmail(
                "bob@example.net",
                ["shop@old.example", "ann@old.example", "jo@old.example"],
                "Subject: moved\r\n\r\nhello\r\n",
            )
        messages = wait_until(
            lambda: found if len(found := postfix.delivered()) == 2 else None, 60, postfix.log
        )
        names = sorted(
            line for message in messages for line in message.split(b"\n") if line.startswith(b"Delivered-To")
        )
        assert names == [b"Delivered-To: ann@example.com", b"Delivered-To: jo@example.com"]


def test_an_edit_counts_for_the_next_session(gatepost: Gatepost) -> None:
    gatepost.control("aliases", "info@example.com: jo@example.com")
    gatepost.plugins("aliases", "rcpt_ok", "queue/maildir {mail} %d/%m")
    gatepost.run()
    assert swaks(gatepost, "info@example.com").returncode == 0
    gatepost.control("aliases", "info@example.com: ann@example.com")
    wait_until(
        lambda: swaks(gatepost, "info@example.com").returncode == 0 and "example.com/ann" in copies(gatepost),
        20,
        gatepost.logs,
    )
