"""`gatepost check` prints all mistakes, or else which plugins are asked, in which order."""

import fcntl
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

import pytest
from conftest import Installation

PORT_START = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def worker_says(installation, out="", err="", code=0):
    for suffix, text in [("out", out), ("err", err), ("code", str(code))]:
        (installation.folder / f"gatepost-worker.{suffix}").write_text(text)


def test_the_order_of_asking_is_printed(installation):
    (installation.config / "me").write_text("mx.example.com\n")
    (installation.config / "rcpthosts").write_text("example.com\n")
    worker_says(installation, "connect relay earlytalker\nrcpt rcpt_ok\nqueue queue/maildir\n")
    done = installation.check()
    # Another program on this machine may have port 2525.
    warnings = [line for line in done.stderr.splitlines() if "listener[0].address" not in line]
    assert done.returncode == 0 and warnings == []
    lines = done.stdout.splitlines()
    assert lines[0] == "frontend (mx.example.com)"
    assert lines[1] == "listener default: 127.0.0.1:2525"
    assert lines[2] == "pool policy: var/run/pools/policy/frontend.sock, opens with 1 worker, on failure tempfail"
    assert [line.split(None, 1) for line in lines[4:]] == [
        ["connect", "policy: relay, earlytalker"],
        ["rcpt", "policy: rcpt_ok"],
        ["queue", "policy: queue/maildir"],
    ]


def test_conditions_of_a_line_stand_beside_its_plugin(installation):
    worker_says(installation, "rcpt dnsbl(if listener=mx, unless relay) rcpt_ok\nqueue queue/maildir(observes)\n")
    lines = installation.check().stdout.splitlines()
    assert "  rcpt                 policy: dnsbl(if listener=mx, unless relay), rcpt_ok" in lines
    assert "  queue                policy: queue/maildir(observes)" in lines


def test_a_plugin_with_conditions_does_not_keep_later_pools_unasked(installation):
    (installation.config / "frontend.toml").write_text('[[pool]]\nname = "policy"\n[[pool]]\nname = "other"\n')
    for labels, is_warned in [("rcpt_ok", True), ("rcpt_ok(if auth)", False), ("rcpt_ok:2(if auth)", False)]:
        worker_says(installation, f"rcpt {labels}\nqueue queue/maildir(if auth)\n")
        assert ("pool other stands after pool policy" in installation.check().stderr) == is_warned


def test_several_pools_are_shown_in_their_order(installation):
    (installation.config / "frontend.toml").write_text(
        '[[pool]]\nname = "other"\non_failure = "skip"\n[[pool]]\nname = "policy"\n'
    )
    worker_says(installation, "rcpt rcpt_ok\n")
    done = installation.check()
    assert done.returncode == 0
    assert "rcpt                 other: as its workers say; policy: rcpt_ok" in done.stdout
    assert "pool other: on_failure = \"skip\"" in done.stderr


def test_nobody_for_recipients_is_said(installation):
    worker_says(installation)
    done = installation.check()
    assert done.returncode == 0
    assert "nobody: every recipient gets 450" in done.stdout
    assert "nobody: every message gets 451" in done.stdout
    assert "warning: config/plugins: no plugin decides at rcpt, so every recipient gets 450; add rcpt_ok" in done.stderr
    assert "warning: config/plugins: no plugin decides at queue, so every message gets 451; add queue/" in done.stderr


def test_lists_that_name_no_domain_for_rcpt_ok_are_said(installation):
    folder = installation.config
    (folder / "frontend.toml").write_text("")
    worker_says(installation, "rcpt badrcptto rcpt_ok:1\nqueue queue/maildir\n")
    warning = "warning: config/rcpthosts: {}, so rcpt_ok refuses all recipients but <Postmaster>{}, relay"
    assert warning.format("there is no such file", "") in installation.check().stderr
    (folder / "rcpthosts").write_text("# none yet\n")
    (folder / "me").write_text("mx.example.com\n")
    assert warning.format("names no domain", " and those at mx.example.com (file me)") in installation.check().stderr
    # Another pool before this one may accept recipients; one after it may not.
    for names, is_said in [(["policy", "python"], True), (["python", "policy"], False)]:
        (folder / "frontend.toml").write_text("".join(f'[[pool]]\nname = "{name}"\n' for name in names))
        assert ("rcpthosts" in installation.check().stderr) == is_said
    (folder / "frontend.toml").write_text("")
    for name in ["rcpthosts", "morercpthosts"]:
        (folder / "rcpthosts").write_text("")
        (folder / name).write_text(".example.com\n")
        done = installation.check()
        assert done.returncode == 0 and "rcpthosts" not in done.stderr
        (folder / name).unlink()


def test_a_pool_that_is_never_asked_is_said(installation):
    said = "pool python stands after pool policy, so it is never asked at rcpt, where rcpt_ok decides, nor at queue"
    for names, is_said in [(["policy", "python"], True), (["python", "policy"], False)]:
        pools = "".join(f'[[pool]]\nname = "{name}"\n' for name in names)
        (installation.config / "frontend.toml").write_text(pools)
        worker_says(installation, "rcpt badrcptto rcpt_ok\nqueue queue/maildir\n")
        done = installation.check()
        assert done.returncode == 0 and (said in done.stderr) == is_said, done.stderr
        worker_says(installation, "rcpt badrcptto\nqueue queue/quarantine\n")
        assert "never asked" not in installation.check().stderr


def test_a_pool_has_a_name_that_workers_may_say(installation):
    worker_says(installation, "rcpt rcpt_ok\n")
    for file, text in [("frontend", '[[pool]]\nname = "My.Pool"\n'), ("worker", 'pool = "My.Pool"\n')]:
        (installation.config / "frontend.toml").write_text("")
        (installation.config / f"{file}.toml").write_text(text)
        done = installation.check()
        assert done.returncode == 78
        assert '"My.Pool" is not a pool\'s name' in done.stderr and f"{file}.toml:" in done.stderr


def listener_warnings(installation, *addresses, **options):
    installation.config.joinpath("frontend.toml").write_text(
        "".join(f'[[listener]]\naddress = "{address}"\n' for address in addresses)
    )
    worker_says(installation, "rcpt rcpt_ok\nqueue queue/maildir\n")
    done = installation.check(**options)
    assert done.returncode == 0
    return [line for line in done.stderr.splitlines() if "listener[" in line]


def test_an_address_that_cannot_be_had_is_said(installation):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free_port, port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        addresses = ["127.0.0.1:0", f"127.0.0.1:{free_port}", f"127.0.0.1:{port}", "192.0.2.1:2525"]
        said = listener_warnings(installation, *addresses)
        assert len(said) == 2
        start = "warning: frontend.toml: listener[2].address"
        assert said[0].startswith(f"{start}: 127.0.0.1:{port} is in use by another program")
        assert "192.0.2.1:2525 is no address of this machine; write one that is" in said[1]
        # `*` is both families: a program that has the port on one is in its way.
        assert f"[::]:{port} is in use" in listener_warnings(installation, f"*:{port}")[0]


def test_the_port_of_the_frontend_that_runs_is_not_said(installation):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lock = installation.folder / "var/run/frontend.lock"
        lock.parent.mkdir(parents=True)
        with lock.open("w") as file:
            assert len(listener_warnings(installation, address)) == 1
            fcntl.flock(file, fcntl.LOCK_EX)
            assert listener_warnings(installation, address) == []


@pytest.mark.skipif(
    os.getuid() != 0 or int(PORT_START.read_text()) <= 25 or not shutil.which("setpriv"),
    reason="takes away a right that only root has",
)
def test_a_port_that_is_not_permitted_is_said(installation):
    dropped = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    said = listener_warnings(installation, "127.0.0.1:25", through=dropped)
    assert len(said) == 1 and "127.0.0.1:25 is not permitted to this user" in said[0]


@pytest.fixture
def open_installation():
    """An installation in a folder that every user may enter."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gpcheck"))
    folder.chmod(0o755)
    made = Installation(folder)
    made.config.chmod(0o755)
    for name in ("plugins", "me", "rcpthosts"):
        file = made.config / name
        file.touch()
        file.chmod(0o644)
    (made.config / "me").write_text("mx.example.com\n")
    (made.config / "rcpthosts").write_text("example.com\n")
    (made.config / "frontend.toml").write_text('user = "nobody"\n')
    (made.config / "frontend.toml").chmod(0o644)
    worker_says(made, "rcpt rcpt_ok\nqueue queue/maildir\n")
    yield made
    shutil.rmtree(folder)


def unreadable(installation, code=78):
    done = installation.check()
    assert done.returncode == code, done.stderr
    return [line for line in done.stderr.splitlines() if 'user "nobody" cannot' in line]


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@needs_root
def test_root_is_told_what_the_user_may_not_read_or_write(open_installation):
    config = open_installation.config
    assert unreadable(open_installation, 0) == []
    (config / "me").chmod(0o600)
    (config / "badhelo").touch()
    (config / "badhelo").chmod(0o640)
    runtime = open_installation.folder / "var/run"
    runtime.mkdir(parents=True)
    (runtime / "frontend.lock").touch()
    runtime.chmod(0o777)
    (runtime / "frontend.lock").chmod(0o600)
    said = unreadable(open_installation)
    remedy = "Permission denied; let the user, or its group"
    assert said == [
        f'config/me: user "nobody" cannot read it: {remedy}',
        f'var/run/frontend.lock: user "nobody" cannot write it: {remedy}',
        f'config/badhelo: user "nobody" cannot read it: {remedy}',
    ]
    # The group suffices, also one that is not the user's first.
    group = pwd.getpwnam("nobody").pw_gid
    for path in (config / "me", config / "badhelo"):
        os.chown(path, 0, group)
        path.chmod(0o640)
    (runtime / "frontend.lock").unlink()
    assert unreadable(open_installation, 0) == []


@needs_root
def test_a_closed_folder_above_is_said_once(open_installation):
    open_installation.config.chmod(0o700)
    assert unreadable(open_installation) == [
        'config/frontend.toml: user "nobody" cannot read it:'
        " config may not be entered; let the user, or its group"
    ]


@needs_root
def test_a_key_that_the_user_may_not_read_is_said(open_installation):
    folder = open_installation.folder
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=mx.example.com", "-addext", "subjectAltName=DNS:mx.example.com", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    chain.chmod(0o644)
    key.chmod(0o600)
    (open_installation.config / "frontend.toml").write_text(
        f'user = "nobody"\n[[tls.certificate]]\nchain = "{chain}"\nkey = "{key}"\n'
    )
    assert [line.split(":")[0] for line in unreadable(open_installation)] == ["key.pem"]
    os.chown(key, 0, pwd.getpwnam("nobody").pw_gid)
    key.chmod(0o640)
    assert unreadable(open_installation, 0) == []


def test_folders_that_cannot_be_made_are_said(installation):
    (installation.folder / "file").write_text("")
    (installation.config / "frontend.toml").write_text(
        'runtime_directory = "file/run"\nspool_directory = "not/yet/there"\n'
    )
    worker_says(installation, "rcpt rcpt_ok\nqueue queue/maildir\n")
    done = installation.check()
    said = [line for line in done.stderr.splitlines() if "_directory" in line]
    assert done.returncode == 0 and len(said) == 1
    assert said[0].startswith(
        "warning: frontend.toml: runtime_directory: this user cannot make files in file/run, "
        "because file is no folder; name another folder"
    )
    assert not (installation.folder / "not").exists()


def test_a_maildir_that_cannot_be_made_is_said(installation):
    installation.install_worker()
    (installation.folder / "file").write_text("")
    for line, place in [
        ("queue/maildir file/mail", "file/mail/new"),
        ("queue/maildir file/mail %u", "file/mail"),
        ("queue/maildir file/mail %u create no", None),
        ("queue/maildir not/yet/there", None),
    ]:
        (installation.config / "plugins").write_text(f"rcpt_ok\n{line}\n")
        done = installation.check()
        said = [line for line in done.stderr.splitlines() if "cannot make files" in line]
        assert done.returncode == 0 and len(said) == (place is not None)
        if place:
            assert said[0].startswith(
                "warning: config/plugins:2: queue/maildir: this user cannot make files in "
                f"{place}, because file is no folder; name another folder"
            )
    assert not (installation.folder / "not").exists()


def test_a_plugin_whose_number_is_left_out_takes_named_arguments(installation):
    installation.install_worker()
    (installation.config / "plugins").write_text("rcpt_ok\nloop reject_type temp\nqueue/discard\n")
    done = installation.check()
    assert done.returncode == 0 and "data_post            policy: loop" in done.stdout


def test_a_broken_include_hides_no_other_mistake(installation):
    installation.install_worker()
    (installation.config / "plugins").write_text("$include gone\nlopp\n$include lost\nrcpt_ok\nloop 0\n")
    (installation.config / "rcpthosts").write_text("$include none\n@example.com\n$include nothing\n")
    (installation.config / "databytes").write_text("$include away\nmany\n")
    done = installation.check()
    assert done.returncode == 78
    places = [(":".join(line.split(":")[:2]), line) for line in done.stderr.splitlines()]
    for place, text in [
        ("config/plugins:1", "$include gone: no such file"),
        ("config/plugins:2", 'unknown plugin; did you mean "loop"?'),
        ("config/plugins:3", "$include lost: no such file"),
        ("config/plugins:5", "argument hops is 0"),
        ("config/rcpthosts:1", "$include none: no such file"),
        ("config/rcpthosts:2", "@example.com matches no domain"),
        ("config/rcpthosts:3", "$include nothing: no such file"),
        ("config/databytes:1", "$include away: no such file"),
        ("config/databytes:2", '"many" is not a number'),
    ]:
        said = [line for _, line in places if f"{place}:" in line and text in line]
        assert len(said) == 1, (place, done.stderr)
    assert places[-1][1] == "gatepost check: 9 problems"


def test_all_mistakes_of_all_files_are_printed_at_once(installation):
    (installation.config / "frontend.toml").write_text("idd = 1\n[limits]\nmax_recipients = 5\n")
    (installation.config / "worker.toml").write_text("[dns]\nservers = ['x']\n")
    (installation.config / "databytes").write_text("many\n")
    worker_says(installation, err="config/plugins:1: no such plugin\nwarning: w\n", code=78)
    done = installation.check()
    assert done.returncode == 78 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == 'config/frontend.toml:1: idd: is not a key; did you mean "id"?'
    assert lines[1].startswith("config/frontend.toml:3: limits.max_recipients: 5 is out of range")
    assert lines[2].startswith("config/worker.toml:2: dns.servers: ")
    assert lines[3].startswith("config/databytes:1: ")
    assert lines[4] == "config/plugins:1: no such plugin"
    assert lines[5] == "gatepost check: 5 problems"


def test_a_wait_that_the_frontend_does_not_keep_is_a_warning(installation):
    (installation.config / "plugins").write_text("check_earlytalker wait 3\n")
    (installation.config / "frontend.toml").write_text(
        '[[listener]]\naddress = "127.0.0.1:2525"\ngreeting_delay_ms = 1000\n'
    )
    worker_says(installation)
    assert "wait 3 differs from greeting_delay_ms" in installation.check().stderr


def test_naughty_behind_rcpt_ok_is_said(installation):
    installation.install_worker()
    (installation.config / "plugins").write_text("rcpt_ok\nnaughty reject rcpt\nnaughty:1 reject data\n")
    done = installation.check()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stands after rcpt_ok") == 1
    warning = "config/plugins:2: naughty: stands after rcpt_ok, but is asked before it at rcpt; move the line up"
    assert f"warning: {warning}" in done.stderr
    assert "rcpt                 policy: naughty, rcpt_ok" in done.stdout


def test_a_folder_that_is_missing(installation):
    (installation.config / "plugins").unlink()
    installation.config.rmdir()
    worker_says(installation)
    done = installation.check()
    assert done.returncode == 78
    assert done.stderr.startswith("config: there is no such folder")


@pytest.mark.parametrize(
    "address, more, is_warned",
    [
        ("0.0.0.0:2424", "", True),
        ("[::]:2424", "", True),
        ("127.0.0.1:2424", "", False),
        ("[::1]:2424", "", False),
        ("0.0.0.0:2424", 'auth = ["PLAIN"]\nauth_without_tls = true\nrequire_auth = true\n', False),
        ("unix:{folder}/lmtp.sock", "", False),
    ],
)
def test_lmtp_that_others_can_reach_is_said(installation, address, more, is_warned):
    address = address.format(folder=installation.folder)
    (installation.config / "frontend.toml").write_text(
        f'[[listener]]\nname = "local"\naddress = "{address}"\nprotocol = "lmtp"\n{more}'
    )
    worker_says(installation, "rcpt rcpt_ok\nqueue queue/maildir\n")
    done = installation.check()
    assert done.returncode == 0, done.stderr
    assert ", LMTP\n" in done.stdout
    warning = f"warning: listener local: LMTP on {address} takes mail from every client that can reach it"
    assert (warning in done.stderr) is is_warned


def test_a_unix_socket_that_cannot_be_made_is_said(installation):
    (installation.config / "frontend.toml").write_text(
        '[[listener]]\nname = "local"\naddress = "unix:/dev/null/lmtp.sock"\nprotocol = "lmtp"\n'
    )
    worker_says(installation, "rcpt rcpt_ok\nqueue queue/maildir\n")
    assert "listener[0].address: unix:/dev/null/lmtp.sock cannot be made" in installation.check().stderr


def test_a_user_that_does_not_exist_is_a_mistake(installation):
    (installation.config / "frontend.toml").write_text('user = "no-such-user"\n')
    worker_says(installation)
    done = installation.check()
    assert done.returncode == 78
    assert 'config/frontend.toml:1: user: there is no user "no-such-user"; make the user' in done.stderr
    assert done.stderr.endswith("gatepost check: 1 problem\n")
