"""DKIM and ARC both ways with dkimpy and opendkim, keys in a real resolver; `gatepost dkim` beside them."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import dkim
import pytest

from harness.gatepost import BINARIES, Gatepost
from harness.peers import TextZone
from harness.ports import free_port

DOMAIN = "example.com"
#: Octets above 127 in header and body, lines of all lengths, white space where forms differ.
MESSAGE = (
    b"From: Bob <bob@example.com>\r\nTo: alice@example.org\r\nSubject:  caf\xe9 \r\n\tfolded  twice\r\n"
    b"Date: Sun, 29 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n"
    b"gr\xfc\xdfe \t x \r\n" + b"y" * 990 + b"\r\n.dot\r\n..\r\n\r\n  \r\nend\r\n\r\n\r\n"
)


def command(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs `gatepost dkim`."""
    return subprocess.run(
        [str(BINARIES / "gatepost"), "dkim", *words, "--config", str(config)],
        capture_output=True, text=True, timeout=60,
    )


class Keys:
    """The keys of `example.com`, made by `gatepost dkim genkey`, and the resolver that has them."""

    def __init__(self, config: Path) -> None:
        self.folder = config / "dkim" / DOMAIN
        self.texts: dict[str, str] = {}
        for selector, kind in (("r", "rsa"), ("e", "ed25519")):
            done = command(config, "genkey", DOMAIN, selector, "--type", kind)
            assert done.returncode == 0, done.stderr
            self.texts[f"{selector}._domainkey.{DOMAIN}"] = "".join(re.findall(r'"([^"]*)"', done.stdout))
        self.texts[f"other._domainkey.{DOMAIN}"] = self.texts[f"r._domainkey.{DOMAIN}"]
        self.unbound = TextZone(self.texts)

    def dns(self, name: bytes, timeout: int = 5) -> bytes | None:
        text = self.texts.get(name.decode().rstrip("."))
        return text.encode() if text else None

    def private(self, selector: str) -> bytes:
        """As dkimpy wants it."""
        pem = (self.folder / ("private" if selector == "r" else f"{selector}.private")).read_bytes()
        if selector == "r":
            return pem
        return base64.b64encode(base64.b64decode(b"".join(pem.splitlines()[1:-1]))[-32:])

    def sign(self, message: bytes, selector: str = "r", form: str = "relaxed/relaxed", **options: object) -> bytes:
        algorithm = b"rsa-sha256" if selector == "r" else b"ed25519-sha256"
        header, body = form.encode().split(b"/")
        options.setdefault("domain", DOMAIN.encode())
        domain = options.pop("domain")
        field = dkim.sign(
            message, selector.encode(), domain, self.private(selector), canonicalize=(header, body),
            signature_algorithm=algorithm, **options,
        )
        return bytes(field) + message


@pytest.fixture(scope="module")
def installation(make_gatepost: Callable[..., Gatepost]) -> Iterator[tuple[Gatepost, Keys]]:
    server = make_gatepost()
    server.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    server.control("relayclients", "192.0.2.1")
    keys = Keys(server.config)
    server.worker_toml(dns={"servers": [f"127.0.0.1:{keys.unbound.port}"], "timeout_ms": 3_000}, log_level="debug")
    server.plugins("relay", "rcpt_ok", "dkim reject 1 timeout 2", "arc", "queue/maildir {mail}")
    server.run()
    yield server, keys
    keys.unbound.close()


def sent(server: Gatepost, message: bytes, client: str = "192.0.2.2") -> tuple[int, str | None]:
    with server.connect() as session:
        session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
        session.expect(220)
        session.command("EHLO client.example", 250)
        session.envelope("bob@example.com")
        reply = session.data(message)
        return reply.code, reply.status


FORMS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]


@pytest.mark.parametrize("selector", ["r", "e"])
@pytest.mark.parametrize("form", FORMS)
def test_what_dkimpy_signs_passes_and_one_octet_more_does_not(
    installation: tuple[Gatepost, Keys], form: str, selector: str
) -> None:
    server, keys = installation
    signed = keys.sign(MESSAGE, selector, form)
    assert sent(server, signed)[0] == 250
    assert sent(server, signed.replace(b"end", b"and")) == (550, "5.7.20")
    assert sent(server, signed.replace(b"Bob", b"Rob")) == (550, "5.7.20")
    assert sent(server, b"Subject: another\r\n" + signed)[0] == 250, "not signed twice"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda signed: signed, 250),
        (lambda signed: signed.replace(b"s=r;", b"s=none;"), 550),
        (lambda signed: signed.replace(b"a=rsa-sha256", b"a=rsa-sha1"), 550),
        (lambda signed: signed.replace(b"v=1;", b"v=1; x=1;"), 550),
        (lambda signed: signed.replace(b"example.com;", b"drop.test;"), 250),
        (lambda signed: signed.split(b"From:", 1)[1].join([b"From:", b""]), 250),
    ],
    ids=["unchanged", "no-key", "sha1", "expired", "dns-silent", "unsigned"],
)
def test_what_makes_a_signature_wrong(
    installation: tuple[Gatepost, Keys], change: Callable[[bytes], bytes], code: int
) -> None:
    server, keys = installation
    assert sent(server, change(keys.sign(MESSAGE)))[0] == code


def test_a_body_that_is_longer_than_was_signed_is_no_pass(installation: tuple[Gatepost, Keys]) -> None:
    server, keys = installation
    signed = keys.sign(MESSAGE, form="relaxed/simple", length=True)
    assert sent(server, signed)[0] == 250
    assert sent(server, signed + b"more\r\n") == (550, "5.7.20")


def test_what_we_sign_passes_at_dkimpy_and_one_octet_more_does_not(installation: tuple[Gatepost, Keys]) -> None:
    server, keys = installation
    server.maildir.clear()
    assert sent(server, MESSAGE, "192.0.2.1")[0] == 250
    stored = server.maildir.only().octets
    assert stored.endswith(MESSAGE) and stored.count(b"DKIM-Signature:") == 2

    def verifies(octets: bytes) -> list[bool]:
        # dkimpy says by an error that a signature cannot be read.
        found = []
        for index in (0, 1):
            try:
                found.append(bool(dkim.DKIM(octets).verify(idx=index, dnsfunc=keys.dns)))
            except dkim.DKIMException:
                found.append(False)
        return found

    assert verifies(stored) == [True, True]
    start = stored.index(b"From:")
    for index in range(start, len(stored), 37):
        if stored[index : index + 1].isspace():
            continue
        changed = stored[:index] + bytes([stored[index] ^ 1]) + stored[index + 1 :]
        assert verifies(changed) == [False, False], index
    for field in (b"From: x@example.com\r\n", b"Subject: x\r\n", b"Reply-To: x@example.net\r\n"):
        assert verifies(field + stored) == [False, False], field
    # And at a server of ours.
    assert sent(server, stored)[0] == 250
    assert sent(server, stored.replace(b"end", b"and")) == (550, "5.7.20")


def test_a_large_message_passes(installation: tuple[Gatepost, Keys]) -> None:
    """More than one piece of the body, cut between CR and LF."""
    server, keys = installation
    body = b"".join(b"%06d \t%s  \r\n" % (n, b"z" * (n % 97)) for n in range(12_000))
    head = MESSAGE.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for form in ("simple/simple", "relaxed/relaxed"):
        signed = keys.sign(head + body, "r", form)
        assert sent(server, signed)[0] == 250
        assert sent(server, signed[:-9] + b"q" + signed[-8:])[0] == 550


def test_a_chain_that_dkimpy_sealed_passes(installation: tuple[Gatepost, Keys]) -> None:
    server, keys = installation
    worker = server.programs[-1]
    message = b"Authentication-Results: mx.example; none\r\n" + MESSAGE
    sealed = b"".join(
        dkim.arc_sign(message, b"r", DOMAIN.encode(), keys.private("r"), b"mx.example", b"none")
    ) + message
    assert sent(server, sealed)[0] == 250
    worker.logged(r"pass, 1 sets, sealed by example\.com")
    assert sent(server, sealed.replace(b"end", b"and"))[0] == 250
    worker.logged(r"fail: the body was changed 1 sets")


def test_check_says_what_the_dns_has(installation: tuple[Gatepost, Keys], tmp_path: Path) -> None:
    server, keys = installation
    done = command(server.config, "check", DOMAIN)
    assert (done.returncode, done.stdout) == (0, "r: the DNS has this key\ne: the DNS has this key\n")
    done = command(server.config, "check", DOMAIN, "e")
    assert (done.returncode, done.stdout) == (0, "e: the DNS has this key\n")

    def other(port: int) -> Path:
        config = tmp_path / f"config{port}"
        config.mkdir()
        (config / "worker.toml").write_text(f'[dns]\nservers = ["127.0.0.1:{port}"]\ntimeout_ms = 500\n')
        return config

    config = other(keys.unbound.port)
    for selector in ("r", "new"):
        assert command(config, "genkey", DOMAIN, selector, "--bits", "1024").returncode == 0
    done = command(config, "check", DOMAIN)
    assert (done.returncode, done.stdout) == (1, "r: the DNS has another key\nnew: there is no key\n")
    done = command(config, "check", "example.net")
    assert (done.returncode, done.stderr) == (1, "gatepost dkim: example.net has no key\n")
    dead = other(free_port())
    assert command(dead, "genkey", DOMAIN, "r", "--bits", "1024").returncode == 0
    done = command(dead, "check", DOMAIN)
    assert (done.returncode, done.stdout) == (69, "r: the DNS did not answer\n")


class OpenDKIM:
    """opendkim(8), which signs or verifies a file and ends; it finds keys in a file as well."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder, self.keys = folder, keys
        texts = "".join(f"{name} {text}\n" for name, text in keys.texts.items())
        (folder / "dns").write_text(texts)
        (folder / "verify.conf").write_text(
            f"Mode v\nSyslog no\nTestDNSData {folder}/dns\nAuthservID peer.example\nAlwaysAddARHeader yes\n"
        )

    def _field(self, message: bytes, *words: str) -> bytes:
        """The field that it would put on top of the message, lines as on the wire."""
        (self.folder / "message").write_bytes(message)
        done = subprocess.run(
            ["/usr/sbin/opendkim", *words, "-vvv", "-t", str(self.folder / "message")],
            capture_output=True, timeout=60,
        )
        found = re.search(rb"### INSHEADER: idx=0 hname='([^']+)' hvalue='(.*?)'\n", done.stdout, re.DOTALL)
        assert found, done
        return b"%s: %s\r\n" % (found[1], found[2].replace(b"\n", b"\r\n"))

    def sign(self, message: bytes, selector: str, form: str) -> bytes:
        key = self.keys.folder / ("private" if selector == "r" else f"{selector}.private")
        algorithm = "rsa-sha256" if selector == "r" else "ed25519-sha256"
        config = self.folder / "sign.conf"
        config.write_text(
            f"Mode s\nSyslog no\nDomain {DOMAIN}\nSelector {selector}\nKeyFile {key}\nCanonicalization {form}\n"
            f"SignatureAlgorithm {algorithm}\nRequireSafeKeys no\nTestDNSData {self.folder}/dns\n"
        )
        return self._field(message, "-x", str(config), "-b", "s") + message

    def result(self, message: bytes) -> tuple[str, str]:
        """What the message's signature is worth, and its selector."""
        field = self._field(message, "-x", str(self.folder / "verify.conf")).decode()
        found = re.search(r"\sdkim=(\w+)[^;]* header\.s=(\w+)", field)
        assert found, field
        return found[1], found[2]


@pytest.fixture(scope="module")
def opendkim(installation: tuple[Gatepost, Keys], tmp_path_factory: pytest.TempPathFactory) -> OpenDKIM:
    return OpenDKIM(tmp_path_factory.mktemp("opendkim"), installation[1])


HEAD = b"From: Bob <bob@example.com>\r\nTo: alice@example.org\r\nSubject: shapes\r\n\r\n"
#: Bodies whose forms differ, and a header that has more than one line in a field.
SHAPES = {
    # It drops spaces in front of a value when it reads a file.
    "forms": MESSAGE.replace(b"Subject:  ", b"Subject: "),
    "empty": HEAD,
    "blank": HEAD + b"\r\n \r\n\r\n",
    "spaces": HEAD + b"a  b\t \r\n \tc\r\n",
    "mime": HEAD.replace(b"Subject", b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"x y\"\r\nSubject")
    + b"--x y\r\n\r\none\r\n--x y--\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("selector", "form"),
    # Its own verifier does not take its Ed25519 signatures of headers in the form `simple`.
    [("r", form) for form in FORMS] + [("e", form) for form in FORMS if form.startswith("relaxed")],
)
def test_what_opendkim_signs_passes_and_a_change_does_not(
    installation: tuple[Gatepost, Keys], opendkim: OpenDKIM, selector: str, form: str, shape: str
) -> None:
    server, _ = installation
    signed = opendkim.sign(SHAPES[shape], selector, form)
    assert sent(server, signed)[0] == 250
    assert sent(server, signed.replace(b"Bob", b"Rob")) == (550, "5.7.20")
    assert sent(server, signed + b"more\r\n") == (550, "5.7.20")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_we_sign_passes_at_opendkim_and_a_change_does_not(
    installation: tuple[Gatepost, Keys], opendkim: OpenDKIM, shape: str
) -> None:
    server, _ = installation
    server.maildir.clear()
    assert sent(server, SHAPES[shape], "192.0.2.1")[0] == 250
    stored = server.maildir.only().octets
    # It tells one result of a message, so it gets one signature at a time.
    fields = re.findall(rb"^DKIM-Signature:.*\r\n(?:[ \t].*\r\n)*", stored, re.MULTILINE)
    selectors = [found[1].decode() for field in fields if (found := re.search(rb"\ss=(\w+);", field))]
    assert sorted(selectors) == ["e", "r"]
    for selector, field in zip(selectors, fields):
        alone = field + stored[stored.index(b"From:") :]
        assert opendkim.result(alone) == ("pass", selector)
        for changed in (alone.replace(b"Bob", b"Rob"), alone + b"more\r\n", b"Subject: x\r\n" + alone):
            assert opendkim.result(changed) == ("fail", selector), changed
