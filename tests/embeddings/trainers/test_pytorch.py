"""The torch engine: every output layer learns, resumes exactly, and leaves rows outside the batch unchanged."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.corpora import GROUPS, sentences
from tests.embeddings.stopping import stop_at
from vastmax.embeddings import EmbeddingOptions, Embeddings, train
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.embeddings.trainers.pytorch import TorchEmbeddingTrainer
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.layers import LAYERS
from vastmax.runs import TrainingInterrupted, TrainingProgress
from vastmax.text import EncodedCorpus, encode_corpus

DOCS = Path(__file__).parents[3] / "docs"
SMALL: dict[str, Any] = {"engine": "torch", "dim": 12, "epochs": 2, "threads": 1}
# Options that keep a layer small enough for a test.
LAYER_OPTIONS: dict[str, dict[str, Any]] = {
    "cnn": {"char_dim": 4, "widths": (1, 2), "filters": (8, 8), "correction_dim": 4},
    "partial": {"head": 32, "tail": 32},
    "nce": {"num_samples": 64},
    "sampled": {"num_samples": 64},
    "blackout": {"num_samples": 64},
    "importance": {"num_samples": 32, "effective_samples": 8, "max_samples": 64},
    "adaptive-importance": {"num_samples": 32, "effective_samples": 8, "max_samples": 64},
}
every_layer = pytest.mark.parametrize("name", LAYERS)
both_models = pytest.mark.parametrize("model", ["skipgram", "cbow"])


@pytest.fixture(scope="module")
def text() -> Iterator[EncodedCorpus]:
    """Real text that is always available: this project's documentation."""
    with encode_corpus(sorted(map(str, DOCS.rglob("*.md"))), tokenizer="words", lowercase=True) as corpus:
        yield corpus


@pytest.fixture(scope="module")
def made_up() -> Iterator[EncodedCorpus]:
    with encode_corpus(sentences(1000)) as corpus:
        yield corpus


def trainer_of(corpus: EncodedCorpus, name: str = "negative-sampling", **options: Any) -> TorchEmbeddingTrainer:
    given = {"layer_options": LAYER_OPTIONS.get(name), **SMALL, **options}
    return TorchEmbeddingTrainer(corpus, EmbeddingOptions(objective=name, **given))


def run_to_the_end(trainer: TorchEmbeddingTrainer) -> list[float]:
    """Train to the end and return the mean loss of each step."""
    losses = []
    while trainer.position < trainer.num_chunks:
        done = trainer.run(1)
        losses.append(done.loss_sum / max(1, done.examples))
    return losses


def log_likelihood(trainer: TorchEmbeddingTrainer, text: EncodedCorpus) -> float:
    """Return the mean exact log-probability of a word given the previous one."""
    words = text.ids[:3000].astype(np.int64)
    both = (words[1:] < len(text.vocabulary)) & (words[:-1] < len(text.vocabulary))
    hidden = torch.from_numpy(trainer.vectors.copy()[words[:-1][both]])
    with torch.no_grad():
        return float(trainer.model.output.target_log_prob(hidden, torch.from_numpy(words[1:][both])).mean())


@pytest.mark.parametrize("model", [pytest.param("skipgram", marks=pytest.mark.slow), "cbow"])
@every_layer
def test_every_layer_learns_real_text(text: EncodedCorpus, name: str, model: Any) -> None:
    trainer = trainer_of(text, name, model=model, epochs=3)
    before, likelihood = trainer.vectors.copy(), log_likelihood(trainer, text)
    losses = run_to_the_end(trainer)
    epoch = len(losses) // 3
    assert np.mean(losses[-epoch:]) < 0.99 * np.mean(losses[:epoch])
    if LAYERS[name].kind != "surrogate":
        assert log_likelihood(trainer, text) > likelihood + 0.2
    assert trainer.words_done == trainer.words_total == 3 * text.num_words
    assert (trainer.vectors != before).any(1).mean() > 0.95  # all but words without context


@both_models
@every_layer
def test_a_restored_trainer_goes_on_as_if_it_had_never_stopped(made_up: EncodedCorpus, name: str, model: Any) -> None:
    whole = trainer_of(made_up, name, model=model)
    stop = whole.num_chunks // 2 + 1
    whole.run(stop)
    state = {key: tensor.copy() for key, tensor in whole.tensors().items()}
    whole.run(whole.num_chunks)
    torch.manual_seed(99)  # the trainer does not use the caller's random state
    again = trainer_of(made_up, name, model=model)
    again.restore(state)
    again.position = stop
    assert again.words_done < again.words_total
    again.run(again.num_chunks)
    assert whole.bytes_needed == sum(each.nbytes for each in state.values())
    assert again.words_done == whole.words_done
    ended, expected = again.tensors(), whole.tensors()
    assert ended.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(ended[key], expected[key], err_msg=key)


@both_models
def test_the_seed_says_it_all(made_up: EncodedCorpus, model: Any) -> None:
    chance = torch.random.get_rng_state()
    first, again, other = (trainer_of(made_up, model=model, seed=seed) for seed in (5, 5, 6))
    for trainer in (first, again, other):
        trainer.run(4)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)
    assert torch.equal(chance, torch.random.get_rng_state())


def test_rows_that_a_step_did_not_meet_keep_their_bits() -> None:
    words = [f"w{number}" for number in range(3000)]
    rare = [words[start : start + 5] for start in range(0, 3000, 5)]
    with encode_corpus(rare, min_count=1) as corpus:
        trainer = trainer_of(corpus, window=1, model="skipgram")
        before = {key: tensor.copy() for key, tensor in trainer.tensors().items()}
        done = trainer.run(1)
        tables = [key for key, tensor in before.items() if tensor.shape == (3000, 12) and key.startswith("optimizer")]
        assert len(tables) == 2
        # a step changes at most its words and five negatives per pair
        for key, most in (("vectors", done.words), ("model.output.weight", done.words + 5 * done.examples)):
            changed = (trainer.tensors()[key] != before[key]).any(1)
            assert 0 < changed.sum() <= min(most, 2999), key
    trainer = trainer_of(made_up_with_one_more_word(), "nce")
    lonely = trainer.vectors[-1].copy()
    trainer.run(3)
    np.testing.assert_array_equal(trainer.vectors[-1], lonely)


def made_up_with_one_more_word() -> EncodedCorpus:
    """Return a corpus whose last word is alone in its sentences, so it is in no window."""
    return encode_corpus([*sentences(200), *[["lonely"]] * 5])


@both_models
def test_words_of_a_group_find_each_other(model: Any) -> None:
    embeddings = train(sentences(), **{**SMALL, "dim": 20, "epochs": 5, "model": model, "objective": "sampled"})
    for group in range(GROUPS):
        neighbours = embeddings.nearest(f"g{group}w2", 5)
        assert sum(str(found.word).startswith(f"g{group}w") for found in neighbours) >= 4


@pytest.mark.parametrize("step", [1, 30])
@both_models
def test_resumed_run_equals_uninterrupted_one(tmp_path: Path, model: Any, step: int, every_step: None) -> None:
    options = {**SMALL, "model": model, "objective": "nce", "layer_options": {"num_samples": 50}}
    corpus = sentences(4000)
    whole = train(corpus, keep_output_vectors=True, **options)
    with pytest.raises(TrainingInterrupted) as caught:
        train(corpus, output=tmp_path, progress=stop_at(step), keep_output_vectors=True, **options)
    assert caught.value.checkpoint == tmp_path / "checkpoint"
    assert len(Embeddings.load(tmp_path / "checkpoint").nearest("g1w1", 3)) == 3
    with pytest.raises(CheckpointError, match=r"layer_options={'num_samples': 50}, now came layer_options=None"):
        train(corpus, output=tmp_path, resume=True, **{**options, "layer_options": None})
    with pytest.raises(CheckpointError, match="engine='torch', now came engine='compiled'"):
        train(corpus, output=tmp_path, resume=True, dim=12)
    resumed = train(corpus, output=tmp_path, resume=True, keep_output_vectors=True, **options)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    np.testing.assert_array_equal(resumed.output_vectors, whole.output_vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "vectors.safetensors",
        "vocabulary.tsv",
    ]
    words = [json.loads(line)["words"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert words == sorted(set(words))
    assert words[-1] == 96_000


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingLoop, "report_seconds", 0)
    monkeypatch.setattr(EmbeddingLoop, "report_share", 0)
    monkeypatch.setattr(EmbeddingLoop, "step_seconds", 1e-9)


def test_a_damaged_state_is_one_sentence(tmp_path: Path, every_step: None) -> None:
    with pytest.raises(TrainingInterrupted):
        train(sentences(), output=tmp_path, progress=stop_at(2), **SMALL)
    state = tmp_path / "checkpoint" / "state.safetensors"
    whole = state.read_bytes()
    for damage in (whole[:100], None):
        state.unlink() if damage is None else state.write_bytes(damage)
        with pytest.raises(CheckpointError, match="delete it to start again") as caught:
            train(sentences(), output=tmp_path, resume=True, **SMALL)
        assert "\n" not in str(caught.value)


def test_cutoffs_that_were_measured_travel_with_the_checkpoint(made_up: EncodedCorpus) -> None:
    made = trainer_of(made_up, "adaptive", layer_options={"cutoffs": [20, 90]})
    again = trainer_of(made_up, "adaptive", layer_options={"cutoffs": [50]})  # as another timing might choose
    made.run(2)
    again.restore(made.tensors())
    again.position = 2
    made.run(2)
    again.run(2)
    np.testing.assert_array_equal(again.vectors, made.vectors)


def test_config_and_progress_tell_what_was_done(tmp_path: Path) -> None:
    reports: list[Any] = []
    options = {**SMALL, "objective": "hierarchical", "layer_options": {"bias": False}}
    embeddings = train(sentences(), output=tmp_path, progress=reports.append, keep_output_vectors=True, **options)
    config = Embeddings.load(tmp_path).config
    assert config == embeddings.config
    chosen = config["options"]
    assert (chosen["engine"], chosen["objective"], chosen["layer_options"]) == (
        "torch",
        "hierarchical",
        {"bias": False},
    )
    assert chosen["learning_rate"] == 0.1
    assert config["training"]["torch"] == torch.__version__
    last = [report for report in reports if isinstance(report, TrainingProgress)][-1]
    assert (last.words, last.share, last.seconds_left) == (48_000, 1.0, 0)
    assert last.learning_rate == pytest.approx(2.5e-6)
    assert embeddings.output_vectors is not None
    assert embeddings.output_vectors.shape == (199, 12)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objective": "glove"}, "objective is 'glove': give 'full', 'partial'"),
        ({"sharing": "pair"}, "engine 'torch' does not support sharing"),
        ({"cbow_gradient": "published"}, "engine 'torch' does not support cbow_gradient.*always the corrected"),
        ({"negatives": 7}, "engine 'torch' does not support negatives.*num_samples"),
        ({"negative_exponent": 1}, "engine 'torch' does not support negative_exponent.*power"),
        (
            {"engine": "compiled", "objective": "nce"},
            "objective is 'nce': give 'negative-sampling' or 'hierarchical', or engine 'torch'",
        ),
        (
            {"engine": "compiled", "layer_options": {"k": 2}},
            "engine 'compiled' does not support layer_options: leave it out, or give engine 'torch'",
        ),
        ({"engine": "jax"}, "engine is 'jax': give 'compiled' or 'torch'"),
        ({"layer_options": {"num_samples": 0}}, "num_samples is 0"),
        ({"objective": "adaptive", "keep_output_vectors": True}, "has no single table of output vectors"),
        ({"layer_options": 3}, "layer_options is 3: give a mapping"),
    ],
)
def test_what_the_engine_cannot_do_is_one_sentence(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        train(sentences(100), **{**SMALL, **options})
    assert "\n" not in str(caught.value)


def test_divergence_names_a_rate(made_up: EncodedCorpus) -> None:
    trainer = trainer_of(made_up, "full", learning_rate=0.4)
    trainer.vectors[...] = np.inf
    with pytest.raises(DivergedError, match=r"diverged .* at learning rate 0.4.* learning_rate 0.1\."):
        trainer.run(1)


def test_without_torch_it_says_what_to_install() -> None:
    program = """
import sys
sys.modules["torch"] = None
from vastmax.embeddings import train
from vastmax.errors import InputError
print(train([["a", "b"]] * 9, dim=4, threads=1))
try:
    train([["a", "b"]] * 9, engine="torch")
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    compiled, sentence = done.stdout.splitlines()
    assert compiled == "Embeddings(words=2, dim=4)"
    assert sentence.startswith("engine 'torch' needs PyTorch")
    assert sentence.endswith("pip install 'vastmax[torch]'.")
