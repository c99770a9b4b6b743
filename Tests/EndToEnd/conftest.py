"""Makes the harness importable and offers its fixtures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.fixtures import *  # noqa: E402,F403
