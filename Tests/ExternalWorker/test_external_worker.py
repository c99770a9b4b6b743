"""A worker that somebody else built, from one file and PolicyKit, is as good as ours."""

import os
import pathlib

from harness.gatepost import ROOT, Gatepost

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
