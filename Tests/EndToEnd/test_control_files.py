"""Control files are live: an edit counts for the next session."""

from __future__ import annotations

import subprocess

import pytest

from harness.gatepost import DELIVERING, Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until


def rcpt_code(server: Gatepost, recipient: str) -> int:
    with server.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        return client.command(f"RCPT TO:<{recipient}>").code


def mail_reply(server: Gatepost, sender: str):
    with server.connect() as client:
        client.ehlo()
        return client.command(f"MAIL FROM:<{sender}>")


def test_rcpthosts(gatepost: Gatepost) -> None:
    gatepost.run()
    assert rcpt_code(gatepost, "x@new.example") == 550
    with open_session(gatepost) as old:
        gatepost.control("rcpthosts", "example.com", "new.example")
        assert rcpt_code(gatepost, "x@new.example") == 250
        assert rcpt_code(gatepost, "x@example.org") == 550
        # One session is judged by one set of lists.
        old.command("RCPT TO:<x@example.org>", 250)
        old.command("RCPT TO:<x@new.example>", 550)


def open_session(server: Gatepost) -> Dialogue:
    client = server.connect()
    client.ehlo()
    client.command("MAIL FROM:<bob@example.net>", 250)
    return client


def test_badmailfrom_appears_changes_and_goes(gatepost: Gatepost) -> None:
    gatepost.plugins("badmailfrom", *DELIVERING)
    gatepost.run()
    path = gatepost.config / "badmailfrom"
    assert mail_reply(gatepost, "spammer@example.net").code == 250
    gatepost.control("badmailfrom", "# a comment", "spammer@example.net", "@bad.example")
    reply = mail_reply(gatepost, "spammer@example.net")
    assert reply.code == 550 and reply.status is not None and reply.status.startswith("5.")
    assert mail_reply(gatepost, "x@bad.example").code == 550
    assert mail_reply(gatepost, "x@good.example").code == 250
    gatepost.control("badmailfrom", "@bad.example")
    assert mail_reply(gatepost, "spammer@example.net").code == 250
    path.unlink()
    assert mail_reply(gatepost, "x@bad.example").code == 250


@pytest.mark.parametrize("broken", ["pattern", "folder"])
def test_a_broken_file_keeps_the_last_good_content(gatepost: Gatepost, broken: str) -> None:
    """And says so in the log; an unreadable list never becomes an empty one (lessons T-27)."""
    gatepost.plugins("badmailfrom", *DELIVERING)
    gatepost.control("badmailfrom", "spammer@example.net")
    _, worker = gatepost.run()
    assert mail_reply(gatepost, "spammer@example.net").code == 550
    at = worker.log_position()
    path = gatepost.config / "badmailfrom"
    if broken == "pattern":
        gatepost.control("badmailfrom", "other@example.net", "^(unfinished")
    else:
        path.unlink()
        path.mkdir()
    assert mail_reply(gatepost, "spammer@example.net").code == 550
    assert mail_reply(gatepost, "other@example.net").code == 250
    worker.logged("badmailfrom", after=at)
    if broken == "folder":
        path.rmdir()
    gatepost.control("badmailfrom", "other@example.net")
    assert mail_reply(gatepost, "other@example.net").code == 550
    assert mail_reply(gatepost, "spammer@example.net").code == 250


def test_the_frontends_own_files(gatepost: Gatepost) -> None:
    """`smtpgreeting` and `databytes` are read by the frontend, live as well (C-08, C-09)."""
    gatepost.run()

    def banner() -> str:
        with gatepost.connect() as client:
            return client.expect(220).text

    def size() -> str:
        with gatepost.connect() as client:
            return next(line for line in client.ehlo().lines if line.startswith("SIZE"))

    assert banner().startswith("mx1.example.com ESMTP")
    gatepost.control("smtpgreeting", "no spam please")
    assert banner() == "mx1.example.com no spam please ESMTP"
    gatepost.control("smtpgreeting", "mx1.example.com ESMTP welcome")
    assert banner() == "mx1.example.com ESMTP welcome"
    assert size() == "SIZE 26214400"
    gatepost.control("databytes", "70000")
    assert size() == "SIZE 70000"
    gatepost.control("databytes", "a lot")
    assert size() == "SIZE 70000"
    gatepost.programs[0].logged("databytes")


def test_plugins_are_for_new_workers(gatepost: Gatepost) -> None:
    """A new worker brings the new order in, the old one drains: no session notices (C-05, C-26)."""
    frontend = gatepost.frontend(ready=False)
    old = gatepost.worker()
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.deliver(b"Subject: old\r\n\r\n", "spammer@example.net")
        gatepost.control("badmailfrom", "spammer@example.net")
        gatepost.plugins("badmailfrom", *DELIVERING)
        gatepost.worker()
        assert old.stop() == 0
        wait_until(
            lambda: mail_reply(gatepost, "spammer@example.net").code == 550, 5, "the new plugin"
        )
        client.deliver(b"Subject: new\r\n\r\n")
        client.quit()


def write_map(server: Gatepost, name: str, *keys: str) -> None:
    """As Debian's `cdb` makes it: a new file, renamed into place."""
    records = "".join(f"+{len(key)},0:{key}->\n" for key in keys) + "\n"
    path = server.config / name
    subprocess.run(["cdb", "-c", path], input=records, text=True, check=True)


def test_morercpthosts_is_a_map(gatepost: Gatepost) -> None:
    gatepost.run()
    assert rcpt_code(gatepost, "x@mapped.example") == 550
    write_map(gatepost, "morercpthosts.cdb", "mapped.example", ".below.example")
    assert rcpt_code(gatepost, "x@mapped.example") == 250
    assert rcpt_code(gatepost, "x@a.below.example") == 250
    assert rcpt_code(gatepost, "x@other.example") == 550
    # A map that is cut off is no empty map: the last good one stays.
    path = gatepost.config / "morercpthosts.cdb"
    path.write_bytes(path.read_bytes()[:-8])
    assert rcpt_code(gatepost, "x@mapped.example") == 250
    gatepost.programs[1].logged("no CDB file")


def test_morerelayclients_is_a_map(gatepost: Gatepost) -> None:
    gatepost.plugins("relay", *DELIVERING)
    gatepost.run()
    source = "127.0.0.7"

    def relays() -> int:
        with gatepost.connect(source=source) as client:
            client.ehlo()
            client.command("MAIL FROM:<bob@example.net>", 250)
            return client.command("RCPT TO:<x@elsewhere.example>").code

    assert relays() == 550
    write_map(gatepost, "morerelayclients.cdb", "10.1.", source)
    assert relays() == 250
