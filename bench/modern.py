"""config/modern-mx beside Postfix with rspamd as its milter: the same mail, and the same Dovecot behind both."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import systems  # noqa: F401 - puts the harness in the path
import peers
from harness import certificates
from harness.gatepost import Gatepost
from harness.peers import Dovecot, DovecotLMTP, UnboundServer
from harness.ports import free_port
from harness.scanners import RspamdServer
from harness.waiting import wait_until
from mail import MAIL, Session, send
from processes import family_octets, family_seconds

EXAMPLE = Path(__file__).resolve().parents[1] / "config/modern-mx"
CLIENTS = 20


class Zones(UnboundServer):
    """The sender's domain with SPF and DMARC, and names for all clients."""

    def __init__(self) -> None:
        super().__init__("bm")
        records = [
            'example.net. TXT "v=spf1 ip4:198.51.100.0/24 -all"', '_dmarc.example.net. TXT "v=DMARC1; p=reject"',
            "example.net. MX 10 mail.example.net.",
            *(f"mail.example.net. A 198.51.100.{n}" for n in range(1, 51)),
            *(f"{n}.100.51.198.in-addr.arpa. PTR mail.example.net." for n in range(1, 51)),
        ]  # fmt: skip
        data = "".join(f"  local-data: '{record}'\n" for record in records)
        self.serve('  local-zone: "100.51.198.in-addr.arpa." static\n' + data)


class Milter(RspamdServer):
    """The same rspamd with a worker that speaks the milter protocol and scans by itself."""

    def start(self, argv: list, **environment: str):
        self.milter = free_port()
        conf = self.folder / "conf"
        conf.write_text(
            conf.read_text()
            + f'worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{self.milter}"; milter = yes; timeout = 60s; count = 1;'
            ' upstream "local" { default = yes; self_scan = yes; } }\n'
        )
        return super().start(argv, **environment)


@dataclass
class Whole:
    """A system with its peers: all their processes count."""

    port: int
    pids: list[int]
    lmtp: DovecotLMTP

    def arrived(self) -> int:
        folder = self.lmtp.folder / "alice/mail/new"
        return len(os.listdir(folder)) if folder.exists() else 0


@contextlib.contextmanager
def modern_mx() -> Iterator[Whole]:
    """The example with other addresses; a new client need not wait."""
    with contextlib.ExitStack() as stack:
        dns, rspamd, lmtp, logins = Zones(), RspamdServer(), DovecotLMTP(), Dovecot({"alice@example.com": "secret"})
        for peer in (dns, rspamd, lmtp, logins):
            stack.callback(peer.close)
        server = Gatepost()
        stack.callback(server.remove)
        certificate = certificates.make(server.folder, "mx", "mx.example.com")
        changes = {
            'user = "gatepost"\n': "",
            "/etc/ssl/gatepost/fullchain.pem": str(certificate.chain),
            "/etc/ssl/gatepost/key.pem": str(certificate.key),
            "0.0.0.0:25": f"127.0.0.1:{server.port}",
            "0.0.0.0:587": f"127.0.0.1:{free_port()}",
            'name = "mx"\n': 'name = "mx"\nproxy_protocol = true\nproxy_networks = ["127.0.0.1"]\n',
            "greeting_delay_ms = 1000": "greeting_delay_ms = 0",
            "[[pool]]": "[limits]\nmax_sessions_per_ip = 0\n\n[[pool]]",
            "127.0.0.1:53": f"127.0.0.1:{dns.port}",
            "/run/dovecot/auth-client": str(logins.client),
            "black_timeout 5m": "black_timeout 0",
            "127.0.0.1:11333": f"127.0.0.1:{rspamd.port}",
            "/run/dovecot/lmtp": str(lmtp.socket),
        }
        folder = server.folder / "modern"
        folder.mkdir()
        for path in EXAMPLE.iterdir():
            text = path.read_text()
            for old, new in changes.items():
                text = text.replace(old, new, 1)
            (folder / path.name).write_text(text)
        frontend = server.frontend("--log-level", "warning", ready=False, config="modern")
        worker = server.start("gatepost-worker", "--config", folder, "--log-level", "warning")
        worker.ready()
        frontend.ready()
        pids = [each.pid for each in (frontend, worker, dns.program, rspamd.program, lmtp.program, logins.program)]
        yield Whole(server.port, pids, lmtp)
        server.stop()


@contextlib.contextmanager
def postfix_with_rspamd() -> Iterator[Whole]:
    """Takes mail into its queue, and hands it to Dovecot from there."""
    with contextlib.ExitStack() as stack:
        rspamd, lmtp = Milter(), DovecotLMTP()
        for peer in (rspamd, lmtp):
            stack.callback(peer.close)
        settings = (
            f"smtpd_upstream_proxy_protocol = haproxy\nrelay_transport = lmtp:unix:{lmtp.socket}\n"
            "in_flow_delay = 0\nsmtpd_peername_lookup = no\nrelay_recipient_maps =\nlmtp_destination_concurrency_limit = 20\ndefault_destination_recipient_limit = 1\n"
        )
        pids = [rspamd.program.pid, lmtp.program.pid]
        postfix = peers.postfix_with_milter(
            queue=True, milter=f"inet:127.0.0.1:{rspamd.milter}", settings=settings, found=pids.append
        )
        yield Whole(stack.enter_context(postfix), pids, lmtp)


SYSTEMS: dict[str, Callable[[], contextlib.AbstractContextManager[Whole]]] = {
    "Gatepost, config/modern-mx": modern_mx,
    "Postfix, rspamd as milter": postfix_with_rspamd,
}


@dataclass
class Result:
    """A round: messages a second until the last one is in the mailbox, and until the client has its last 250; CPU of
    a message in µs."""

    delivered: float
    accepted: float
    cpu: float


def measure(system: Whole, message: bytes, messages: int) -> Result:
    before, there = sum(family_seconds(pid) for pid in system.pids), system.arrived()
    began = time.monotonic()
    seconds = send(system.port, Session(message), messages, CLIENTS)
    wait_until(lambda: system.arrived() - there >= messages, 120, "all mail in the mailbox", 0.01)
    whole = time.monotonic() - began
    spent = sum(family_seconds(pid) for pid in system.pids) - before
    return Result(messages / whole, messages / seconds, 1e6 * spent / messages)


def table(rounds: int, messages: int) -> str:
    """By turns, for each kind of mail: both systems, and the ratio of Gatepost's figures to Postfix's of the same round."""
    lines = [
        f"{CLIENTS} clients, a connection a message, {messages} messages a round (a tenth of them with an attachment)", "",
        "| mail | system | delivered/s | accepted/s | CPU µs a message, all processes | memory MB |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        started = {name: stack.enter_context(start()) for name, start in SYSTEMS.items()}
        for mail, message in MAIL.items():
            count = max(CLIENTS, messages // 10 if mail == "attachment" else messages)
            results: dict[str, list[Result]] = {name: [] for name in started}
            for system in started.values():
                send(system.port, Session(message), 100 if len(message) < 100_000 else 50, CLIENTS, strict=False)
                seen = -1
                while seen != (seen := system.arrived()):
                    time.sleep(0.5)
            for _ in range(rounds):
                for name, system in started.items():
                    results[name].append(measure(system, message, count))
            memory = {name: sum(map(family_octets, system.pids)) / 1e6 for name, system in started.items()}
            for name, each in results.items():
                cells = [_shown([getattr(one, key) for one in each]) for key in ("delivered", "accepted", "cpu")]
                lines.append(f"| {mail} | {name} | {' | '.join(cells)} | {memory[name]:.0f} |")
            ours, theirs = results.values()
            ratios = [
                _shown([getattr(a, key) / getattr(b, key) for a, b in zip(ours, theirs)], 2)
                for key in ("delivered", "accepted", "cpu")
            ]
            first, second = memory.values()
            lines.append(f"| {mail} | ratio | {' | '.join(ratios)} | {first / second:.2f} |")
    return "\n".join(lines)


def _shown(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


__all__ = ["table"]
