"""`EncodedCorpus`: memory-mapped ids are writable, and releasing their pages loses nothing."""

from pathlib import Path

import numpy as np
import torch

from vastmax.text import EncodedCorpus, encode_corpus
from vastmax.vocabulary import Vocabulary


def test_ids_may_be_written_to_as_pytorch_does() -> None:
    with encode_corpus([["a", "b", "a"], ["b", "a"]], min_count=1) as corpus:
        ids, expected = corpus.ids, corpus.ids.tolist()
        torch.from_numpy(ids.view(np.int32))[0] = 1  # a read-only mapping would crash the process
        expected[0] = 1
        corpus.release()
        assert ids.tolist() == expected
    assert ids.tolist() == expected  # after closing


def test_release_loses_nothing() -> None:
    with encode_corpus([["a", "b", "a"], ["b", "a"]], min_count=1) as corpus:
        before = corpus.ids.tolist()
        corpus.release()
        assert corpus.ids.tolist() == before


def test_release_keeps_the_changes_of_a_private_mapping(tmp_path: Path) -> None:
    np.arange(5000, dtype=np.uint32).tofile(tmp_path / "ids")
    ids = np.memmap(tmp_path / "ids", dtype=np.uint32, mode="c")
    ids[0] = 7
    vocabulary = Vocabulary.from_counts({"a": 2, "b": 1})
    EncodedCorpus(ids, vocabulary, num_words=5000, num_raw_words=5000, num_sentences=1).release()
    assert ids[0] == 7


def test_release_passes_over_what_is_no_map(tmp_path: Path) -> None:
    np.arange(9).tofile(tmp_path / "ids")  # astype returns a copy that is still a numpy.memmap
    copied = np.memmap(tmp_path / "ids", dtype=np.int64, mode="r").astype(np.uint32)
    vocabulary = Vocabulary.from_counts({"a": 2, "b": 1})
    for ids in (copied, np.arange(9, dtype=np.uint32)):
        EncodedCorpus(ids, vocabulary, num_words=9, num_raw_words=9, num_sentences=1).release()
        assert ids.tolist() == list(range(9))
