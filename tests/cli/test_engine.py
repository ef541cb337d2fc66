"""``vastmax train --engine torch``: options, refusals, and a folder that all other verbs accept."""

import shlex
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

import vastmax as package
from tests.cli.program import finish, start, vastmax, wait_for_checkpoint
from vastmax.embeddings import Embeddings

FLAGS = ["--engine", "torch", "--dim", "8", "--epochs", "2", "--threads", "1"]


def test_a_model_like_any_other(corpus: Path, tmp_path: Path) -> None:
    folder, pairs = tmp_path / "model", tmp_path / "pairs.txt"
    pairs.write_text("g1w0 g1w1 9\ng1w0 g2w0 1\ng3w1 g3w2 8\n")
    options = ["--objective", "sampled", "--option", "num_samples=50", "--option", "bias=false"]
    outcome = vastmax("train", corpus, "-o", folder, *FLAGS, *options, "--json")
    assert outcome.code == 0, outcome.err
    chosen = outcome.json["config"]["options"]
    assert (chosen["engine"], chosen["objective"]) == ("torch", "sampled")
    assert chosen["layer_options"] == {"num_samples": 50, "bias": False}
    expected = package.train(
        corpus,
        engine="torch",
        objective="sampled",
        layer_options={"num_samples": 50, "bias": False},
        dim=8,
        epochs=2,
        threads=1,
    )
    np.testing.assert_array_equal(Embeddings.load(folder).vectors, expected.vectors)
    for verb in (
        ["nearest", folder, "g1w1"],
        ["analogy", folder, "g1w0", "g1w1", "g2w0"],
        ["evaluate", folder, "--similarity", pairs],
        ["export", folder, tmp_path / "vectors.txt"],
    ):
        outcome = vastmax(*verb)
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--objective", "nce"], "'negative-sampling' or 'hierarchical', or engine 'torch', which supports"),
        (["--option", "k=2"], "engine 'compiled' does not support layer_options"),
        (["--engine", "torch", "--objective", "glove"], "objective is 'glove': give 'full', 'partial'"),
        (["--engine", "torch", "--option", "many"], "--option is 'many': give a name and a value"),
        (["--engine", "torch", "--option", "num_samples=0"], "num_samples is 0"),
        (["--engine", "torch", "--sharing", "window"], "engine 'torch' does not support sharing"),
        (["--engine", "cuda"], "engine is 'cuda': give 'compiled' or 'torch'"),
    ],
)
def test_refusals(corpus: Path, tmp_path: Path, flags: list[str], told: str) -> None:
    outcome = vastmax("train", corpus, "-o", tmp_path / "model", *flags)
    assert outcome.code == 1
    assert told in outcome.sentence
    assert not (tmp_path / "model").exists()


def test_interrupt_and_resume(corpus: Path, tmp_path: Path) -> None:
    """Many steps on a small corpus, so that the signal arrives before the end."""
    flags = [*FLAGS[:-4], "--epochs", "5", "--threads", "1", "--checkpoint-minutes", "0.0005"]
    whole, folder = tmp_path / "whole", tmp_path / "a model"
    assert vastmax("train", corpus, "-o", whole, *flags).code == 0
    process = start("train", corpus, "-o", folder, *flags)
    wait_for_checkpoint(process, folder)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    command = outcome.err.splitlines()[-1]
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert (folder / "vectors.safetensors").read_bytes() == (whole / "vectors.safetensors").read_bytes()
    assert not (folder / "checkpoint").exists()
