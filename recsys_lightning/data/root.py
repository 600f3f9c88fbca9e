"""Where raw data sets lie."""

from __future__ import annotations

import os
from pathlib import Path


def data_root() -> Path:
    """The folder of raw data sets: the environment variable RECSYS_DATA, or `data`."""
    return Path(os.environ.get("RECSYS_DATA", "data"))
