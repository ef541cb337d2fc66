"""The threads of compiled ops: PyTorch's, or their own in a forked process."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, torch
from vastmax import ops

torch.set_num_threads(2)
hidden, weight = torch.randn(64, 32), torch.randn(5000, 32)
ids = torch.randint(5000, (64 * 300,))
rows = torch.arange(64).repeat_interleave(300)

def logits():
    with ops.using(ragged_logits="compiled"):
        return ops.ragged_logits(hidden, weight, None, ids, rows)

right = logits()
if (child := os.fork()) == 0:
    os._exit(0 if torch.equal(logits(), right) else 1)
assert os.waitpid(child, 0)[1] == 0
assert torch.equal(logits(), right)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_computes_on() -> None:
    """OpenMP's threads do not survive a fork, so waiting for them would deadlock."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], check=True, timeout=60)
