"""What holds for every test."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# a busy machine is no failure: examples are bounded in number and size, not in time
settings.register_profile("vastmax", deadline=None)
settings.load_profile("vastmax")

# torch's cache of compiled graphs does not tell instruction sets apart: what was generated for AVX-512 is taken up at
# AVX2 as well, and gives wrong numbers there
_level = torch.backends.cpu.get_cpu_capability().lower()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir(), f"vastmax-inductor-{_level}")))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are no name: what a packer wrote holds the time, and two processes must name a case alike."""
    return argname if isinstance(val, bytes) else None
