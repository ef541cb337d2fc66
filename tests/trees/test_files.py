import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tests.strategies import counts
from vastmax.errors import FormatError, InputError
from vastmax.trees import Tree, huffman_tree

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@same_folder
@given(counts())
def test_round_trip(tmp_path: Path, counts: np.ndarray) -> None:
    tree = huffman_tree(counts)
    tree.save(tmp_path / "tree.safetensors")
    assert Tree.load(tmp_path / "tree.safetensors") == tree


@same_folder
@given(st.data())
def test_no_damage_goes_unseen_or_crashes(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "tree.safetensors"
    tree = huffman_tree([5, 4, 3, 2, 1])
    tree.save(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        loaded = Tree.load(path)
    except FormatError:
        return
    # a file that still loads is a valid tree: one flipped bit can at most exchange the leaves' words
    assert loaded.num_inner_nodes == 4


def test_another_format(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"vectors": np.ones((2, 2))}, path)
    with pytest.raises(FormatError, match=r"has the format .*: give 'vastmax tree 1'"):
        Tree.load(path)


def test_a_part_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "tree.safetensors"
    huffman_tree([1, 2, 3]).save(path)
    tensors = load_file(path)
    del tensors["signs"]
    save_file(tensors, path, metadata={"format": "vastmax tree 1"})
    with pytest.raises(FormatError, match="signs"):
        Tree.load(path)


def test_a_wrong_value(tmp_path: Path) -> None:
    path = tmp_path / "tree.safetensors"
    huffman_tree([1, 2, 3]).save(path)
    tensors = load_file(path)
    tensors["nodes"][1] = 7
    save_file(tensors, path, metadata={"format": "vastmax tree 1"})
    with pytest.raises(FormatError, match=r"damaged .*no inner node 7"):
        Tree.load(path)


@pytest.mark.parametrize("content", [b"", b"not a tree", b"\xff" * 64])
def test_no_tree_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tree.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="is not a tree file"):
        Tree.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Tree.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_numbers_that_numpy_lacks(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tree.safetensors"
    tensor = {"dtype": kind, "shape": [0], "data_offsets": [0, 0]}
    header = {"__metadata__": {"format": "vastmax tree 1"}, **dict.fromkeys(("offsets", "nodes", "signs"), tensor)}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(FormatError, match="is not a tree file"):
        Tree.load(path)
