"""Paths of the real data that some tests read; without it they skip with a message."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("VASTMAX_DATA", Path(__file__).parents[1] / "../shared/data"))


def data_path(name: str) -> Path:
    """Return the path of the file `name` below the data folder, e.g. ``wiki/enwiki-20M.txt.gz``."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not there; name the data folder in the environment variable VASTMAX_DATA")
    return path
