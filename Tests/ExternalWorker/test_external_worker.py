"""A worker that somebody else built, from one file and PolicyKit, is as good as ours."""

import os
import pathlib
import socket

from harness.gatepost import ROOT, Gatepost
from harness.ports import free_port

BUILT = pathlib.Path(os.environ.get("GATEPOST_EXTERNAL", ROOT / ".build/external/debug"))


def test_it_answers_as_a_pool_of_its_own(gatepost: Gatepost) -> None:
    gatepost.frontend_toml["pool"] = [
        {"name": "external", "minimum_workers": 1},
        {"name": "policy", "minimum_workers": 1},
    ]
    folder = gatepost.worker_config("external", "refuse_eve eve@example.com", pool="external")
    frontend = gatepost.frontend(ready=False)
    gatepost.worker()
    gatepost.start(str(BUILT / "ExternalWorker"), "--config", gatepost.folder / folder, name="external")
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        refused = client.command("RCPT TO:<eve@example.com>", 550)
        assert "eve@example.com has left" in refused.text and refused.status == "5.1.1"
        client.command("RCPT TO:<adam@example.com>", 250)
        client.quit()


def test_an_argument_that_is_missing_is_found_at_the_start(gatepost: Gatepost) -> None:
    folder = gatepost.worker_config("external", "refuse_eve", pool="external")
    worker = gatepost.start(
        str(BUILT / "ExternalWorker"), "--config", gatepost.folder / folder, name="external"
    )
    worker.expects_exit = 78
    assert worker.exit_code() == 78


def test_our_plugins_and_its_authors_run_in_one_worker(gatepost: Gatepost) -> None:
    """`rcpt_ok` comes from the product StandardPlugins, `refuse_network` is the package's own."""
    gatepost.frontend_toml["pool"] = [{"name": "mixed", "minimum_workers": 1}]
    folder = gatepost.worker_config("mixed", "refuse_network 127.0.0.0/8\nrcpt_ok\nqueue/discard", pool="mixed")
    frontend = gatepost.frontend(ready=False)
    gatepost.start(str(BUILT / "MixedWorker"), "--config", gatepost.folder / folder, name="mixed")
    frontend.ready()
    with gatepost.connect() as client:
        client.expect(220)
        refused = client.command("HELO client.example", 550)
        assert "127.0.0.1 is not welcome" in refused.text
        client.command("EHLO client.example", 250)
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command("RCPT TO:<eve@elsewhere.example>", 550)
        client.quit()


def test_plugins_of_ours_that_another_package_builds_do_the_same(gatepost: Gatepost) -> None:
    """One asks the DNS and one another server; neither is there, and mail waits instead of being lost."""
    gatepost.frontend_toml["pool"] = [
        {"name": "copied", "minimum_workers": 1},
        {"name": "policy", "minimum_workers": 1},
    ]
    plugins = f"resolvable_fromhost\nspamassassin spamd_socket 127.0.0.1:{free_port()}"
    nobody = {"servers": [f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"], "timeout_ms": 500}
    folder = gatepost.worker_config("copied", plugins, pool="copied", dns=nobody)
    frontend = gatepost.frontend(ready=False)
    gatepost.worker()
    gatepost.start(str(BUILT / "CopiedWorker"), "--config", gatepost.folder / folder, name="copied")
    frontend.ready()
    with gatepost.connect() as client:
        client.ehlo()
        assert client.command("MAIL FROM:<bob@example.net>", 451).status == "4.4.3"
        client.command("MAIL FROM:<bob@[192.0.2.1]>", 250)
        client.command("RCPT TO:<adam@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 451
        client.quit()
