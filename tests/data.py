"""Where the real data lies that some tests read; they skip, saying so, where it is absent."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("VASTMAX_DATA", Path(__file__).parents[1] / "../shared/data"))


def data_path(name: str) -> Path:
    """The file `name` below the data folder, e.g. ``wiki/enwiki-20M.txt.gz``."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not there; name the data folder in the environment variable VASTMAX_DATA")
    return path
