from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import data_path
from vastmax.embeddings import Embeddings, SimilarityReport, evaluate_similarity, pearson, train
from vastmax.errors import FormatError, InputError
from vastmax.integrations import from_gensim
from vastmax.vocabulary import Vocabulary

Write = Callable[..., Path]
NAMES = {field.name for field in fields(SimilarityReport)}
STANDARDS = ["EN-MTurk-771", "EN-RG-65", "EN-SIMLEX-999", "EN-WS-353-ALL", "EN-WS-353-REL", "EN-WS-353-SIM"]


@pytest.mark.parametrize("separator", ["\t", ",", ";", " ", "   ", ", ", " \t"])
def test_separators(plane: Embeddings, written: Write, separator: str) -> None:
    rows = [("king", "queen", "8"), ("king", "cow", "1"), ("man", "woman", "7.5"), ("man", "unicorn", "3")]
    path = written("".join(separator.join(row) + "\r\n" for row in rows), "pairs.csv")
    report = evaluate_similarity(plane, path)
    assert (report.name, report.spearman, report.pairs, report.left_out) == ("pairs", pytest.approx(1.0), 3, 1)
    assert report.out_of_vocabulary == 0.25
    assert SimilarityReport(**{name: each for name, each in report.to_dict().items() if name in NAMES}) == report


def test_titles_comments_and_more_columns(plane: Embeddings, written: Write) -> None:
    content = "Word 1,Word 2,Human (mean)\n# a comment\n\nking,queen,8,7,9\nking,cow,1,1,1\n"
    report = evaluate_similarity(plane, written(content))
    assert (report.spearman, report.pairs, report.left_out) == (pytest.approx(1.0), 2, 0)


SIMLEX = (
    "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)\n"
    "king\tqueen\tN\t8.5\t1\t2.72\t2\t7.25\t1\t0.41\nking\tcow\tN\t1.58\t9\t9\t9\t9\t9\t9\n"
    "man\twoman\tN\t7.35\t0\t0\t0\t0\t0\t0\nold\tnew\tA\t1.58\t2.72\t2.81\t2\t7.25\t1\t0.41\n"
)
PUBLISHED = {
    "SimLex-999.txt": SIMLEX,
    "SimVerb-3500.txt": "king\tqueen\tV\t8.50\tNONE\nking\tcow\tV\t0.00\tANTONYMS\nman\twoman\tV\t7.35\tNONE\n"
    "take\tremove\tV\t6.81\tSYNONYMS\n",
    "MEN_dataset_natural_form_full": "king queen 50.000000\nking cow 1.000000\nman woman 49.000000\n"
    "sun sunlight 50.000000\n",
    "MEN_dataset_lemma_form_full": "king-n queen-n 50.000000\nking-n cow-v 1.000000\nman-n woman-j 49.000000\n"
    "sun-n sunlight-n 50.000000\n",
    "rw.txt": "king\tqueen\t8.5\t7\t7\t6\t1\t7\t9\t9\t9\t9\t9\nking\tcow\t1\t10\t10\t10\t10\t10\t10\t10\t10\t10\t10\n"
    "man\twoman\t7.14\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\nsquishing\tsquirt\t5.88\t7\t7\t6\t1\t4\t6\t2\t9\t9\t10\n",
    "combined.csv": "Word 1,Word 2,Human (mean)\nking,queen,8.5\nking,cow,1.00\nman,woman,7.35\nlove,sex,6.77\n",
    "combined.tab": "Word 1\tWord 2\tHuman (mean)\nking\tqueen\t8.5\nking\tcow\t1.00\nman\twoman\t7.35\n"
    "love\tsex\t6.77\n",
    "RG65.csv": "king;queen;3.94\nking;cow;0.02\nman;woman;3.92\ncord;smile;0.02\n",
    "quoted.csv": '"word1","word2","score"\n"king","queen","8.5"\n"king","cow","1"\n"man","woman","7"\n"a, b","c","5"',
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_as_their_authors_publish_them(plane: Embeddings, written: Write, name: str) -> None:
    report = evaluate_similarity(plane, written(PUBLISHED[name], name))
    assert (report.pairs, report.left_out) == (3, 1)
    assert report.spearman == pytest.approx(1.0)
    assert evaluate_similarity(plane, written("\ufeff" + PUBLISHED[name].replace("\n", "\r\n"), name)) == report


def test_lemmas_that_the_model_has_are_not_cut(written: Write) -> None:
    embeddings = Embeddings(np.eye(3), Vocabulary(["sun", "sun-n", "sunlight-n"], None))
    embeddings.vectors[0] = embeddings.vectors[2] = [0, 1, 1]
    report = evaluate_similarity(embeddings, written("sun-n sunlight-n 50.0\nsun sunlight-n 10.0\n"))
    assert report.spearman == pytest.approx(-1)


def test_words_that_are_digits(written: Write) -> None:
    embeddings = Embeddings(np.array([[1, 0], [1, 0.1], [0, 1]]), Vocabulary(["2", "0", "1"], None))
    report = evaluate_similarity(embeddings, written("2 0 9\n2 1 1\n0 1 2\n"))
    assert report.spearman == pytest.approx(1)


def test_a_title_is_no_pair_that_is_lost(plane: Embeddings, written: Write) -> None:
    for separator in ("\t", ",", ";", " "):
        title = separator.join(("word1", "word2", "information"))
        assert evaluate_similarity(plane, written(f"# by us\n\n{title}\nking{separator}queen{separator}8\n")).pairs == 1
    for field in ("7,35", "7.35x", "-1,5", "1_0", "٣", "nan", "-inf", ",5"):
        for separator in ("\t", ";", " "):
            line = separator.join(("king", "queen", field)) + "\n"
            todo = "write decimals with a point" if "," in field else "give a number"
            for number, content in ((1, line + "king queen 8\n"), (2, f"king{separator}cow{separator}1\n{line}")):
                with pytest.raises(FormatError, match=f"^line {number} of .* has the score '{field}': {todo}"):
                    evaluate_similarity(plane, written(content))


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


def test_unseen_words_are_spelt_as_the_model_spells_and_others_are_left_out(written: Write) -> None:
    text = [["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 40
    options: dict[str, Any] = {"dim": 6, "epochs": 3, "threads": 1, "subwords": "4-5", "buckets": 500}
    embeddings = train(text, **options)
    path = written("Teas MILK 9\nteas sugar 3\nTEA coffee 5\nx tea 1\n")
    pairs = [("teas", "milk"), ("teas", "sugar"), ("tea", "coffee")]
    report = evaluate_similarity(embeddings, path)
    assert (report.pairs, report.left_out) == (3, 1)  # <x> has no n-gram of 4 characters
    assert report.pearson == pytest.approx(pearson([9, 3, 5], [embeddings.similarity(*pair) for pair in pairs]))
    assert report.pearson != evaluate_similarity(embeddings, path, lowercase=False).pearson


@pytest.mark.parametrize("name", STANDARDS)
def test_equals_gensim(trained: Any, name: str) -> None:
    path = data_path(f"eval/{name}.txt")
    report = evaluate_similarity(from_gensim(trained), path)
    pearson, spearman, left_out = trained.evaluate_word_pairs(str(path))
    assert report.spearman == pytest.approx(spearman.statistic, abs=2e-4)  # gensim computes cosines in float32
    assert report.pearson == pytest.approx(pearson.statistic, abs=1e-6)
    assert report.spearman_p == pytest.approx(spearman.pvalue, rel=0.1)
    assert report.pearson_p == pytest.approx(pearson.pvalue, rel=1e-4)
    assert 100 * report.out_of_vocabulary == pytest.approx(left_out)
    assert report.name == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no pairs"),
        ("word1 word2 score\n", "contains no pairs"),
        ("king queen 8\nking queen\n", "line 2 of .* is not two words and a score: give 'word word score'"),
        ("king,,8\n", "line 1 of .* is not"),
        ("king queen 8\n\nking queen high\n", "line 3 of .* has the score 'high'"),
        ("king queen 8\nking queen nan\n", "line 2 of .* has the score 'nan'"),
        (b"king queen 8\n\xff \xfe 8\n", "line 2 of .* is not UTF-8"),
        ("king queen 8\n".encode("utf-16"), "is UTF-16 text: convert it to UTF-8"),
        (b"PK\3\4\x14\0\0", "is a zip archive .*: unpack it and give the file in it"),
        ("<!DOCTYPE html>\n", r"is a web page: download the file again\.$"),
        ("king queen 8\n" + "x" * 70_000, "line 2 of .* is longer than 65536 bytes"),
    ],
)
def test_malformed(plane: Embeddings, written: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        evaluate_similarity(plane, written(content))


def test_missing(plane: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        evaluate_similarity(plane, tmp_path / "nowhere")
