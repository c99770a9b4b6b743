"""Every file in `dialogues/`, played against a frontend and a worker that deliver to a Maildir."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import dialogues
from harness.gatepost import Gatepost

FILES = sorted((Path(__file__).parent / "dialogues").glob("*.smtp"))


@pytest.fixture(scope="module")
def servers(make_gatepost: Callable[..., Gatepost]) -> Callable[[dialogues.Script], Gatepost]:
    """One running installation for each configuration that dialogues ask for."""
    running: dict[str, Gatepost] = {}

    def server(script: dialogues.Script) -> Gatepost:
        if script.configuration not in running:
            installation = make_gatepost()
            script.configure(installation)
            installation.run()
            running[script.configuration] = installation
        return running[script.configuration]

    return server


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, servers: Callable[[dialogues.Script], Gatepost]) -> None:
    script = dialogues.read(path)
    server = servers(script)
    try:
        script.play(server)
    except AssertionError as error:
        raise AssertionError(f"{error}{server.logs()}") from None


def test_dialogues_are_read_as_documented() -> None:
    assert dialogues.octets(r"a\r\n{bc*3}\x00\\\{") == b"a\r\nbcbcbc\0\\{"
    for path in FILES:
        assert dialogues.read(path).steps
