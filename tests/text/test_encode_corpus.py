import gc
import gzip
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import data_path
from tests.text.oracle import assert_encodes, decoded, encoded, ranked, sentences_of, with_unknown
from vastmax.errors import CorpusError, InputError
from vastmax.text import ScanProgress, build_vocabulary, encode_corpus, read_sentences
from vastmax.vocabulary import Vocabulary

ODD = "a\x1cb\x1dc\x1ed\x1fe f\x0bg\x0ch\ri\x85j\xa0k\u1680l\u2000m\u200an\u200bo\u2028p\u2029q\u202fr\u205fs\u3000t \n"


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


@pytest.mark.parametrize("name", ["wiki/enwiki-20M.txt.gz", "unicode/kowiki-3M.txt.gz", "brown/brown.txt"])
def test_real_text_is_encoded_as_plain_python_would(name: str) -> None:
    path = data_path(name)
    sentences = sentences_of(text_of(path))
    with encode_corpus(path, min_count=5, threads=2) as corpus:
        assert_encodes(corpus, sentences, min_count=5)
        assert corpus.invalid_utf8 == 0


def test_item_sequences_are_sentences() -> None:
    path = data_path("items/Beauty.txt")
    with encode_corpus(path, min_count=1, max_vocabulary=1000) as corpus:
        assert_encodes(corpus, sentences_of(text_of(path)), max_size=1000)


def test_result_does_not_depend_on_threads(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    words = [f"w{number}é" * int(random.integers(1, 4)) for number in range(5000)]
    lines = [" ".join(words[i] for i in random.zipf(1.3, 12) % 5000) for _ in range(40_000)]
    path = tmp_path / "text"
    path.write_text("\n".join(lines))
    assert path.stat().st_size > 2_000_000  # enough for many pieces
    prints = []
    for threads in (1, 2, 3, 5):
        with encode_corpus(path, threads=threads, phrases=1) as corpus:
            prints.append((corpus.fingerprint, corpus.phrases))
    assert prints[1:] == prints[:-1]


def test_every_whitespace_character_of_python_separates(tmp_path: Path) -> None:
    path = tmp_path / "text"
    # every offset within the 64 bytes scanned together
    text = "".join("x" * shift + " " + ODD for shift in range(70))
    path.write_bytes(text.encode())
    with encode_corpus(path, min_count=1) as corpus:
        assert_encodes(corpus, sentences_of(text))


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
odd_texts = st.lists(st.one_of(words, st.sampled_from([" ", "\n", "\r\n", "\u3000", "\x85", "\x1f", "e" * 40]))).map(
    "".join
)


@given(text=odd_texts, lowercase=st.booleans(), min_count=st.integers(1, 3), threads=st.integers(1, 3))
def test_any_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, lowercase: bool, min_count: int, threads: int
) -> None:
    text = text.replace("\0", "") + "\nthe end the end the end"
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(text.encode())
    text = text.removeprefix("\ufeff")
    with encode_corpus(path, lowercase=lowercase, min_count=min_count, threads=threads) as corpus:
        sentences = [[word.lower() if lowercase else word for word in line] for line in sentences_of(text)]
        assert_encodes(corpus, sentences, min_count)
    expected = [sentence for sentence in sentences if sentence]
    assert list(read_sentences(path, lowercase=lowercase)) == expected


tokens = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e\x1f"), max_size=20)


@given(sentences=st.lists(st.lists(tokens, max_size=8)), lowercase=st.booleans())
def test_token_lists_keep_any_token(sentences: list[list[str]], lowercase: bool) -> None:
    sentences = [*sentences, ["two words", "tab\t", "line\nend", "two words"]]
    expected = [[word.lower() if lowercase else word for word in sentence if word] for sentence in sentences]
    with encode_corpus(iter(sentences), min_count=1, lowercase=lowercase) as corpus:
        assert_encodes(corpus, expected)
    assert list(read_sentences(sentences)) == [s for s in sentences if s]


def test_long_text_without_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "text8"
    text = "ab cde f " * 1_200_000  # longer than a block
    path.write_text(text)
    with encode_corpus(path) as corpus:
        assert_encodes(corpus, sentences_of(text))
        assert corpus.num_sentences == 1


def test_word_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_text("a b\n" + "é" * 5_000_000 + " a")
    with encode_corpus(path, min_count=1) as corpus:
        assert corpus.vocabulary.words == ["a", "b", "é" * 5_000_000]


def test_byte_order_mark_is_dropped_from_each_file(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).write_text("word other", encoding="utf-8-sig")
    with encode_corpus(tmp_path, min_count=1) as corpus:
        assert decoded(corpus) == [["word", "other"]] * 2


def test_invalid_utf8_is_replaced_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    data = "caf\xe9 na\xefve word".encode("latin-1") + b" \xe2\x82 \xf0\x9f\x98\x80"
    path.write_bytes(data)
    with encode_corpus(path, min_count=1) as corpus:
        assert decoded(corpus) == [data.decode(errors="replace").split()]
        assert corpus.invalid_utf8 == data.decode(errors="replace").count("\ufffd") == 3
    with encode_corpus(path, min_count=1, tokenizer=str.split) as corpus:  # str.split counts as "whitespace"
        assert corpus.invalid_utf8 == 3
    with encode_corpus(path, min_count=1, tokenizer=lambda line: line.split()) as corpus:
        assert decoded(corpus) == [data.decode(errors="replace").split()]
        assert corpus.invalid_utf8 == 3
    with pytest.warns(UserWarning, match="3 invalid UTF-8"):
        build_vocabulary(path, min_count=1)


def test_given_vocabulary_drops_all_other_words() -> None:
    vocabulary = Vocabulary(["never", "b", "a"], [1, 2, 3])
    sentences = [["a", "x", "b"], ["x"], ["a"]]
    with encode_corpus(sentences, vocabulary=vocabulary, lowercase=True) as corpus:
        assert corpus.ids.tolist() == encoded(sentences, ["never", "b", "a"]).tolist()
        assert corpus.vocabulary is vocabulary
        assert (corpus.num_words, corpus.num_raw_words, corpus.num_sentences) == (3, 5, 2)
    with pytest.raises(CorpusError, match="none of the 3 words"):
        encode_corpus([["x", "y"]], vocabulary=vocabulary)
    with pytest.raises(InputError, match="no words"):
        encode_corpus([["x", "y"]], vocabulary=Vocabulary.from_counts([1, 2]))


def test_max_vocabulary_cuts_ties_by_code_point() -> None:
    with encode_corpus([["b", "a", "é", "z", "a"]], min_count=1, max_vocabulary=3) as corpus:
        assert corpus.vocabulary.words == ["a", "b", "z"]


def test_vocabulary_from_corpus_is_that_of_the_encoded_corpus(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("The the the THE cat a A cat\n" * 3)
    for lowercase in (False, True):
        vocabulary = build_vocabulary(path, lowercase=lowercase, min_count=4, threads=2)
        with encode_corpus(path, lowercase=lowercase, min_count=4) as corpus:
            assert corpus.vocabulary == vocabulary
    assert vocabulary.words == ["the", "a", "cat"]
    assert build_vocabulary([["one"]], min_count=1).words == ["one"]


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("word and word\n" * 1_500_000)
    seen: list[ScanProgress] = []
    encode_corpus([path, path], progress=seen.append).close()
    assert len(seen) > 3
    assert [p.words for p in seen] == sorted(p.words for p in seen)
    assert seen[-1].bytes_read == seen[-1].bytes_total == 2 * path.stat().st_size
    assert seen[-1].words == 9_000_000
    assert 0 < seen[0].seconds <= seen[-1].seconds
    with gzip.open(tmp_path / "a.gz", "wt") as file:
        file.write("word and word\n" * 1000)
    encode_corpus(tmp_path / "a.gz", progress=seen.append).close()
    assert seen[-1].bytes_read == seen[-1].bytes_total == (tmp_path / "a.gz").stat().st_size
    encode_corpus([["a", "b"]] * 9, progress=seen.append).close()
    assert (seen[-1].bytes_read, seen[-1].bytes_total, seen[-1].words) == (0, None, 18)


def test_fingerprint_tells_corpora_apart() -> None:
    def fingerprint(*sentences: str) -> str:
        with encode_corpus([sentence.split() for sentence in sentences], min_count=1) as corpus:
            return corpus.fingerprint

    base = fingerprint("a b a", "c")
    assert base == fingerprint("a b a", "c")
    assert len({base, fingerprint("a b", "a c"), fingerprint("a b a d"), fingerprint("a b a", "c", "a b a", "c")}) == 4
    assert re.fullmatch("[0-9a-f]{32}", base)


def test_temporary_file_is_gone(tmp_path: Path) -> None:
    corpus = encode_corpus([["a", "b"]] * 9, directory=tmp_path)
    assert isinstance(corpus.ids, np.memmap)
    ids = corpus.ids
    corpus.close()
    assert len(corpus.ids) == 0
    assert ids[:3].tolist() == [0, 1, 0xFFFFFFFF]
    with pytest.raises(CorpusError):
        encode_corpus([[]], directory=tmp_path)
    assert os.listdir(tmp_path) == []


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not list open files")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        encode_corpus([["a", "b"]] * 9)  # not closed
        with pytest.raises(CorpusError):
            encode_corpus([["a", "a"]])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_threads_are_refused() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        encode_corpus([["a", "b"]], threads=0)


@pytest.mark.parametrize("option", ["min_count", "max_vocabulary"])
@pytest.mark.parametrize("value", [0, 2.5, "10"])
def test_limits_that_are_none(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{option} is {value!r}: give a whole number"):
        encode_corpus([["a", "b"]], **{option: value})


def test_ranked_words_break_ties_as_python_sorts(tmp_path: Path) -> None:
    words = ["aaaaaaaab", "aaaaaaaa", "aaaaaaaaa", "b", "a", "\U0001f600", "\uffff", "z" * 30, "z" * 29]
    with encode_corpus([words], min_count=1) as corpus:
        assert corpus.vocabulary.words == list(ranked([words])) == sorted(words)


few_words = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "<unk>", "é", "A"]), max_size=8), max_size=12)


@given(few_words, st.integers(1, 4), st.one_of(st.none(), st.integers(2, 6)), st.integers(1, 3))
def test_unknown_word_stands_for_the_dropped(
    sentences: list[list[str]], min_count: int, max_size: int | None, threads: int
) -> None:
    sentences = [*sentences, ["a"] * 4]
    counts = with_unknown(sentences, "<unk>", min_count, max_size)
    with encode_corpus(
        sentences, min_count=min_count, max_vocabulary=max_size, unknown="<unk>", threads=threads
    ) as corpus:
        assert corpus.vocabulary.words == list(counts)
        assert corpus.vocabulary.counts.tolist() == list(counts.values())
        known = [[word if word in counts else "<unk>" for word in sentence] for sentence in sentences]
        assert corpus.ids.tolist() == encoded(known, counts).tolist()
        assert corpus.num_words == corpus.num_raw_words == corpus.vocabulary.total
        assert corpus.num_sentences == sum(map(bool, sentences))


def test_unknown_word_of_a_given_vocabulary() -> None:
    vocabulary = Vocabulary(["never", "?", "a"], [1, 2, 3])
    sentences = [["a", "x", "B", "?"], ["x"], []]
    with encode_corpus(sentences, vocabulary=vocabulary, unknown="?", lowercase=True) as corpus:
        assert decoded(corpus) == [["a", "?", "?", "?"], ["?"]]
        assert corpus.vocabulary is vocabulary
    with pytest.raises(CorpusError, match="none of the 3 words"):
        encode_corpus([["x", "?"]], vocabulary=vocabulary, unknown="?")
    with pytest.raises(InputError, match="unknown is '<unk>': give a word of the given vocabulary"):
        encode_corpus(sentences, vocabulary=vocabulary, unknown="<unk>")


@pytest.mark.parametrize("unknown", ["", 3, b"?", "a\x1fb", "\ud800"])
def test_unknown_word_that_is_none(unknown: Any) -> None:
    with pytest.raises(InputError, match="word"):
        encode_corpus([["a", "b"]], min_count=1, unknown=unknown)
