"""Starts the systems that Gatepost is measured against, on loopback, and ends them by their own means.

Each is a context manager that yields the port it listens on:

    with smtp_sink() as port: ...
    with postfix_with_milter(queue=False) as port: ...
    with qpsmtpd_prefork() as port: ...

All of them are Debian packages: postfix (smtp-sink, smtp-source, smtpd), libmilter-dev, qpsmtpd.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
#: Where mail, spools and queues lie, of Gatepost as of all others: a real disk, and not /tmp. On ext4 without
#: a journal a file is slow to make where thousands were just removed; see README.md.
DISK = os.environ.get("GATEPOST_BENCH_DISK", "/var/tmp")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(
    where: int | pathlib.Path,
    process: subprocess.Popen | None = None,
    greets: bool = True,
    seconds: float = 20,
) -> None:
    """Returns once a server accepts at `where`, a port or a socket's path, and says something if it
    `greets`; raises when the process ends or time is up."""
    family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
    address = ("127.0.0.1", where) if isinstance(where, int) else str(where)
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.socket(family) as peer:
            peer.settimeout(5)
            peer.connect(address)
            if not greets or peer.recv(1):
                return
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before it listened at {where}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no server listens at {where}")
        time.sleep(0.02)


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def smtp_sink(path: pathlib.Path | None = None):
    """Postfix's smtp-sink: C, in memory, no policy. At a Unix socket if there is a `path`."""
    where = path or free_port()
    process = subprocess.Popen(
        ["smtp-sink", "-u", "nobody", f"unix:{path}" if path else f"127.0.0.1:{where}", "1024"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(where, process)
        if path:
            path.chmod(0o666)
        yield where
    finally:
        end(process)


@contextlib.contextmanager
def _milter(folder: pathlib.Path):
    binary = folder / "milter"
    subprocess.run(
        ["cc", "-O2", "-o", str(binary), str(HERE / "milter.c"), "-lmilter", "-lpthread"], check=True
    )
    path = folder / "milter.sock"
    process = subprocess.Popen([str(binary), f"unix:{path}"])
    try:
        wait_for(path, process, greets=False)
        path.chmod(0o666)
        yield f"unix:{path}"
    finally:
        end(process)


@contextlib.contextmanager
def postfix_with_milter(
    queue: bool = False, milter: bool | str = True, certificate=None, settings: str = "", found=lambda pid: None
):
    """A private Postfix: smtpd and one C milter, before a sink (proxy) or its own fsynced queue.

    Milter and sink are reached by Unix sockets: over TCP they wait for delayed acknowledgements of 40 ms.
    With a `certificate` it begins with TLS.
    With `queue` delivered mail is discarded by Postfix's discard(8), so that only receiving counts.
    A `milter` may be the address of one that runs. `settings` are further lines of main.cf; `found` is told the
    pid of Postfix's master(8).
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-postfix-", dir=DISK))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        port = free_port()
        etc, spool, data = folder / "etc", folder / "spool", folder / "data"
        for each in (etc, spool, data):
            each.mkdir()
        postfix = pwd.getpwnam("postfix")
        os.chown(data, postfix.pw_uid, postfix.pw_gid)
        proxy = ""
        if not queue:
            sink = stack.enter_context(smtp_sink(folder / "sink.sock"))
            proxy = f" -o smtpd_proxy_filter=unix:{sink}"
        tls = (
            "smtpd_tls_wrappermode = yes\nsmtpd_tls_security_level = encrypt\n"
            f"smtpd_tls_chain_files = {certificate.key} {certificate.chain}\n"
            if certificate
            else ""
        )
        filters = milter if isinstance(milter, str) else stack.enter_context(_milter(folder)) if milter else ""
        (etc / "main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
myhostname = bench.example
relay_domains = example.com
smtpd_milters = {filters}
milter_default_action = tempfail
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
default_process_limit = 200
message_size_limit = 0
relay_transport = discard
maillog_file = /dev/null
maillog_file_prefixes = /dev
{tls}{settings}"""
        )
        (etc / "master.cf").write_text(
            f"""127.0.0.1:{port} inet n - n - 100 smtpd{proxy}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
discard unix - - n - - discard
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
"""
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["postfix", "-c", str(etc), "start"], check=True, **quiet)
        stack.callback(subprocess.run, ["postfix", "-c", str(etc), "abort"], check=False, **quiet)
        wait_for(port, greets=not certificate and "proxy_protocol" not in settings)
        found(int((spool / "pid" / "master.pid").read_text()))
        yield port


@contextlib.contextmanager
def qpsmtpd_prefork():
    """qpsmtpd-prefork with plugins inside its processes and a queue that discards.

    It looks up the name of each client in the DNS before its banner, and has no option not to: a
    resolver that drops one query of a burst holds a connection for seconds. No other system here asks
    the DNS, so a module that is loaded first takes the look-up away. It may have a child for each
    of 100 clients, where the default is 15.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-qpsmtpd-", dir=DISK))
    folder.chmod(0o755)
    port = free_port()
    config, plugins, spool = folder / "config", folder / "plugins", folder / "spool"
    for each in (config, plugins, spool):
        each.mkdir()
    (plugins / "queue_discard").write_text(
        'sub hook_queue { return (OK, "Queued") }\nsub hook_rcpt { return (OK) }\n1;\n'
    )
    (config / "plugins").write_text("queue_discard\n")
    (folder / "NoReverse.pm").write_text(
        "package NoReverse;\nuse Qpsmtpd::TcpServer;\nno warnings 'redefine';\n"
        '*Qpsmtpd::TcpServer::tcpenv = sub { return ($_[0], $_[1], "[$_[1]]") };\n1;\n'
    )
    (config / "me").write_text("bench.example\n")
    (config / "loglevel").write_text("0\n")
    (config / "spool_dir").write_text(f"{spool}\n")
    (config / "plugin_dirs").write_text(f"{plugins}\n/usr/share/qpsmtpd/plugins\n")
    for each in (folder, config, plugins, spool):
        shutil.chown(each, "qpsmtpd")
    spool.chmod(0o700)
    process = subprocess.Popen(
        ["perl", "-Tw", f"-I{folder}", "-MNoReverse", shutil.which("qpsmtpd-prefork") or "qpsmtpd-prefork",
         "--listen-address", f"127.0.0.1:{port}", "--user", "qpsmtpd",
         "--children", "130", "--idle-children", "30", "--max-from-ip", "0"],
        env=os.environ | {"QPSMTPD_CONFIG": str(config)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)
