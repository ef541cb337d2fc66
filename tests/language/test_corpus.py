import gzip
import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.data import data_path
from tests.text.oracle import with_unknown
from vastmax.errors import CorpusError, FormatError, InputError
from vastmax.language import LanguageCorpus, read_language_corpus
from vastmax.text import ScanProgress

TEXTS = ("train", "valid", "test")
Sentences = list[list[str]]
TRAIN = [["a", "b", "a"], ["c", "a", "b"]] * 5
READ = iter(TRAIN)


@pytest.fixture(autouse=True)
def loud() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def quiet(*texts: Any, **options: Any) -> LanguageCorpus:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_language_corpus(*texts, **options)


def words_of(corpus: LanguageCorpus, name: str) -> Sentences:
    words, sentences = corpus.vocabulary.words or [], [[]]
    for number in getattr(corpus, name).tolist():
        if number == corpus.end_of_sentence:
            sentences.append([])
        else:
            sentences[-1].append(words[number])
    assert sentences.pop() == []
    return sentences


def expected_counts(train: Sentences, min_count: int, max_vocabulary: int | None) -> dict[str, int]:
    """Return the counts of the training text, special words included, in descending order."""
    kept = with_unknown(train, "<unk>", min_count, None if max_vocabulary is None else max_vocabulary - 1)
    kept["</s>"] = sum(map(bool, train))
    return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))


def assert_holds(corpus: LanguageCorpus, texts: list[Sentences], counts: dict[str, int]) -> None:
    assert corpus.vocabulary.words == list(counts)
    assert corpus.vocabulary.counts.tolist() == list(counts.values())
    assert (corpus.unknown, corpus.end_of_sentence) == (list(counts).index("<unk>"), list(counts).index("</s>"))
    for name, sentences in zip(TEXTS, texts, strict=True):
        known = [[word if word in counts else "<unk>" for word in sentence] for sentence in sentences if sentence]
        assert words_of(corpus, name) == known
        assert getattr(corpus, name).dtype == np.int32
        words = [word for sentence in known for word in sentence]
        assert corpus.unknown_share[name] == words.count("<unk>") / len(words)
    assert np.bincount(corpus.train, minlength=len(counts)).tolist() == list(counts.values())


def some_text_is_unknown(texts: list[Sentences], counts: dict[str, int]) -> bool:
    known = set(counts) - {"<unk>"}
    return any(known.isdisjoint(word for sentence in text for word in sentence) for text in texts)


word = st.sampled_from(["a", "b", "c", "d", "é", "<unk>", "A"])
sentences = st.lists(st.lists(word, max_size=6), max_size=15).map(lambda lines: [*lines, ["a", "b"], ["a"]])


@given(sentences, sentences, sentences, st.integers(1, 2), st.one_of(st.none(), st.integers(3, 8)), st.integers(1, 3))
def test_any_three_texts(
    train: Sentences, valid: Sentences, test: Sentences, min_count: int, max_vocabulary: int | None, threads: int
) -> None:
    counts = expected_counts(train, min_count, max_vocabulary)
    options: dict[str, Any] = {"min_count": min_count, "max_vocabulary": max_vocabulary, "threads": threads}
    if some_text_is_unknown([valid, test], counts):
        with pytest.raises(CorpusError, match="contains only unknown words"):
            quiet(train, valid, test, **options)
        return
    assert_holds(quiet(train, valid, test, **options), [train, valid, test], counts)


def cut_after(sentences: Sentences, words: float) -> int:
    """Return the length of the shortest prefix of sentences with this many words."""
    held = 0
    for number, sentence in enumerate(sentences, 1):
        held += len(sentence)
        if held >= words:
            return number
    return len(sentences)


@pytest.mark.parametrize(("wanted", "got"), [(4, 4), (20, 20), (21, 20), (10_000, 20)])
def test_words_held_out_are_a_tenth_at_most(wanted: int, got: int) -> None:
    corpus = quiet([["a", "b"]] * 100, held_out=wanted)
    assert [len(text) for text in (corpus.train, corpus.valid, corpus.test)] == [
        1.5 * (200 - 2 * got),
        1.5 * got,
        1.5 * got,
    ]


@given(sentences, st.integers(1, 2), st.floats(0.1, 0.4), st.booleans(), st.booleans())
def test_any_text_that_is_cut(
    train: Sentences, min_count: int, share: float, valid_is_given: bool, by_words: bool
) -> None:
    train = [sentence for sentence in [["a", "b", "b", "a"], *train] if sentence]
    given_valid = [["a", "d"]]
    total = sum(map(len, train))
    missing = 1 if valid_is_given else 2
    if by_words:
        missing, split = 2, (max(1, int(total * (1 - 2 * share))), max(1, int(total * share)))
        targets = [float(split[0]), float(sum(split))]
    else:
        split = None
        targets = [total - behind * (total * share) for behind in range(missing, 0, -1)]
    bounds = [0, *(cut_after(train, target) for target in targets), len(train)]
    texts = [train[low:high] for low, high in pairwise(bounds)]
    valid = given_valid if missing == 1 else None
    if not all(texts):
        with pytest.raises(CorpusError, match="the training text is too short to cut"):
            quiet(train, valid, min_count=min_count, held_out=share, split=split)
        return
    if missing == 1:
        texts.insert(1, given_valid)
    counts = expected_counts(texts[0], min_count, None)
    if some_text_is_unknown(texts, counts):
        with pytest.raises(CorpusError, match=r"only unknown words|has no word that occurs|contains no word but"):
            quiet(train, valid, min_count=min_count, held_out=share, split=split)
        return
    corpus = quiet(train, valid, min_count=min_count, held_out=share, split=split)
    assert_holds(corpus, texts, counts)
    ends = np.cumsum([sum(map(len, text)) for text in ([texts[0], texts[2]] if missing == 1 else texts)])
    assert corpus.names["train"] == f"token lists, words 1 to {ends[0]}"
    assert corpus.names["test"] == f"token lists, words {ends[-2] + 1} to {ends[-1]}"
    assert "cut from the training text" in corpus.notes[0]


def test_penn_treebank() -> None:
    paths = [data_path(f"ptb/ptb.{name}.txt") for name in TEXTS]
    corpus = read_language_corpus(*paths)
    assert len(corpus.vocabulary) == 10_000
    assert [len(getattr(corpus, name)) for name in TEXTS] == [929_589, 73_760, 82_430]
    assert corpus.vocabulary.words is not None
    assert corpus.vocabulary.words[:3] == ["the", "<unk>", "</s>"]
    assert corpus.vocabulary.counts[[corpus.unknown, corpus.end_of_sentence]].tolist() == [45_020, 42_068]
    assert corpus.names["test"] == str(paths[2])
    assert corpus.notes == []
    test = paths[2].read_text().split()
    assert corpus.unknown_share["test"] == test.count("<unk>") / len(test)


def test_brown_as_it_is_usually_split() -> None:
    path = data_path("brown/brown.txt")
    lines = [line.split() for line in path.read_text().splitlines()]
    cuts = [cut_after(lines, 800_000), cut_after(lines, 1_000_000)]
    corpus = read_language_corpus(path, min_count=4, split=(800_000, 200_000))
    texts = [lines[: cuts[0]], lines[cuts[0] : cuts[1]], lines[cuts[1] :]]
    assert_holds(corpus, texts, expected_counts(texts[0], 4, None))
    assert corpus.names["valid"] == f"{path}, words 800,002 to 1,000,022"


def test_save_and_load(tmp_path: Path) -> None:
    corpus = read_language_corpus(TRAIN, [["a", "x"]], [["b"]], min_count=6)
    corpus.save(tmp_path / "corpus")
    assert sorted(file.name for file in (tmp_path / "corpus").iterdir()) == [
        "corpus.json", "spelling.npy", "test.npy", "train.npy", "valid.npy", "vocabulary.tsv",
    ]  # fmt: skip
    loaded = LanguageCorpus.load(tmp_path / "corpus")
    assert isinstance(loaded.train, np.memmap)
    for name in TEXTS:
        assert np.array_equal(getattr(loaded, name), getattr(corpus, name))
    assert loaded.vocabulary == corpus.vocabulary
    assert (loaded.unknown, loaded.end_of_sentence) == (corpus.unknown, corpus.end_of_sentence)
    assert (loaded.names, loaded.notes) == (corpus.names, corpus.notes)
    assert loaded.fingerprint == corpus.fingerprint
    other = read_language_corpus(TRAIN, [["a", "a"]], [["b", "b"]], min_count=6)
    other.save(tmp_path / "corpus")
    assert LanguageCorpus.load(tmp_path / "corpus").fingerprint == other.fingerprint
    assert np.array_equal(loaded.valid, corpus.valid)  # corpora opened before are unchanged


def test_folders_that_hold_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: give one"):
        LanguageCorpus.load(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="is not a complete language corpus"):
        LanguageCorpus.load(tmp_path)
    corpus = read_language_corpus(TRAIN, [["a", "b"]], [["b"]])
    with pytest.raises(InputError, match="cannot be written"):
        (tmp_path / "file").write_text("")
        corpus.save(tmp_path / "file")
    for name, damage in {
        "train.npy": lambda file: file.write_bytes(file.read_bytes()[:-4]),
        "valid.npy": lambda file: np.save(file, np.zeros(7, np.int32)),
        "test.npy": lambda file: np.save(file, np.zeros(2, np.float32)),
        "vocabulary.tsv": lambda file: file.write_text("a\t1\n"),
        "corpus.json": lambda file: file.write_text(json.dumps({"format": "another"})),
    }.items():
        corpus.save(tmp_path / "corpus")
        damage(tmp_path / "corpus" / name)
        with pytest.raises(FormatError, match="save it again"):
            LanguageCorpus.load(tmp_path / "corpus")


def test_fingerprint_tells_corpora_apart() -> None:
    texts = TRAIN, [["a", "b"], ["a"]], [["b"]]
    first = read_language_corpus(*texts)
    others = [
        read_language_corpus(*texts, end_of_sentence="<eos>"),
        read_language_corpus([*TRAIN[1:], TRAIN[0]], *texts[1:]),
        read_language_corpus(TRAIN, [["a", "b"]], [["a"], ["b"]]),
        read_language_corpus(*texts, min_count=6),
    ]
    prints = [corpus.fingerprint for corpus in (first, *others)]
    assert len(set(prints)) == len(prints)
    assert read_language_corpus(*texts, threads=1).fingerprint == first.fingerprint


def test_files_lower_case_and_progress(tmp_path: Path) -> None:
    for number, name in enumerate(TEXTS, 2):
        with gzip.open(tmp_path / f"{name}.gz", "wt") as file:
            file.write(f"The cat\n\n\nthe {name}" + "\nTHE CAT" * number)
    seen: list[ScanProgress] = []
    paths = [tmp_path / f"{name}.gz" for name in TEXTS]
    corpus = read_language_corpus(*paths, lowercase=True, min_count=2, directory=tmp_path, progress=seen.append)
    assert words_of(corpus, "valid") == [["the", "cat"], ["the", "<unk>"], *[["the", "cat"]] * 3]
    assert [step.words for step in seen] == [8, 10, 12]
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{name}.gz" for name in sorted(TEXTS)]
    assert repr(corpus) == "<LanguageCorpus of 4 classes: 12 train, 15 valid, 18 test>"


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([TRAIN, [["x", "y"]], [["a"]]], {}, "validation text .* contains only unknown words"),
        ([TRAIN, [["a"]], [["x", "<unk>"]]], {}, "test text .* contains only unknown words"),
        ([TRAIN, [["a"]], [[]]], {}, "the test text contains no words"),
        (["a b a"], {}, "file a b a does not exist: .*lists of words"),
        ([READ, READ, TRAIN], {}, "the validation text contains no words: .* in place of an iterator"),
        ([TRAIN, [], [["a"]]], {}, "no corpus is given|the validation text contains no words"),
        ([[["a", "b", "a"]]], {}, "too short to cut validation and test text from it"),
        ([TRAIN], {"split": (29, 5)}, "too short to cut"),
        ([[["<unk>", "<unk>"]], [["a"]], [["a"]]], {}, "the training text contains no word but '<unk>'"),
        ([TRAIN, [["a", "</s>"]], [["a"]]], {}, "the validation text contains the word '</s>'"),
        ([TRAIN, [["a"]], [["a"]]], {"min_count": 100}, "the training text has no word that occurs 100 times"),
    ],
)
def test_texts_that_cannot_be_used(texts: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_language_corpus(*texts, **options)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([TRAIN], {"held_out": 0.5}, "held_out is 0.5: give a share"),
        ([TRAIN], {"held_out": 1.5}, "held_out is 1.5: give a share"),
        ([TRAIN], {"held_out": "much"}, "held_out is 'much': give a share"),
        ([TRAIN], {"split": 0.1}, "split is 0.1: give two whole numbers"),
        ([TRAIN], {"split": (10, 0)}, "give two whole numbers"),
        ([TRAIN, [["a"]]], {"split": (10, 5)}, "leave out those, or split"),
        (
            [TRAIN],
            {"max_vocabulary": 2},
            "max_vocabulary, which counts these two words in, is 2: give a whole number of 3 or more",
        ),
        ([TRAIN], {"unknown": "</s>"}, "are both '</s>'"),
        ([TRAIN], {"end_of_sentence": ""}, "end_of_sentence is '': give a word"),
        ([TRAIN, ["-"], ["-"]], {}, "is named for two texts"),
        ([TRAIN, [["a"], "b a"], [["a"]]], {}, "sentence 2 of the validation text is '.*': give a list of words"),
        ([3], {}, "the training text is 3: give lists of words"),
        ([[{"tokens": ["a"]}]], {}, "sentence 1 of the training text is {.*and of rows with fields one field"),
        (
            [TRAIN, [{"a", "b"}], TRAIN],
            {},
            "sentence 1 of the validation text is {.*whose order differs between processes",
        ),
        ([TRAIN, TRAIN, [["a", 1]]], {}, r"sentence 1 of the test text contains 1 \(int\)"),
    ],
)
def test_arguments_that_cannot_be_used(texts: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_language_corpus(*texts, **options)


def test_texts_that_are_other_texts(tmp_path: Path) -> None:
    train, copy, test = tmp_path / "train", tmp_path / "copy", tmp_path / "test"
    train.write_text("a b\nb a\n" * 3)
    copy.write_text("a b\nb a\n" * 3)
    test.write_text("a a\n")
    with pytest.warns(UserWarning, match="train is both training and validation text") as told:
        corpus = read_language_corpus(train, train, test)
    assert corpus.notes == [str(warning.message) for warning in told]
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="validation text is the training text again"):
        corpus = read_language_corpus(train, copy, test)
    assert len(corpus.notes) == 1
    with pytest.warns(UserWarning, match="test is both training and test text"):
        read_language_corpus(tmp_path, [["a", "a", "b"]], test)
    with pytest.warns(UserWarning, match="is both validation and test text"):
        read_language_corpus(train, test, str(test))


def test_other_doubts(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no word of the training text is unknown, but up to 50.0% of"):
        corpus = read_language_corpus(TRAIN, [["a", "x"]], [["b"]])
    assert corpus.vocabulary.counts[corpus.unknown] == 0
    path = tmp_path / "latin"
    path.write_bytes(b"a b c a\xe9 ")
    with pytest.warns(UserWarning, match="1 invalid UTF-8 sequences in the test text"):
        corpus = read_language_corpus(TRAIN, [["b", "a"]], path, min_count=6)
    assert len(corpus.notes) == 1


def test_ids_may_be_written_to_as_pytorch_does(tmp_path: Path) -> None:
    made = quiet(TRAIN, [["a"]], [["b", "a"]], min_count=1)
    made.save(tmp_path)
    before = made.train.tolist()
    for corpus in (made, LanguageCorpus.load(tmp_path)):
        for name in TEXTS:
            ids = getattr(corpus, name)
            torch.from_numpy(ids)[0] = corpus.end_of_sentence  # writing to read-only memory would crash here
            assert ids[0] == corpus.end_of_sentence
    assert LanguageCorpus.load(tmp_path).train.tolist() == before


@pytest.mark.parametrize("train", [None, 5, 1.5, {}, object()])
def test_what_is_no_text(train: Any) -> None:
    with pytest.raises((CorpusError, InputError)):
        read_language_corpus(train)
