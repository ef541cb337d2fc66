"""Vectors that one run takes from another: the output's if it has one per word, else the input's."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vastmax.comparison.worker import _vectors
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary

IN, OUT = (np.full((3, 2), value, np.float32) for value in (1, 2))


def lent(folder: Path, **tensors: np.ndarray) -> str:
    Vocabulary.from_counts({"a": 3, "b": 2, "c": 1}).save(folder / "vocabulary.tsv")
    save_file({name.replace("_", "."): each for name, each in tensors.items()}, folder / "model.safetensors")
    return str(folder)


def test_a_table_of_words_is_lent_before_the_input(tmp_path: Path) -> None:
    assert np.array_equal(_vectors(lent(tmp_path, embedding_weight=IN, output_weight=OUT), "full"), OUT)


def test_nodes_of_a_tree_are_no_words(tmp_path: Path) -> None:
    assert np.array_equal(_vectors(lent(tmp_path, embedding_weight=IN, output_weight=OUT[:2]), "tree"), IN)


def test_a_tied_table_is_lent_under_the_name_it_has(tmp_path: Path) -> None:
    assert np.array_equal(_vectors(lent(tmp_path, output_weight=OUT), "tied"), OUT)


def test_without_either_there_is_nothing_to_lend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no vector per word"):
        _vectors(lent(tmp_path, output_head=OUT), "adaptive")
    with pytest.raises(InputError, match="no run of this name is finished"):
        _vectors(str(tmp_path / "nowhere"), "full")
    with pytest.raises(InputError, match="no run of this name is finished"):
        _vectors(None, "full")
