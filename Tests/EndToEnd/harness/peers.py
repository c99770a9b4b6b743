"""Real peers from Debian packages, each started privately on loopback and ended by its pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .certificates import Certificate
from . import certificates
from .ports import free_port
from .program import Program
from .waiting import wait_until


class Peer:
    """A folder under /tmp, a port, a process."""

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"gp{name}", dir="/tmp"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.program: Program | None = None

    def start(self, argv: list[str | Path], **environment: str) -> Program:
        log = self.folder / "log"
        self.program = Program(Path(argv[0]).name, argv, log, environment, cwd=self.folder)
        return self.program

    def close(self) -> None:
        if self.program is not None:
            if self.program.is_running:
                self.program.stop()
            self.program.abandon()
        shutil.rmtree(self.folder, ignore_errors=True)

    def describe(self) -> str:
        return self.program.tail() if self.program else "it was never started"


class Spamd(Peer):
    """SpamAssassin's daemon with Debian's rules, no network tests, no user files."""

    def __init__(self) -> None:
        super().__init__("sa")
        site = self.folder / "site"
        site.mkdir()
        # The .pre files that load the usual plugins, but no local.cf of this machine.
        for pre in Path("/etc/spamassassin").glob("*.pre"):
            shutil.copy(pre, site / pre.name)
        (site / "local.cf").write_text(
            "use_bayes 0\nuse_auto_whitelist 0\nreport_safe 0\n"
            "add_header all Report _REPORT_\nskip_rbl_checks 1\ndns_available no\n"
        )
        self.start(
            [
                "/usr/sbin/spamd",
                "--local",
                "--nouser-config",
                f"--siteconfigpath={site}",
                "--configpath=/usr/share/spamassassin",
                f"--listen=127.0.0.1:{self.port}",
                "--allowed-ips=127.0.0.1",
                "--max-children=2",
                "--min-children=1",
                "--min-spare=1",
                "--max-spare=1",
                f"--helper-home-dir={self.folder}",
                f"--pidfile={self.folder}/pid",
                "--syslog=stderr",
                *(["--username=nobody"] if os.getuid() == 0 else []),
            ],
            HOME=str(self.folder),
        )
        wait_until(self._pongs, 90, lambda: f"spamd answering PING{self.describe()}", 0.1)

    def _pongs(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"PING SPAMC/1.5\r\n\r\n")
                return b"PONG" in connection.recv(100)
        except OSError:
            return False


class Dovecot(Peer):
    """Dovecot with users of a file: the sockets of its authentication for other servers, and IMAP."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__("dov")
        #: IMAP with STARTTLS, and with TLS from the first octet; the certificate is for `localhost`.
        self.imap, self.imaps = free_port(), free_port()
        self.certificate = certificates.make(self.folder, "imap", "localhost")
        #: Where clients of authentication connect; `port` is the same over TCP.
        self.client = self.folder / "run" / "auth-client"
        #: A socket of another protocol.
        self.master = self.folder / "run" / "auth-master"
        (self.folder / "users").write_text("".join(f"{user}:{{PLAIN}}{word}\n" for user, word in users.items()))
        (self.folder / "conf").write_text(
            f"base_dir = {self.folder}/run\nstate_dir = {self.folder}\nlog_path = /dev/stderr\n"
            f"protocols = imap\nssl = yes\nssl_cert = <{self.certificate.chain}\nssl_key = <{self.certificate.key}\n"
            f"mail_location = maildir:{self.folder}/mail\nssl_dh =\nauth_mechanisms = plain login\nauth_failure_delay = 1 s\n"
            "default_internal_user = nobody\ndefault_login_user = nobody\ndefault_internal_group = nogroup\n"
            f"passdb {{\n  driver = passwd-file\n  args = {self.folder}/users\n}}\n"
            f"userdb {{\n  driver = static\n  args = uid={os.getuid() or 65534} gid={os.getgid() or 65534}"
            f" home={self.folder}\n}}\nmail_max_userip_connections = 100\n"
            "service imap-login {\n  chroot =\n"
            f"  inet_listener imap {{\n    address = 127.0.0.1\n    port = {self.imap}\n  }}\n"
            f"  inet_listener imaps {{\n    address = 127.0.0.1\n    port = {self.imaps}\n    ssl = yes\n  }}\n}}\n"
            # An address that fails is not made to wait longer and longer: the tests come from one.
            "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
            "service auth {\n  unix_listener auth-client {\n    mode = 0666\n  }\n"
            "  unix_listener auth-master {\n    mode = 0666\n  }\n"
            f"  inet_listener {{\n    address = 127.0.0.1\n    port = {self.port}\n  }}\n}}\n"
        )
        self.serve()

    def serve(self) -> None:
        """Starts it, also once more after `stop`."""
        self.start(["/usr/sbin/dovecot", "-F", "-c", self.folder / "conf"])
        wait_until(self._greets, 30, lambda: f"Dovecot saying DONE{self.describe()}", 0.1)

    def stop(self) -> None:
        """Ends it, and the process that has the connections of clients, which would serve them on."""
        assert self.program is not None
        self.program.stop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.authenticator, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{self.authenticator}").exists(), 10, "Dovecot is gone", 0.1)

    def close(self) -> None:
        self.stop()
        super().close()

    def _greets(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.client))
                said = b""
                while b"\nDONE\n" not in said:
                    part = connection.recv(4_096)
                    if not part:
                        return False
                    said += part
                self.authenticator = int(said.partition(b"\nSPID\t")[2].split(b"\n")[0])
                return True
        except OSError:
            return False


class UnboundServer(Peer):
    """An unbound(8) that knows no name but those that its settings say."""

    def serve(self, settings: str) -> None:
        """Starts it; `settings` are further lines of the clause `server`, and clauses behind them."""
        (self.folder / "unbound.conf").write_text(
            "server:\n"
            f"  interface: 127.0.0.1@{self.port}\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  logfile: ""\n  use-syslog: no\n  verbosity: 1\n  num-threads: 1\n'
            "  do-daemonize: no\n  access-control: 127.0.0.0/8 allow\n"
            '  module-config: "iterator"\n  local-zone: "." static\n'
            + settings
            + "remote-control:\n  control-enable: no\n"
        )
        self.start(["/usr/sbin/unbound", "-d", "-c", self.folder / "unbound.conf"])
        wait_until(self._answers, 20, lambda: f"unbound answering{self.describe()}", 0.05)

    def _answers(self) -> bool:
        """Whether anything comes back."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            try:
                udp.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\4test\0\0\1\0\1", ("127.0.0.1", self.port))
                return len(udp.recv(1500)) > 12
            except OSError:
                return False


class Unbound(UnboundServer):
    """A resolver that knows the zones of `ZONES` and nothing else.

    `drop.test` is never answered and `refused.test` is refused: DNS that is failing.
    """

    ZONES = (
        "mx.test. MX 10 mail.mx.test.",
        "mail.mx.test. A 192.0.2.25",
        "a.test. A 192.0.2.26",
        "aaaa.test. AAAA 2001:db8::26",
        'nothing.test. TXT "no address, no MX"',
        "null.test. MX 0 .",
        "loop.test. MX 10 localhost.loop.test.",
        "localhost.loop.test. A 127.0.0.1",
        "dangling.test. MX 10 gone.dangling.test.",
        # Lists: of clients, of domains, and one that lists everything.
        "2.100.51.198.bl.test. A 127.0.0.4",
        '2.100.51.198.bl.test. TXT "see https://bl.test/"',
        "evil.test.rhs.test. A 127.0.1.2",
        "all.test. A 127.0.0.2",
        # Names of clients: one that leads back, one that does not.
        "3.100.51.198.in-addr.arpa. PTR mail.three.test.",
        "mail.three.test. A 198.51.100.3",
        "4.100.51.198.in-addr.arpa. PTR mail.three.test.",
    )

    def __init__(self) -> None:
        super().__init__("dns")
        data = "".join(f"  local-data: '{record}'\n" for record in self.ZONES)
        self.serve(
            '  local-zone: "test." static\n'
            '  local-zone: "drop.test." deny\n'
            '  local-zone: "refused.test." refuse\n'
            '  local-zone: "all.test." redirect\n'
            '  local-zone: "100.51.198.in-addr.arpa." static\n'
            + data
        )

    def _answers(self) -> bool:
        """Asks for a.test A and looks for NOERROR with one answer."""
        query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            try:
                udp.sendto(query, ("127.0.0.1", self.port))
                answer = udp.recv(1500)
            except OSError:
                return False
        return answer[3] & 15 == 0 and answer[7] == 1


class TextZone(UnboundServer):
    """A resolver that knows these texts and nothing else; names below `drop.test` are never answered."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__("txt")
        lines = ""
        for name, text in texts.items():
            strings = " ".join(f'"{text[start : start + 250]}"' for start in range(0, len(text), 250))
            lines += f"  local-data: '{name}. TXT {strings}'\n"
        self.serve('  local-zone: "drop.test." deny\n' + lines)


class SignedZones(UnboundServer):
    """A server of zones that are signed (DNSSEC), by zone the lines of each; `anchors` has their keys.

    The signatures of zones in `forged` are by other keys than `anchors` has; zones in `unsigned` have none.
    """

    def __init__(
        self, zones: Mapping[str, Sequence[str]], forged: Sequence[str] = (), unsigned: Sequence[str] = ()
    ) -> None:
        super().__init__("sz")
        self.anchors = self.folder / "anchors"
        parts, anchors = [], []
        for zone, lines in zones.items():
            file = self.folder / zone
            head = f"@ 3600 IN SOA ns.{zone}. root.{zone}. 1 3600 600 86400 60\n@ 3600 IN NS ns.{zone}.\n"
            file.write_text(f"$ORIGIN {zone}.\n{head}" + "".join(f"{line}\n" for line in lines))
            if zone not in unsigned:
                key = self._key(zone)
                self._run("ldns-signzone", file.name, key)
                file = self.folder / f"{zone}.signed"
                anchor = self._key(zone) if zone in forged else key
                anchors.append((self.folder / f"{anchor}.key").read_text())
            parts.append(
                f'auth-zone:\n  name: "{zone}."\n  zonefile: "{file}"\n  for-downstream: yes\n'
                "  for-upstream: no\n  fallback-enabled: no\n"
            )
        self.anchors.write_text("".join(anchors))
        self.serve(
            "".join(f'  local-zone: "{zone}." transparent\n' for zone in zones)
            + "".join(parts)
        )

    def _key(self, zone: str) -> str:
        return self._run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone).strip()

    def _run(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _answers(self) -> bool:
        """Whether anything comes back."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            try:
                udp.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\4test\0\0\1\0\1", ("127.0.0.1", self.port))
                return len(udp.recv(1500)) > 12
            except OSError:
                return False


class Postfix:
    """A Postfix of our own that only sends, to `port`: its queue manager and its SMTP client.

    Needs root, because postfix(1) does. `services` are further lines of master.cf.
    """

    def __init__(self, port: int, *settings: str, services: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gppf", dir="/tmp"))
        self.folder.chmod(0o755)
        self.config = self.folder / "etc"
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        (self.config / "main.cf").write_text(
            "compatibility_level = 3.6\n"
            f"queue_directory = {self.folder}/queue\ndata_directory = {self.folder}/data\n"
            "myhostname = sender.example.net\nmydestination =\ninet_interfaces = loopback-only\n"
            "inet_protocols = ipv4\nlocal_transport = error:nothing is local\n"
            f"relayhost = [127.0.0.1]:{port}\nmaillog_file = {self.folder}/log\n"
            f"maillog_file_prefixes = {self.folder}\nalias_maps =\nlocal_recipient_maps =\n"
            "smtp_tls_security_level = none\nsmtputf8_enable = yes\n"
            "import_environment = MAIL_CONFIG MAIL_LOGTAG\n"
            + "".join(f"{setting}\n" for setting in settings)
        )
        service = "{0} {1} {2} - n {3} {4} {5}\n".format
        (self.config / "master.cf").write_text(
            # name, type, private, wake-up, most processes, command
            service("pickup", "unix", "n", 60, 1, "pickup")
            + service("cleanup", "unix", "n", "-", 0, "cleanup")
            + service("qmgr", "unix", "n", 300, 1, "qmgr")
            + service("rewrite", "unix", "-", "-", "-", "trivial-rewrite")
            + service("bounce", "unix", "-", "-", 0, "bounce")
            + service("defer", "unix", "-", "-", 0, "bounce")
            + service("trace", "unix", "-", "-", 0, "bounce")
            + service("smtp", "unix", "-", "-", "-", "smtp")
            + service("error", "unix", "-", "-", "-", "error")
            + service("retry", "unix", "-", "-", "-", "error")
            + service("scache", "unix", "-", "-", 1, "scache")
            + service("tlsmgr", "unix", "-", "1000?", 1, "tlsmgr")
            + service("postlog", "unix-dgram", "n", "-", 1, "postlogd")
            + "".join(f"{each}\n" for each in services)
        )
        self._command("start")

    def _command(self, verb: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", self.config, verb], capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise AssertionError(f"postfix {verb}: {done.stdout}{done.stderr}\n{self.log()}")

    def submit(self, message: bytes, sender: str, *recipients: str) -> None:
        """Hands a message with LF line ends to the queue."""
        subprocess.run(
            ["/usr/sbin/sendmail", "-C", self.config, "-G", "-i", "-f", sender, "--", *recipients],
            input=message,
            check=True,
            timeout=60,
        )

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

    def sent(self, seconds: float = 30) -> str:
        """Waits for the log line that tells how the next hop replied."""

        def line() -> str | None:
            return next((each for each in self.log().splitlines() if "status=" in each), None)

        return wait_until(line, seconds, lambda: f"postfix sending:\n{self.log()}", 0.05)

    def close(self) -> None:
        try:
            self._command("stop")
            pid_file = self.folder / "queue" / "pid" / "master.pid"
            deadline = time.monotonic() + 10
            while pid_file.exists() and _is_locked(pid_file) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class PostfixServer(Postfix):
    """A Postfix that takes mail for example.com by SMTP, under TLS alone, and stores it.

    `recipients` is the map of those that it knows. It refuses the sender's domain `refused.example`.
    """

    def __init__(self, certificate: Certificate, recipients: str = "static:inbox/") -> None:
        self.port = free_port()
        self._mail = Path(tempfile.mkdtemp(prefix="gppm", dir="/tmp"))
        shutil.chown(self._mail, "nobody")
        super().__init__(
            9,
            f"smtpd_tls_cert_file = {certificate.chain}",
            f"smtpd_tls_key_file = {certificate.key}",
            "smtpd_tls_security_level = encrypt",
            "smtpd_tls_received_header = yes",
            "smtpd_relay_restrictions = permit_auth_destination, reject",
            "virtual_mailbox_domains = example.com",
            f"virtual_mailbox_base = {self._mail}",
            f"virtual_mailbox_maps = {recipients}",
            "smtpd_delay_reject = no",
            "smtpd_sender_restrictions = check_sender_access inline:{refused.example=REJECT}",
            "virtual_uid_maps = static:65534",
            "virtual_gid_maps = static:65534",
            services=(
                f"127.0.0.1:{self.port} inet n - n - - smtpd",
                "virtual unix - n n - - virtual",
                "anvil unix - - n - 1 anvil",
            ),
        )
        wait_until(self._listens, 20, lambda: f"postfix listening:\n{self.log()}", 0.05)

    def __enter__(self) -> PostfixServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        shutil.rmtree(self._mail, ignore_errors=True)

    def delivered(self) -> list[bytes]:
        return [each.read_bytes() for each in sorted((self._mail / "inbox" / "new").glob("*"))]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _is_locked(path: Path) -> bool:
    pid = int(path.read_text().strip() or 0)
    return pid > 0 and Path(f"/proc/{pid}").exists()


#: Where scripts/test unpacks Exim, whose package cannot be installed beside Postfix.
EXIM = Path(__file__).resolve().parents[3] / ".build/peers/exim4-daemon-light/usr/sbin/exim4"


def has_exim() -> bool:
    """Exim is there, and may be started: it wants a user of its own, which a private mount gives it."""
    if os.getuid() != 0 or not EXIM.exists():
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


class Exim:
    """An Exim that sends what it is given to `port` at once: by TLS, in chunks, with DSN and PRDR, if offered."""

    def __init__(self, port: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpex", dir="/tmp"))
        self.folder.chmod(0o755)
        # The program looks up the user that Debian's package makes.
        account = "Debian-exim:x:65533:"
        for name, line in (("passwd", f"{account}65533::/nonexistent:/usr/sbin/nologin"), ("group", account)):
            (self.folder / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
        for name in ("spool", "log"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, 65533, 65533)
        self._config = self.folder / "exim.conf"
        self._config.write_text(
            f"primary_hostname = sender.example.net\nexim_path = {EXIM}\n"
            f"spool_directory = {self.folder}/spool\nlog_file_path = {self.folder}/log/%s\n"
            "keep_environment =\ntls_advertise_hosts =\ndsn_advertise_hosts = *\nacl_smtp_rcpt = accept\n"
            "log_selector = +smtp_confirmation\n"
            # Notices of failures go nowhere.
            "begin routers\nnotices:\n  driver = redirect\n  senders = :\n  data = :blackhole:\n"
            f"all:\n  driver = manualroute\n  route_list = * 127.0.0.1::{port}\n  self = send\n"
            "  transport = out\n"
            "begin transports\nout:\n  driver = smtp\n  hosts_try_prdr = *\n  tls_verify_hosts =\n"
            "  tls_try_verify_hosts =\n"
        )

    def __enter__(self) -> Exim:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, message: bytes, sender: str, *recipients: str) -> str:
        """Delivers a message once; returns the log. Addresses stand in brackets, parameters may follow them."""
        commands = "".join(f"RCPT TO:{each}\r\n" for each in recipients)
        dialogue = f"EHLO localhost\r\nMAIL FROM:{sender}\r\n{commands}DATA\r\n".encode()
        subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c"),
                'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && '
                'exec "$2" -C "$1/exim.conf" -odi -bs',
                *("sh", self.folder, EXIM),
            ],
            input=dialogue + message + b".\r\nQUIT\r\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=True,
        )
        return (self.folder / "log" / "main").read_text()


class DovecotLMTP(Peer):
    """Dovecot's LMTP server, on a Unix socket and on a port.

    It knows alice and bob at example.com; bob's mailbox is full, which it says after the content.
    """

    def __init__(self) -> None:
        super().__init__("dl")
        self.socket = self.folder / "run" / "lmtp"
        (self.folder / "run").mkdir()
        users = ""
        for name, more in (("alice", ""), ("bob", "userdb_quota_rule=*:bytes=10")):
            home = self.folder / name
            home.mkdir()
            shutil.chown(home, "nobody")
            users += f"{name}@example.com:{{PLAIN}}x:65534:65534::{home}::{more}\n"
        (self.folder / "users").write_text(users)
        known = f"driver = passwd-file\n  args = {self.folder}/users"
        (self.folder / "dovecot.conf").write_text(
            f"base_dir = {self.folder}/run\nstate_dir = {self.folder}/state\n"
            f"log_path = {self.folder}/dovecot.log\nprotocols = lmtp\nssl = no\n"
            "default_internal_user = nobody\ndefault_internal_group = nogroup\n"
            "default_login_user = nobody\nmail_location = maildir:~/mail\nmail_plugins = quota\n"
            "postmaster_address = postmaster@example.com\n"
            f"passdb {{\n  {known}\n}}\nuserdb {{\n  {known}\n}}\n"
            "plugin {\n  quota = maildir:User quota\n}\n"
            "service lmtp {\n  unix_listener lmtp {\n    mode = 0666\n  }\n"
            f"  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {self.port}\n  }}\n}}\n"
            "service stats {\n  chroot =\n}\nservice anvil {\n  chroot =\n}\n"
        )
        self.start(["/usr/sbin/dovecot", "-F", "-c", self.folder / "dovecot.conf"])
        wait_until(self._greets, 30, lambda: f"Dovecot greeting{self.describe()}", 0.05)

    def __enter__(self) -> DovecotLMTP:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def mail(self, name: str) -> list[bytes]:
        """The messages in a user's mailbox."""
        return [each.read_bytes() for each in (self.folder / name / "mail" / "new").glob("*")]

    def _greets(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.settimeout(5)
                probe.connect(str(self.socket))
                return probe.recv(100).startswith(b"220 ")
            except OSError:
                return False


class HAProxy(Peer):
    """HAProxy in TCP mode in front of `target`; `option` says what it sends first."""

    def __init__(self, target: int, option: str) -> None:
        super().__init__("ha")
        config = self.folder / "haproxy.cfg"
        config.write_text(
            "defaults\n  mode tcp\n  timeout connect 20s\n  timeout client 60s\n"
            f"  timeout server 60s\nlisten smtp\n  bind 127.0.0.1:{self.port}\n"
            "  unique-id-format %[uuid()]\n"
            f"  server gatepost 127.0.0.1:{target} {option}\n"
        )
        program = self.start(["/usr/sbin/haproxy", "-db", "-f", config])
        # It ends by SIGTERM with the signal's own exit code.
        program.expects_exit = 143
        wait_until(self._listens, 20, lambda: f"HAProxy listening{self.describe()}", 0.05)

    def __enter__(self) -> HAProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Nginx(Peer):
    """nginx as an SMTP proxy of its mail module in front of `target`: it names its client by XCLIENT."""

    def __init__(self, target: int) -> None:
        super().__init__("ng")
        auth = free_port()
        (self.folder / "nginx.conf").write_text(
            "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\n"
            f"daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/log;\n"
            "events {}\n"
            # Its own answer to who the next hop of a client is.
            f"http {{ access_log off; server {{ listen 127.0.0.1:{auth}; location / {{\n"
            "  add_header Auth-Status OK; add_header Auth-Server 127.0.0.1;\n"
            f"  add_header Auth-Port {target}; return 204;\n}} }} }}\n"
            f"mail {{ auth_http 127.0.0.1:{auth}/; server_name proxy.example; server {{\n"
            f"  listen 127.0.0.1:{self.port}; protocol smtp; smtp_auth none; xclient on;\n}} }}\n"
        )
        self.start(["/usr/sbin/nginx", "-c", self.folder / "nginx.conf", "-p", self.folder])
        wait_until(self._listens, 20, lambda: f"nginx listening{self.describe()}", 0.05)

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
