"""A corpus and a model shared by the tests of all verbs."""

from pathlib import Path

import pytest

from tests.cli.program import vastmax
from tests.corpora import write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    rate = ["--learning-rate", "0.05"]
    outcome = vastmax("train", corpus, "-o", folder, "--dim", "16", "--epochs", "10", "--threads", "1", *rate)
    assert outcome.code == 0, outcome.err
    return folder
