"""``vastmax.train`` in several processes: one model, made alike each time, told of once."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.corpora import sentences
from tests.runs.ranks import start
from vastmax.embeddings import Embeddings
from vastmax.text import encode_corpus

TRAIN = [sys.executable, "-m", "vastmax", "train"]
OPTIONS = ["--dim", "12", "--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentences of the other tests, of which one byte is no UTF-8."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_bytes("\n".join(" ".join(each) for each in sentences()).encode() + b" \xff")
    return path


def run(corpus: Path | str, output: Path, *more: str, size: int = 2, **environment: Any) -> list[tuple[int, str, str]]:
    return start(size, [*TRAIN, str(corpus), "-o", str(output), *OPTIONS, *more], **environment)


def told(ended: list[tuple[int, str, str]]) -> list[str]:
    """All lines on stderr, of all processes."""
    return [line for _, _, err in ended for line in err.splitlines()]


def test_two_train_one_model_and_a_rerun_is_the_same(corpus: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        ended = run(corpus, tmp_path / name, "--json")
        assert [code for code, _, _ in ended] == [0, 0], ended
        note = "vastmax: note: the corpus holds 1 byte sequences that are not UTF-8; each was read as U+FFFD"
        assert told(ended) == [note]
        assert not ended[1][1]  # one says what came out
    first, second = (Embeddings.load(tmp_path / name) for name in ("first", "second"))
    np.testing.assert_array_equal(first.vectors, second.vectors)
    with encode_corpus(corpus, threads=1) as whole:
        assert first.vocabulary.words == whole.vocabulary.words
        np.testing.assert_array_equal(first.vocabulary.counts, whole.vocabulary.counts)
        about = first.config["corpus"]
        assert about["fingerprint"] == whole.fingerprint and about["words_kept"] == whole.num_words
    training = first.config["training"]
    records = [json.loads(line) for line in (tmp_path / "first" / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["words"] == 2 * about["words_kept"]
    # both tables whole at least four times, a float and a dimension more each row
    least = 4 * 2 * len(first.vocabulary) * 4 * 13 * 2
    assert training["processes"] == 2 and training["bytes_sent"] >= least
    assert training["bytes_per_word"] == records[-1]["bytes_per_word"] == training["bytes_sent"] / records[-1]["words"]
    assert json.loads(ended[0][1])["config"]["training"]["processes"] == 2
