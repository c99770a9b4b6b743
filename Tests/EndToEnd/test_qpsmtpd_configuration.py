"""The configuration of Debian's qpsmtpd is understood, line by line, or explained by name."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gatepost import BINARIES

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / ".build/peers/qpsmtpd/etc/qpsmtpd"
INCLUDE = "$include /etc/qpsmtpd/debian-queue-method"
#: Lines that its comments show: examples and their values, with what is said of those that are refused.
SHOWN = {
    "check_earlytalker wait 1 action deny": "",
    "check_earlytalker defer-reject 1": "",
    "require_resolvable_fromhost": "",
    "check_badrcptto": "",
    "check_loop 50": "",
    "count_unrecognized_commands 4": "",
    "greylisting": "",
    "milter Brightmail bmcluster.host.tld:5513": "milters cannot be asked yet",
    "virus/clamav": "",
    "virus/clamdscan max_size 1024 clamd_socket /run/clamd.sock deny_viruses yes": "",
    "spamassassin munge_subject_threshold 8 reject_threshold 10": "",
    "quit_fortune": "",
    "sender_permitted_from spf_deny 1": "",
    "queue/smtp-forward localhost 25": "",
    "queue/smtp-forward 127.0.0.1": "",
    "queue/exim-bsmtp": "/usr/sbin/rsmtp cannot be started: name a program",
    "queue/postfix-queue": "",
    "queue/qmail-queue /usr/sbin/qmail-queue": "/usr/sbin/qmail-queue cannot be started: name a program",
    "queue/maildir /tmp/Maildir": "",
}


@pytest.fixture
def config() -> Iterator[Path]:
    """In a folder with a short name: the path of a socket may have 107 octets."""
    assert DEBIAN.is_dir(), f"{DEBIAN} is missing: scripts/test unpacks it"
    with tempfile.TemporaryDirectory(prefix="gatepost.") as folder:
        yield copied(Path(folder) / "config")


def copied(folder: Path) -> Path:
    shutil.copytree(DEBIAN, folder)
    # What debconf writes when the package is installed.
    hosts = (folder / "rcpthosts").read_text()
    assert "$include /etc/qpsmtpd/debian-rcpthosts" in hosts
    (folder / "debian-rcpthosts").write_text("example.com\n")
    (folder / "rcpthosts").write_text(hosts.replace("/etc/qpsmtpd/debian-rcpthosts", "debian-rcpthosts"))
    return folder


def check(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARIES / "gatepost", "check", "--config", config], capture_output=True, text=True, timeout=60
    )


def test_it_passes_whole(config: Path) -> None:
    """The queue is what debconf writes, too."""
    text = (config / "plugins").read_text()
    assert INCLUDE in text
    (config / "plugins").write_text(text.replace(INCLUDE, "queue/maildir spool/Maildir"))
    done = check(config)
    assert done.returncode == 0, done.stderr
    lines = [line.split()[0] for line in text.splitlines() if line.strip() and line[0] not in "#$"]
    assert len(lines) == 9
    for name in lines:
        plain = name.removeprefix("check_").replace("spamhelo", "helo")
        assert plain in done.stdout or plain in done.stderr, name


@pytest.mark.parametrize("line", SHOWN)
def test_a_line_that_its_comments_show_is_understood(config: Path, line: str) -> None:
    (config / "plugins").write_text(f"rcpt_ok\n{line}\n")
    done = check(config)
    if SHOWN[line]:
        assert done.returncode == 78 and SHOWN[line] in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_every_plugin_of_the_package_has_a_name_here(config: Path) -> None:
    """No name of the package's plugins is unknown: each loads, wants arguments, or is explained."""
    folder = DEBIAN.parents[1] / "usr/share/qpsmtpd/plugins"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.suffix)
    assert len(names) > 50
    (config / "plugins").write_text("".join(f"{name}\n" for name in names))
    unknown = re.findall(r"plugins:\d+: (\S+): unknown plugin", check(config).stderr)
    assert unknown == []
