"""torch, oneDNN and the core run at the SIMD level that ``make numerics`` requests."""

import os

import pytest
import torch

from vastmax import _core
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer
from vastmax.text import encode_corpus

pytestmark = pytest.mark.numerics


def test_torch_runs_at_its_level() -> None:
    best = torch.backends.cpu.get_cpu_capability()
    assert best.lower() == os.environ.get("ATEN_CPU_CAPABILITY", best).lower()


def test_onednn_runs_at_its_level(capfd: pytest.CaptureFixture[str]) -> None:
    """oneDNN names its level in its first verbose message, which nothing else in this process enables."""
    asked = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    said = [line for line in capfd.readouterr().out.splitlines() if "cpu,isa:" in line]
    assert len(said) == 1
    assert said[0].endswith({"AVX2": "Intel AVX2", "SSE41": "Intel SSE4.1"}.get(asked, ""))


def test_the_core_runs_at_its_level() -> None:
    with encode_corpus([["a", "b"]] * 9, min_count=1) as corpus:
        trainer = EmbeddingTrainer(corpus, EmbeddingOptions(dim=4))
    assert trainer.simd_level == os.environ.get("VASTMAX_SIMD", _core.simd_levels()[0])
