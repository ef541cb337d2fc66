"""Settings for all tests."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# no deadline, so that a busy machine fails no test: examples are bounded in number and size
settings.register_profile("vastmax", deadline=None)
settings.load_profile("vastmax")

# torch's cache of compiled graphs does not distinguish instruction sets: code generated for AVX-512 is reused at AVX2
# and gives wrong numbers there
_level = torch.backends.cpu.get_cpu_capability().lower()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir(), f"vastmax-inductor-{_level}")))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name bytes after their argument: packed files hold the time, and all workers must use the same test ids."""
    return argname if isinstance(val, bytes) else None
