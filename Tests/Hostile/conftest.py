"""Makes the harness of Tests/EndToEnd importable and offers its fixtures and the scene."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "EndToEnd"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.fixtures import *  # noqa: E402,F403
from harness.gatepost import Gatepost  # noqa: E402
from scene import Scene  # noqa: E402


@pytest.fixture
def set_stage(gatepost: Gatepost, request: pytest.FixtureRequest) -> Iterator[Callable[..., Scene]]:
    """Sets the stage with settings for the hostile pool; checks it when the test is over."""
    scenes: list[Scene] = []

    def stage(**hostile: object) -> Scene:
        scenes.append(Scene(gatepost, **hostile))
        return scenes[-1]

    yield stage
    for scene in scenes:
        scene.probe.over.set()
        if not getattr(request.node, "failed", False):
            scene.check()


@pytest.fixture
def scene(set_stage: Callable[..., Scene]) -> Scene:
    return set_stage()
