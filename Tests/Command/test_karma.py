"""`gatepost karma` on a store in a file, with records as the plugin karma writes them."""

import subprocess
import time

import pytest
from conftest import BUILT

DAY = 86_400


@pytest.fixture
def karma(installation):
    """Runs `gatepost karma`."""
    store = installation.folder / "gatepost.db"
    (installation.config / "worker.toml").write_text(f'[store]\nurl = "sqlite:{store}"\n')

    def run(*words, command="karma"):
        return subprocess.run(
            [installation.gatepost, command, *words, "--config", "config"],
            cwd=installation.folder, capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    return run


@pytest.fixture
def known(karma, installation):
    """The same with four clients in the store, which a call makes."""
    assert karma("list").stdout == "no client is known\n"
    assert not (installation.folder / "gatepost.db").exists()
    now = int(time.time())
    lines = [
        f"set karma/192.0.2.1 {now + 3 * DAY - 5}:4:0:6:{now}",
        f"set karma/192.0.2.2 0:0:5:9:{now - 8 * DAY}",
        f"set karma/192.0.2.3 0:1:2:3:{now - 2 * DAY}",
        f"set karma/2001:db8::/64 {now + DAY}:2:0:2:{now - 9 * DAY}",
    ]
    done = subprocess.run(
        store_client(installation), input="".join(f"{line}\n" for line in lines), text=True, capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "ok\n" * 4, done.stdout + done.stderr
    return karma


def store_client(installation):
    return [str(BUILT / "StoreClient"), str(installation.config), "calls"]


def rows(done):
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_clients_are_listed_worst_first(known):
    titles = known("list").stdout.splitlines()[0].split()
    assert titles == ["CLIENT", "HISTORY", "NAUGHTY", "NICE", "SESSIONS", "SEEN", "PENALTY"]
    assert [" ".join(row) for row in rows(known("list"))] == [
        "192.0.2.1 -4 4 0 6 0 d ago 3 d left",
        "2001:db8::/64 -2 2 0 2 9 d ago 1 d left",
        "192.0.2.3 1 1 2 3 2 d ago -",
        "192.0.2.2 5 0 5 9 8 d ago -",
    ]


@pytest.mark.parametrize(
    ("what", "clients"),
    [
        ("naughty", ["192.0.2.1", "2001:db8::/64", "192.0.2.3"]), ("NICE", ["192.0.2.3", "192.0.2.2"]),
        ("both", ["192.0.2.3"]), ("192.0.2.2", ["192.0.2.2"]), ("2001:db8::99", ["2001:db8::/64"]),
    ],
)  # fmt: skip
def test_clients_are_found(known, what, clients):
    assert [row[0] for row in rows(known("search", what))] == clients


def test_a_client_is_captured_and_released(known):
    done = known("capture", "--days", "5", "192.0.2.3", "198.51.100.1", "2001:db8:1::1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "captured: 192.0.2.3", "captured: 198.51.100.1", "captured: 2001:db8:1::/64",
    ]  # fmt: skip
    assert rows(known("search", "192.0.2.3"))[0][1:3] == ["0", "2"]
    assert rows(known("search", "198.51.100.1"))[0][-3:] == ["5", "d", "left"]
    done = known("release", "192.0.2.3", "192.0.2.99", "2001:db8::7")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["released: 192.0.2.3", "released: 2001:db8::/64"]
    assert done.stderr == "gatepost karma: 192.0.2.99 is not known\n"
    assert rows(known("search", "192.0.2.3"))[0][-1] == "-"


def test_old_records_are_pruned_but_no_penalty(known):
    assert known("prune").stdout == "forgotten: 1\n"
    assert "192.0.2.2" not in known("list").stdout and "2001:db8::/64" in known("list").stdout
    assert known("prune", "1").stdout == "forgotten: 1\n"


def test_records_outlive_their_penalty(known):
    assert known("capture", "--days", "100", "192.0.2.1").returncode == 0
    shown = known("get", "karma/192.0.2.1", command="store").stdout
    assert "in 99 d" in shown or "in 100 d" in shown, shown


@pytest.mark.parametrize(
    "words",
    [["search", "nobody"], ["capture", "x"], ["capture", "--days", "0", "192.0.2.1"], ["release"], ["prune", "0"]],
)
def test_wrong_words(karma, words):
    assert karma(*words).returncode == 64


def test_what_cannot_be_done_is_said(karma, installation):
    assert karma("search", "naughty").returncode == 1
    done = karma("capture", "192.0.2.1")
    assert done.returncode == 1 and "nothing was ever stored" in done.stderr
    (installation.config / "worker.toml").write_text('[store]\nurl = "memory:"\n')
    done = karma("list")
    assert done.returncode == 69 and done.stderr.startswith("gatepost karma: the store is in the memory")
