"""DMARC with a real resolver and beside opendmarc: what a From field's domain asks for, and the reports of a day."""

from __future__ import annotations

import datetime
import gzip
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.peers import Unbound
from harness.wire import Message

POLICIES = {
    "reject.test": "v=DMARC1; p=reject; rua=mailto:r@reject.test",
    "quarantine.test": "v=DMARC1; p=quarantine",
    "trial.test": "v=DMARC1; p=reject; t=y; rua=mailto:r@trial.test!10m",
    "np.test": "v=DMARC1; p=none; np=reject",
    "bank.test": "v=DMARC1; p=none; sp=reject; psd=y",
    "sub.test": "v=DMARC1; p=none; sp=reject",
}


class Resolver(Unbound):
    ZONES = (
        *Unbound.ZONES,
        *(f'_dmarc.{domain}. TXT "{policy}"' for domain, policy in POLICIES.items()),
        "here.np.test. A 192.0.2.9",
    )


#: What SPF and DKIM would say of the next message: notes that a worker of an earlier pool leaves.
EVIDENCE: dict[str, Any] = {}


@pytest.fixture(scope="module")
def checking(make_gatepost: Callable[..., Gatepost]) -> Iterator[Gatepost]:
    unbound = Resolver()
    server = make_gatepost()
    server.frontend_toml["pool"] = [{"name": "python"}, {"name": "policy"}]
    dns = {"servers": [f"127.0.0.1:{unbound.port}"], "timeout_ms": 2_000}
    server.worker_toml(dns=dns, store={"url": f"sqlite:{server.folder}/store"})
    server.plugins("rcpt_ok", "dmarc reporting 1 quarantine header timeout 3", "queue/maildir {mail}")
    frontend = server.frontend(ready=False)

    def answer(event: Message) -> Message:
        return {"verdict": "declined", "notes": {"transaction": dict(EVIDENCE)}}

    server.python_worker({"data_post": {}}, answer, pool="python")
    server.worker("policy")
    frontend.ready()
    yield server
    unbound.close()


def send(server: Gatepost, sender: str, **evidence: Any) -> Any:
    EVIDENCE.clear()
    EVIDENCE.update({"dkim": [], **evidence})
    with server.connect() as client:
        client.ehlo()
        client.envelope("bounce@list.test")
        reply = client.data(f"From: Jo <jo@{sender}>\r\nSubject: dmarc\r\n\r\nhello\r\n".encode())
        client.quit()
    return reply


def spf(domain: str, result: str = "pass") -> dict[str, Any]:
    return {"spf": {"domain": domain, "result": result, "identity": "mailfrom"}}


def dkim(domain: str, result: str = "pass") -> dict[str, Any]:
    return {"dkim": [{"domain": domain, "selector": "s", "result": result}]}


@pytest.mark.parametrize(
    ("sender", "evidence", "code"),
    [
        ("reject.test", spf("reject.test"), 250),
        ("reject.test", dkim("mail.reject.test"), 250),
        ("mail.reject.test", dkim("reject.test"), 250),
        ("reject.test", spf("list.test"), 550),
        ("reject.test", spf("reject.test", "fail") | dkim("reject.test", "fail"), 550),
        ("here.np.test", {}, 250),
        ("gone.np.test", {}, 550),
        ("shop.bank.test", dkim("mail.shop.bank.test"), 250),
        ("shop.bank.test", dkim("other.bank.test"), 550),
        ("a.test", {}, 250),
        ("x.drop.test", {}, 250),
        ("reject.test, al@a.test", spf("a.test"), 550),
    ],
)
def test_mail_is_refused_where_the_owner_wants(
    checking: Gatepost, sender: str, evidence: dict[str, Any], code: int
) -> None:
    reply = send(checking, sender, **evidence)
    assert reply.code == code, str(reply)
    if code == 550:
        assert reply.status == ("5.7.1" if "," in sender else "5.7.26"), str(reply)


#: What both RFC 7489, which opendmarc knows, and RFC 9989 decide alike. opendmarc 1.4.2 takes a subdomain's signature
#: also with `adkim=s`, so strict alignment is not here.
ALIKE = [
    (sender, evidence)
    for sender in ("reject.test", "mail.reject.test", "quarantine.test", "sub.test", "x.sub.test", "a.test")
    for domain in (sender, f"mail.{sender}", sender.removeprefix("mail."), "list.test")
    for evidence in (dkim(domain), dkim(domain, "fail"), spf(domain, "fail") | dkim(domain))
]


def test_opendmarc_decides_the_same(checking: Gatepost, tmp_path: Path) -> None:
    """It reads what DKIM found from an Authentication-Results field; for a file it takes no pass of SPF."""
    (tmp_path / "dns").write_text("".join(f"_dmarc.{domain} {policy}\n" for domain, policy in POLICIES.items()))
    (tmp_path / "suffixes").write_text("test\n")
    (tmp_path / "conf").write_text(
        f"Syslog false\nAuthservID peer.test\nTrustedAuthservIDs peer.test\nTestDNSData {tmp_path}/dns\n"
        f"RejectFailures true\nPublicSuffixList {tmp_path}/suffixes\n"
    )
    seen: set[bool] = set()
    for sender, evidence in ALIKE:
        results = ["peer.test"]
        if found := evidence.get("spf"):
            results.append(f"spf={found['result']} smtp.mailfrom={found['domain']}")
        for found in evidence.get("dkim", []):
            results.append(f"dkim={found['result']} header.d={found['domain']} header.s=s")
        (tmp_path / "message").write_bytes(
            f"Authentication-Results: {'; '.join(results)}\r\nFrom: Jo <jo@{sender}>\r\nSubject: dmarc\r\n\r\nhello\r\n".encode()
        )
        done = subprocess.run(
            ["/usr/sbin/opendmarc", "-c", str(tmp_path / "conf"), "-vvv", "-t", str(tmp_path / "message")],
            capture_output=True, text=True, timeout=30,
        )
        assert re.search(r"mlfi_eom\(\) returned SMFIS_(ACCEPT|CONTINUE|REJECT)", done.stderr), done
        refuses = "### SETREPLY: rcode='550'" in done.stdout
        seen.add(refuses)
        reply = send(checking, sender, **evidence)
        assert (reply.code == 550) == refuses, (sender, evidence, str(reply), done.stdout)
    assert seen == {True, False}


@pytest.mark.parametrize("sender", ["quarantine.test", "trial.test"])
def test_quarantine_marks_the_message(checking: Gatepost, sender: str) -> None:
    checking.maildir.clear()
    assert send(checking, sender, **spf("list.test")).code == 250
    assert checking.maildir.only().header("X-DMARC-Quarantine") == [sender.encode()]


def test_the_reports_of_a_day_are_written(checking: Gatepost) -> None:
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    for _ in range(2):
        send(checking, "reject.test", **spf("reject.test"), **dkim("mail.reject.test"))
    send(checking, "trial.test", **spf("list.test"))
    folder = checking.folder / "reports"
    folder.mkdir()
    done = report(checking, day, "--output", str(folder), "--org", "A & B")
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert [line[1:] for line in lines] == [["mailto:r@reject.test"], ["mailto:r@trial.test"]]
    begin = int(datetime.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
    assert lines[0][0] == f"{folder}/mx1.example.com!reject.test!{begin}!{begin + 86_399}.xml.gz"
    text = gzip.decompress(Path(lines[0][0]).read_bytes())
    root = ET.fromstring(text)
    name = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}
    assert root.tag == "{urn:ietf:params:xml:ns:dmarc-2.0}feedback"
    assert root.findtext("d:report_metadata/d:org_name", None, name) == "A & B"
    assert root.findtext("d:policy_published/d:p", None, name) == "reject"
    rows = {
        (
            row.findtext(".//d:disposition", None, name),
            row.findtext(".//d:policy_evaluated/d:dkim", None, name),
            row.findtext(".//d:policy_evaluated/d:spf", None, name),
        ): int(row.findtext(".//d:count", "0", name))
        for row in root.findall("d:record", name)
    }
    assert rows["pass", "pass", "pass"] == 2
    trial = ET.fromstring(gzip.decompress(Path(lines[1][0]).read_bytes()))
    assert trial.findtext(".//d:reason/d:type", None, name) == "policy_test_mode"
    alone = report(checking, day, "--output", str(folder), "--domain", "trial.test")
    assert alone.stdout.splitlines() == [" ".join(lines[1])]
    # Sent again, it is the same file; the name of gzip's own header would be a second one.
    before = Path(lines[1][0]).read_bytes()
    report(checking, day, "--output", str(folder), "--domain", "trial.test")
    assert Path(lines[1][0]).read_bytes() == before and before[3:8] == bytes(5)
    plain = report(checking, day, "--output", str(folder), "--org", "A & B", "--plain")
    assert [line.split(" ")[0] for line in plain.stdout.splitlines()] == [line[0].removesuffix(".gz") for line in lines]
    assert Path(lines[0][0].removesuffix(".gz")).read_bytes() == text
    assert not [file for file in folder.iterdir() if file.name.endswith(".new")]


def test_what_cannot_be_reported_is_said(checking: Gatepost) -> None:
    old = report(checking, "2020-02-29", "--output", str(checking.folder))
    assert (old.returncode, old.stdout) == (0, "") and "nothing was counted for 2020-02-29" in old.stderr
    assert report(checking, "2026-13-01", "--output", "x").returncode == 64
    send(checking, "reject.test", **spf("reject.test"))
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    lost = report(checking, day, "--output", str(checking.folder / "not-there"))
    assert lost.returncode == 1 and "not-there" in lost.stderr, lost.stderr
    memory = checking.folder / "memory"
    memory.mkdir()
    (memory / "worker.toml").write_text('[store]\nurl = "memory:"\n')
    other = subprocess.run(
        [str(BINARIES / "gatepost"), "dmarc", "report", "--config", str(memory), "--output", "x"],
        capture_output=True, text=True, timeout=30,
    )
    assert other.returncode == 69 and other.stderr.startswith("gatepost dmarc: "), other.stderr


def report(server: Gatepost, day: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BINARIES / "gatepost"), "dmarc", "report", "--config", str(server.config), "--day", day, *words],
        capture_output=True,
        text=True,
        timeout=30,
    )
