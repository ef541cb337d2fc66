"""What a run's record states about its computation."""

import pytest
import torch

from tests.corpora import sentences
from vastmax import ops
from vastmax.comparison import RunConfig, method_named, run_language_model
from vastmax.comparison.report import RunRecord
from vastmax.language import LanguageCorpus, LoopOptions, ModelOptions, read_language_corpus
from vastmax.layers import build

MODEL = ModelOptions(dim=8, layers=1, rows=4, length=5)


@pytest.fixture(scope="module")
def corpus() -> LanguageCorpus:
    return read_language_corpus(sentences(60, 8), sentences(20, 8, 1), sentences(20, 8, 2), min_count=2)


def record_of(corpus: LanguageCorpus, name: str = "adaptive-importance") -> RunRecord:
    config = RunConfig(method=method_named(name), model=MODEL, training=LoopOptions(epochs=1))
    return run_language_model(corpus, config).record


def test_a_record_says_which_code_computed_each_operation(corpus: LanguageCorpus) -> None:
    ran = record_of(corpus).backends
    compiled = ("adagrad_rows", "adapt_bigrams", "guarded_draws", "row_estimates")
    assert {op: ran[op] for op in compiled} == dict.fromkeys(compiled, "compiled")
    with ops.using(guarded_draws="torch", row_estimates="torch"):
        record = record_of(corpus)
    assert record.backends["guarded_draws"] == record.backends["row_estimates"] == "torch"
    assert record.backends["adagrad_rows"] == "compiled"
    assert RunRecord.from_json(record.to_json()) == record


def test_what_compiled_code_leaves_to_torch_is_said_to_be_torchs() -> None:
    """Only bigram draws are compiled; per-row unigram draws run in torch, whichever backend was requested."""
    layer = build("importance", 8, range(60, 10, -1), shared=False, num_samples=8)
    with ops.noting_backends() as ran:
        layer(torch.randn(4, 8), torch.tensor([0, 1, 0, 4])).backward()
    assert set(+ran["guarded_draws"]) == {"torch"} and set(+ran["row_estimates"]) == {"compiled"}
