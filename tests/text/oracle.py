"""Reference implementation of the core in plain Python."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vastmax.text import END_OF_SENTENCE, EncodedCorpus


def sentences_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("\n")]


def ranked(sentences: Iterable[Sequence[str]], min_count: int = 1, max_size: int | None = None) -> dict[str, int]:
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = [(word, count) for word, count in counts.items() if count >= min_count]
    return dict(sorted(kept, key=lambda item: (-item[1], item[0]))[:max_size])


def with_unknown(
    sentences: Iterable[Sequence[str]], unknown: str, min_count: int = 1, max_size: int | None = None
) -> dict[str, int]:
    """Like `ranked`, with an unknown word for the words left out, which `max_size` includes."""
    counts = Counter(word for sentence in sentences for word in sentence)
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count and word != unknown)
    kept = {word: -count for count, word in frequent[: None if max_size is None else max_size - 1]}
    kept[unknown] = sum(counts.values()) - sum(kept.values())
    return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))


def encoded(sentences: Iterable[Sequence[str]], words: Iterable[str]) -> NDArray[np.uint32]:
    index = {word: place for place, word in enumerate(words)}
    ids: list[int] = []
    for sentence in sentences:
        known = [index[word] for word in sentence if word in index]
        if known:
            ids += [*known, END_OF_SENTENCE]
    return np.array(ids, np.uint32)


def decoded(corpus: EncodedCorpus) -> list[list[str]]:
    words = corpus.vocabulary.words
    assert words is not None
    sentences: list[list[str]] = [[]]
    for number in corpus.ids.tolist():
        if number == END_OF_SENTENCE:
            sentences.append([])
        else:
            sentences[-1].append(words[number])
    assert sentences[-1] == []
    return sentences[:-1]


def assert_encodes(
    corpus: EncodedCorpus, sentences: list[list[str]], min_count: int = 1, max_size: int | None = None
) -> None:
    """Check that `corpus` encodes `sentences`."""
    counts = ranked(sentences, min_count, max_size)
    assert corpus.vocabulary.words == list(counts)
    assert corpus.vocabulary.counts.tolist() == list(counts.values())
    expected = encoded(sentences, counts)
    assert np.array_equal(corpus.ids, expected)
    assert corpus.num_sentences == int((expected == END_OF_SENTENCE).sum())
    assert corpus.num_words == len(expected) - corpus.num_sentences
    assert corpus.num_raw_words == sum(map(len, sentences))
