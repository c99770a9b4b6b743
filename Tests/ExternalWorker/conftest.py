"""Uses the harness of Tests/EndToEnd."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "EndToEnd"))

from harness.fixtures import *  # noqa: E402,F403
