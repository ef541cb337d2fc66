"""Batches: every word is a target once per epoch, after its preceding word, and batch numbers reach all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vastmax.errors import InputError
from vastmax.language import Batch, SentenceBatches, StreamBatches, make_batches

START = 0
sizes = {"rows": st.integers(1, 12), "length": st.integers(1, 9)}


@given(n=st.integers(1, 120), **sizes)
def test_a_stream_has_every_word_once_and_in_order(n: int, rows: int, length: int) -> None:
    ids = np.arange(1, n + 1)  # all different: each word is its position
    batches = StreamBatches(ids, rows, length, START)
    every = [batches.batch(0, number) for number in range(len(batches))]
    columns = torch.cat([batch.target for batch in every])
    assert columns.shape[1] == min(rows, n)
    kept = [column[column >= 0].tolist() for column in columns.T]
    # the concatenated columns are the text
    assert [word for column in kept for word in column] == ids.tolist()
    assert max(map(len, kept)) - min(map(len, kept)) <= 1
    assert [batch.continues for batch in every] == [False] + [True] * (len(every) - 1)
    assert [len(batch.target) for batch in every[:-1]] == [length] * (len(every) - 1)
    for batch in every:
        inside = batch.target >= 0
        # the word before 5 is 4, and `start` precedes the first word of the text
        assert torch.equal(batch.words[inside], torch.where(batch.target == 1, START, batch.target - 1)[inside])
        assert ((batch.words >= 0) & (batch.words <= n)).all()
        assert inside[0].any()
        # no word follows the end of a column
        assert torch.equal(inside, inside.to(torch.uint8).cummin(0).values.bool())


sentences = st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=15)


@given(sentences=sentences, rows=st.integers(1, 6), seed=st.integers(0, 3), unended=st.booleans())
def test_sentences_are_texts_of_their_own(sentences: list[list[int]], rows: int, seed: int, unended: bool) -> None:
    ended = [[*sentence, 0] for sentence in sentences]
    if unended and sentences[-1]:
        ended[-1].pop()
    batches = SentenceBatches([word for sentence in ended for word in sentence], rows, 0, seed)
    for epoch in range(3):
        found = []
        for number in range(len(batches)):
            batch = batches.batch(epoch, number)
            assert not batch.continues
            assert batch.words[0].eq(0).all()
            assert batch.target.shape[1] == rows or number == len(batches) - 1
            for words, target in zip(batch.words.T, batch.target.T, strict=True):
                kept = target[target >= 0]
                assert torch.equal(words[1 : len(kept)], kept[:-1])
                assert (target[len(kept) :] == -100).all()
                found.append(kept.tolist())
        assert sorted(found) == sorted(ended)


def test_the_order_of_sentences_is_of_seed_and_epoch() -> None:
    ids = [word for i in range(1, 40) for word in (i, 0)]

    def order(seed: int, epoch: int) -> list[int]:
        batches = SentenceBatches(ids, 1, 0, seed)
        return [int(batches.batch(epoch, number).target[0]) for number in range(len(batches))]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(1, 1) != order(2, 0)


@pytest.mark.parametrize("batching", ["stream", "sentence"])
def test_a_number_reaches_the_batch_that_comes_in_turn(batching: str) -> None:
    ids = np.random.default_rng(0).integers(0, 6, 200)
    first, second = (make_batches(batching, ids, rows=4, length=7, end=0, seed=3) for _ in range(2))
    in_turn = {(epoch, i): first.batch(epoch, i) for epoch in range(2) for i in range(len(first))}
    for (epoch, number), expected in reversed(in_turn.items()):
        assert_same(second.batch(epoch, number), expected)


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.words, other.words)
    assert torch.equal(one.target, other.target)
    assert one.continues == other.continues


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ids": []}, "the text is .*: give word ids"),
        ({"ids": [[1, 2]]}, r"shape \(1, 2\)"),
        ({"ids": [0.5]}, "give word ids .*, whole numbers"),
        ({"rows": 0}, "rows is 0: give a whole number"),
        ({"length": 0}, "length is 0: give a whole number"),
        ({"batching": "paragraph"}, "batching is 'paragraph': give 'stream' or 'sentence'"),
    ],
)
def test_what_is_no_text_is_refused(options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_batches(**{"batching": "stream", "ids": [1, 2], "rows": 2, "length": 2, "end": 0, **options})
