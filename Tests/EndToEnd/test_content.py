"""Plugins that look at a message: attachments in real archives, texts, subjects, copies; and which of them cost a file."""

from __future__ import annotations

import ctypes
import email.message
import email.policy
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.gatepost import DELIVERING, Gatepost
from harness.smtp import Reply

TEXT = b"From: bob@example.net\r\nSubject: hello\r\n\r\nhello\r\n"


def send(server: Gatepost, message: bytes) -> Reply:
    with server.connect(seconds=60) as client:
        client.ehlo()
        client.envelope()
        reply = client.data(message)
        client.quit()
    return reply


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def attached(name: str, content: bytes) -> bytes:
    message = email.message.EmailMessage(email.policy.SMTP)
    message["From"] = "bob@example.net"
    message["Subject"] = "a file"
    message.set_content("see the file")
    message.add_attachment(content, "application", "octet-stream", filename=name)
    return message.as_bytes()


EXE = b"MZ" + bytes(2_000)


#: A name, a content, and what the client hears.
FILES = [
    ("bill.exe", EXE, "The attachment bill.exe is not accepted"),
    ("rück é.exe", EXE, "The attachment r??ck ??.exe is not accepted"),
    ("a.zip", zipped(("x/bill.exe", EXE)), "x/bill.exe is in an archive and not accepted"),
    ("a.dat", zipped(("b.zip", zipped(("bill.exe", EXE)))), "bill.exe is in an archive and not accepted"),
    ("a.tar.xz", tarred("bill.exe", EXE), "bill.exe is in an archive and not accepted"),
    ("a.zip", zipped(("b.zip", zipped(("c.zip", zipped(("d", b"")))))), "archives in archives"),
    ("a.zip", zipped(("b.txt", b"hello"), ("ü.txt", b"hello")), "queued"),
    ("a.zip", zipped(("ü.exe", b"hello")), "is in an archive and not accepted"),
    ("a.zip", EXE, "queued"),
]


def test_attachments(gatepost: Gatepost) -> None:
    gatepost.plugins("attachment extensions exe,scr", *DELIVERING)
    gatepost.run()
    for name, content, said in FILES:
        gatepost.maildir.clear()
        reply = send(gatepost, attached(name, content))
        assert said in reply.text, f"{name}: {reply}"
        assert (reply.code, len(gatepost.maildir)) == ((250, 1) if said == "queued" else (554, 0))


def test_a_bomb_costs_little(gatepost: Gatepost) -> None:
    """200 MB of zeros in an archive in an archive: the worker gives up after 50."""
    gatepost.plugins("attachment", *DELIVERING)
    gatepost.run()
    bomb = zipped(("b.zip", bytes(200_000_000)))
    reply = send(gatepost, attached("a.zip", bomb))
    assert "too large" in reply.text, str(reply)


def test_texts_subjects_and_copies(gatepost: Gatepost) -> None:
    gatepost.control("body_match", "/secret\\s+word/ We know that word")
    gatepost.plugins(
        "body_match", 'subject prefix "[list] " field List-Id', "archive folder {folder}/copies/%Y", *DELIVERING
    )  # fmt: skip
    gatepost.run()
    message = email.message.EmailMessage(email.policy.SMTP)
    message["From"] = "bob@example.net"
    message["Subject"] = "grüße"
    message["List-Id"] = "<a.example>"
    message.set_content("the secret\nword, naïve", cte="base64")
    reply = send(gatepost, message.as_bytes())
    assert (reply.code, reply.status) == (554, "5.7.1") and "We know that word" in reply.text
    message.set_content("nothing")
    assert send(gatepost, message.as_bytes()).code == 250
    delivered = gatepost.maildir.only()
    text = email.message_from_bytes(delivered.octets, policy=email.policy.default)
    assert text["Subject"] == "[list] grüße"
    (copy,) = (gatepost.folder / "copies").rglob("*.eml")
    assert copy.read_bytes().startswith(b"Return-Path: <")
    assert b"[list] " in copy.read_bytes()


@contextmanager
def watching(folder: Path) -> Iterator[list[str]]:
    """The names of files that are made in folders below, by inotify(7); whole when the block is over."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    made: list[str] = []
    try:
        for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            assert libc.inotify_add_watch(descriptor, os.fsencode(each), 0x100 | 0x80) >= 0  # IN_CREATE, IN_MOVED_TO
        yield made
        try:
            octets = os.read(descriptor, 65_536)
        except BlockingIOError:
            octets = b""
        while octets:
            length = int.from_bytes(octets[12:16], "little")
            made.append(octets[16 : 16 + length].rstrip(b"\0").decode())
            octets = octets[16 + length :]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("plugins", "files"),
    [
        (["headers", "loop", "bogus_bounce", "subject prefix [x]"], 0),
        (['virus/command command "/bin/true %f"'], 1),
    ],
    ids=["header", "message"],
)
def test_checks_of_the_header_make_no_file(gatepost: Gatepost, plugins: list[str], files: int) -> None:
    """The message stays in the frontend's memory until a plugin needs its body."""
    gatepost.plugins("rcpt_ok", *plugins, "queue/discard")
    gatepost.run()
    spool = Path(gatepost.frontend_toml["spool_directory"])
    with watching(spool) as made:
        assert send(gatepost, TEXT).code == 250
        assert send(gatepost, b"Subject: x\r\n\r\nhello\r\n").code == (554 if files == 0 else 250)
    assert len(made) >= files * 2 and (files or not made), made
