from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import data_path
from vastmax.embeddings import Embeddings, SimilarityReport, evaluate_similarity
from vastmax.errors import FormatError, InputError
from vastmax.integrations import from_gensim
from vastmax.vocabulary import Vocabulary

Write = Callable[..., Path]
STANDARDS = ["EN-MTurk-771", "EN-RG-65", "EN-SIMLEX-999", "EN-WS-353-ALL", "EN-WS-353-REL", "EN-WS-353-SIM"]


@pytest.mark.parametrize("separator", ["\t", ",", " ", "   ", ", ", " \t"])
def test_separators(plane: Embeddings, written: Write, separator: str) -> None:
    rows = [("king", "queen", "8"), ("king", "cow", "1"), ("man", "woman", "7.5"), ("man", "unicorn", "3")]
    path = written("".join(separator.join(row) + "\r\n" for row in rows), "pairs.csv")
    report = evaluate_similarity(plane, path)
    assert report == SimilarityReport("pairs", pytest.approx(1.0), 3, 1)  # type: ignore[arg-type]
    assert report.to_dict() == {"name": "pairs", "spearman": pytest.approx(1.0), "pairs": 3, "left_out": 1}


def test_titles_comments_and_more_columns(plane: Embeddings, written: Write) -> None:
    content = "Word 1,Word 2,Human (mean)\n# a comment\n\nking,queen,8,7,9\nking,cow,1,1,1\n"
    report = evaluate_similarity(plane, written(content))
    assert (report.spearman, report.pairs, report.left_out) == (pytest.approx(1.0), 2, 0)


def test_phrases_may_hold_spaces(written: Write) -> None:
    embeddings = Embeddings(np.eye(2), Vocabulary(["new york", "city"], [2, 1]))
    assert evaluate_similarity(embeddings, written("new york\tcity\t9\n")).pairs == 1


def test_case(plane: Embeddings, written: Write) -> None:
    path = written("King Queen 8\nman Cow 1\n")
    assert evaluate_similarity(plane, path).pairs == 2
    assert evaluate_similarity(plane, path, lowercase=False).left_out == 2


def test_too_few_pairs(plane: Embeddings, written: Write) -> None:
    assert evaluate_similarity(plane, written("king queen 8\n")).spearman is None
    assert evaluate_similarity(plane, written("emu elk 8\n")).to_dict()["spearman"] is None


@pytest.mark.parametrize("name", STANDARDS)
def test_equals_gensim(trained: Any, name: str) -> None:
    path = data_path(f"eval/{name}.txt")
    report = evaluate_similarity(from_gensim(trained), path)
    _, spearman, left_out = trained.evaluate_word_pairs(str(path))
    assert report.spearman == pytest.approx(spearman.statistic, abs=2e-4)  # gensim's cosines are of single precision
    assert 100 * report.left_out / (report.left_out + report.pairs) == pytest.approx(left_out)
    assert report.name == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no pairs"),
        ("word1 word2 score\n", "holds no pairs"),
        ("king queen 8\nking queen\n", "line 2 is not 'word word score'"),
        ("king,,8\n", "line 1 is not"),
        ("king queen 8\n\nking queen high\n", "line 3 has the score 'high'"),
        ("king queen 8\nking queen nan\n", "line 2 has the score 'nan'"),
        (b"king queen 8\n\xff \xfe 8\n", "line 2 is not UTF-8"),
    ],
)
def test_malformed(plane: Embeddings, written: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        evaluate_similarity(plane, written(content))


def test_missing(plane: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        evaluate_similarity(plane, tmp_path / "nowhere")
