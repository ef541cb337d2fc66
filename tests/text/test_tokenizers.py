import sys
from pathlib import Path

import pytest

from tests.text.oracle import decoded
from vastmax.errors import InputError
from vastmax.text import TOKENIZERS, encode_corpus, read_sentences


def test_unicode_words() -> None:
    split = TOKENIZERS["words"]()
    assert split("The U.S. can't, \"naïve\" 3.14 l'été don\u2019t! foo_bar — 1,000 (a-b) 서울은 한국의") == [
        "The", "U.S", "can't", "naïve", "3.14", "l'été", "don\u2019t", "foo_bar", "1,000", "a", "b", "서울은", "한국의",
    ]  # fmt: skip
    assert split("… !?") == []


def test_tokenizers_make_the_same_corpus_from_files_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"Hello, world!\r\nHello again (world).\n\nhello")
    for tokenizer, sentences in {
        "words": [["Hello", "world"], ["Hello", "again", "world"], ["hello"]],
        "whitespace": [["Hello,", "world!"], ["Hello", "again", "(world)."], ["hello"]],
        list: [list("Hello, world!"), list("Hello again (world)."), list("hello")],
    }.items():
        assert list(read_sentences(path, tokenizer=tokenizer)) == sentences
        with encode_corpus(path, tokenizer=tokenizer, min_count=1) as corpus:
            assert decoded(corpus) == sentences
    with encode_corpus(path, tokenizer="words", lowercase=True, min_count=1) as corpus:
        assert corpus.vocabulary.words == ["hello", "world", "again"]


def test_lines_longer_than_a_block_reach_a_tokenizer_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("one, two. " * 1_000_000)
    lengths: list[int] = []

    def tokenizer(line: str) -> list[str]:
        lengths.append(len(line))
        return line.replace(",", "").replace(".", "").split()

    with encode_corpus(path, tokenizer=tokenizer) as corpus:
        assert corpus.vocabulary.counts.tolist() == [1_000_000, 1_000_000]
    assert max(lengths) <= 8 << 20


def test_unknown_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="tokenizer is 'moses': give 'whitespace', 'words' or a function"):
        encode_corpus([["a"]], tokenizer="moses")
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(InputError, match=r"needs the package regex: pip install 'vastmax\[words\]'"):
        encode_corpus([["a"]], tokenizer="words")


def test_tokenizers_that_do_not_split(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a b")
    with pytest.raises(InputError, match="is 'a b': give a list of words"):
        encode_corpus(path, tokenizer=lambda line: line)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match=r"contains 3 \(int\), and words are strings"):
        encode_corpus(path, tokenizer=lambda line: [3])  # type: ignore[list-item]
