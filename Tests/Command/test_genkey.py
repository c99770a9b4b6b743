"""`gatepost dkim genkey`: the files that it makes, and what it refuses. Tests/EndToEnd has `check`."""

import os
import re
import stat
import subprocess

import pytest
from conftest import BUILT


def command(config, *words):
    return subprocess.run(
        [BUILT / "gatepost", "dkim", *words, "--config", str(config)], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    return folder


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True).stdout


def test_keys_are_files_and_a_record(config):
    done = command(config, "genkey", "Example.com", "2026a")
    assert done.returncode == 0, done.stderr
    folder = config / "dkim" / "example.com"
    assert sorted(path.name for path in folder.iterdir()) == ["dns", "private", "public", "selector"]
    assert stat.S_IMODE((folder / "private").stat().st_mode) == 0o600
    assert (folder / "selector").read_text() == "2026a\n"
    assert (folder / "dns").read_text() == done.stdout
    assert done.stdout.startswith('2026a._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=MII')
    strings = re.findall(r'"([^"]*)"', done.stdout)
    assert max(map(len, strings)) <= 255
    # openssl reads both files, and they are one key: the one of the record.
    public = openssl("pkey", "-in", folder / "private", "-pubout")
    assert public == (folder / "public").read_bytes()
    assert "".join(strings).split("p=")[1] == "".join(public.decode().splitlines()[1:-1])

    done = command(config, "genkey", "example.com", "2026e", "--type", "ed25519")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r'2026e\._domainkey\.example\.com\. IN TXT "v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}="\n', done.stdout
    )
    assert (folder / "selector").read_text() == "2026a\n2026e 2026e.private\n"
    assert stat.S_IMODE((folder / "2026e.private").stat().st_mode) == 0o600

    before = (folder / "private").read_bytes()
    done = command(config, "genkey", "example.com", "2026A")
    assert done.returncode == 1 and "has 2026a already; take another selector" in done.stderr
    assert (folder / "private").read_bytes() == before


@pytest.mark.parametrize("words", [
    ["example.com", "a", "--bits", "1023"], ["example.com", "a", "--bits", "4097"], ["example.com", "a b"],
    ["example.com", "a/b"], ["com", "a"], ["../x", "a"], ["example.com", "a", "--type", "dsa"], ["example.com"],
])
def test_wrong_arguments_make_nothing(config, words):
    done = command(config, "genkey", *words)
    assert done.returncode == 64, done.stderr
    assert not (config / "dkim").exists()


def test_what_cannot_be_written_or_read_is_said(config):
    (config / "dkim").write_text("a file")
    done = command(config, "genkey", "example.com", "a", "--bits", "1024")
    assert done.returncode == 69 and "dkim" in done.stderr
    (config / "dkim").unlink()
    assert command(config, "genkey", "example.com", "a", "--bits", "1024").returncode == 0
    private = config / "dkim" / "example.com" / "private"
    private.chmod(0o644)
    done = command(config, "check", "example.com")
    assert done.returncode == 78 and "every user can read or write this private key; chmod o-rw it" in done.stderr
    private.write_text("nonsense")
    os.chmod(private, 0o600)
    done = command(config, "check", "example.com")
    assert done.returncode == 78 and "is no private key" in done.stderr
    done = command(config, "check", "example.com", "b")
    assert done.returncode == 1 and "example.com has no key b" in done.stderr
