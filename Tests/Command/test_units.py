"""The units of config/systemd: systemd understands them, and they give away little."""

import pathlib
import re
import subprocess

import pytest
from conftest import BUILT, ROOT

UNITS = ROOT / "config/systemd"
SERVICES = ["gatepost-frontend.service", "gatepost-worker@.service"]


@pytest.fixture
def folder(tmp_path):
    """The units with the programs where they were built."""
    for unit in UNITS.iterdir():
        text = unit.read_text(encoding="utf-8").replace("/usr/local/bin/", f"{BUILT}/")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", [p.name for p in UNITS.iterdir() if p.suffix != ".sysusers"])
def test_systemd_understands_a_unit(folder, name):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / name],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


@pytest.mark.parametrize("name,most", [("gatepost-frontend.service", 1.5), ("gatepost-worker@.service", 2.5)])
def test_a_service_is_exposed_little(folder, name, most):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager",
         f"--threshold={int(most * 10)}", folder / name],
        capture_output=True, text=True, timeout=60,
    )
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert level and done.returncode == 0, done.stdout + done.stderr
    assert float(level.group(1)) <= most


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_must_say(name):
    text = (UNITS / name).read_text(encoding="utf-8")
    for line in ["NoNewPrivileges=yes", "MemoryMax=", "TasksMax=", "Restart=always",
                 "StartLimitIntervalSec=0", "ProtectSystem=strict", "User=gatepost-"]:
        assert f"\n{line}" in text, line
    assert ("\nPrivateNetwork=yes" in text) == (name == "gatepost-frontend.service")


def test_the_users_can_be_made(tmp_path):
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "gatepost.sysusers"],
        check=True, capture_output=True, timeout=60,
    )
    users = (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    assert "gatepost-frontend:" in users and "gatepost-worker:" in users


def test_installing_leaves_a_configuration_alone(tmp_path):
    environment = {"DESTDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    built = tmp_path / "built"
    built.mkdir()
    for name in ["gatepost", "gatepost-frontend", "gatepost-worker"]:
        (built / name).write_text("")
    def install():
        subprocess.run([ROOT / "scripts/install", built], check=True, env=environment, timeout=60)
    install()
    toml = tmp_path / "etc/gatepost/frontend.toml"
    text = toml.read_text(encoding="utf-8")
    for line in ['runtime_directory = "/run/gatepost"', 'spool_directory = "/var/lib/gatepost/spool"',
                 'allowed_users = ["gatepost-worker"]', 'group = "gatepost"', 'address = "[::]:25"']:
        assert f"\n{line}" in text, line
    assert "\nqueue/maildir /var/lib/gatepost/mail" in (tmp_path / "etc/gatepost/plugins").read_text()
    toml.write_text("# mine\n")
    install()
    assert toml.read_text(encoding="utf-8") == "# mine\n"
    assert pathlib.Path(tmp_path / "usr/local/bin/gatepost-worker").exists()
