"""The store of run states: round trips, kills and full disks, and refused checkpoints."""

import json
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vastmax.errors import CheckpointError, InputError
from vastmax.files import drop, tidy
from vastmax.runs import (
    CHECKPOINT_TENSORS,
    Checkpoint,
    arrays_of,
    differences,
    holds_checkpoint,
    plain,
    tensors_of,
    tensors_under,
)

IDENTITY = {"seed": 1, "options": {"dim": 4, "layer": None}}


def checkpoint(number: int = 0, **tensors: Any) -> Checkpoint:
    return Checkpoint("a test", IDENTITY, {"number": number}, tensors or {"a": np.full((20, 10), number, np.float32)})


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    facts = {"nothing": None, "tiny": 5e-324, "third": 1 / 3, "list": [1, {"x": "ü"}]}
    Checkpoint("a test", IDENTITY, facts, {}).save(tmp_path)
    found = Checkpoint.load(tmp_path, "a test")
    assert (found.identity, found.facts, found.tensors) == (IDENTITY, facts, {})
    assert holds_checkpoint(tmp_path)
    drop(tmp_path)
    assert not tmp_path.exists()
    assert not holds_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool],
)
def test_tensors_of_torch_come_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    bits = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9000, 16), np.uint8))
    whole = bits % 2 == 0 if dtype == torch.bool else bits.view(dtype)
    given = {"matrix": whole, "columns": whole[:, 1::2], "turned": whole.T, "one": whole[3, 0], "none": whole[:0]}
    given["table"] = torch.nn.Parameter(whole) if dtype.is_floating_point else whole
    checkpoint(**arrays_of(given)).save(tmp_path)
    library = load_file(tmp_path / CHECKPOINT_TENSORS)
    for read in (tensors_of(Checkpoint.load(tmp_path, "a test").tensors), library):
        assert read.keys() == given.keys()
        for name, tensor in given.items():
            assert (read[name].dtype, read[name].shape) == (dtype, tensor.shape)
            ours, theirs = (np.asarray(arrays_of({"": each})[""]).tobytes() for each in (read[name], tensor))
            assert ours == theirs, name


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(7, generator=generator)
    # preceded by a tensor of odd length: nothing needs alignment
    checkpoint(**arrays_of({"odd": torch.ones(3, dtype=torch.uint8), "chance": generator.get_state()})).save(tmp_path)
    expected = torch.rand(5, generator=generator)
    again = torch.Generator()
    again.set_state(tensors_of(Checkpoint.load(tmp_path, "a test").tensors)["chance"])
    assert torch.equal(torch.rand(5, generator=again), expected)


def test_what_is_loaded_is_a_copy_of_torch_and_a_map_of_numpy(tmp_path: Path) -> None:
    checkpoint(1).save(tmp_path)
    found = Checkpoint.load(tmp_path, "a test").tensors
    assert not found["a"].flags.owndata
    tensors_of(found)["a"].add_(1)
    assert (found["a"] == 1).all()
    torch.from_numpy(found["a"]).add_(1)  # changes the copy-on-write map in memory, not the file
    assert (found["a"] == 2).all()
    assert (Checkpoint.load(tmp_path, "a test").tensors["a"] == 1).all()


def test_tensors_by_their_beginning() -> None:
    assert tensors_under("model", {"model.a.b": 1, "model2.c": 2, "model": 3}) == {"a.b": 1}


# --- errors ---


def test_a_kill_while_saving_leaves_the_last_state(tmp_path: Path) -> None:
    """Every file of a state holds its number, so a mixture of two states would show two numbers."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # save one state after the other until killed
        for number in range(10**6):
            checkpoint(number).save(tmp_path, lambda folder, it=number: _write(folder / "beside", it))
            os.write(writer, b".")
    os.read(reader, 1)
    time.sleep(0.25)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Checkpoint.load(tmp_path, "a test")
        assert set(found.tensors["a"].ravel()) == {found.facts["number"]}
        assert found.facts["number"] >= 1
        checkpoint(-1).save(tmp_path)  # leftovers of the kill do not interfere
    assert Checkpoint.load(tmp_path, "a test").facts == {"number": -1}
    assert {path.name for path in tmp_path.iterdir()} == {"beside", "state.json", "state.safetensors"}


def _write(path: Path, number: int) -> None:
    path.write_text(str(number))


def test_a_full_disk_keeps_the_last_state(tmp_path: Path) -> None:
    checkpoint(1).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written .*too large"):
            checkpoint(2, a=np.zeros((200, 10))).save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("part", ["state.json", CHECKPOINT_TENSORS])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:50])])
def test_damage_is_one_sentence(part: str, damage: Callable[[Path], Any], tmp_path: Path) -> None:
    checkpoint().save(tmp_path)
    damage(tmp_path / part)
    with pytest.raises(CheckpointError, match=r"cannot be read .*: delete it to start again") as caught:
        Checkpoint.load(tmp_path, "a test")
    assert "\n" not in str(caught.value)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    checkpoint().save(tmp_path)
    with pytest.raises(
        CheckpointError, match=f"the checkpoint in {tmp_path} belongs to a test, not to embeddings: resume that"
    ):
        Checkpoint.load(tmp_path, "embeddings")


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("state.json", {"format": 1, "identity": {}, "curve": []}),  # language models, before the common store
        ("config.json", {"format": "vastmax embeddings 1", "checkpoint": 1}),  # embeddings, before the common store
        ("state.json", {"format": 99}),
    ],
)
def test_another_version_is_refused(name: str, about: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(about))
    assert holds_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="by another version of vastmax: finish it with that one, or delete it"):
        Checkpoint.load(tmp_path, "embeddings")


def test_another_identity_is_refused(tmp_path: Path) -> None:
    checkpoint().check(IDENTITY, tmp_path)
    with pytest.raises(CheckpointError, match="made with dim=4, now came dim=5: go back to it, or delete it to start"):
        checkpoint().check({"seed": 1, "options": {"dim": 5, "layer": None}}, tmp_path)


# --- identity ---


@pytest.mark.parametrize(
    ("was", "came", "told"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": 1}, {"a": 1, "b": None}, None),
        ({"a": 1}, {}, "a=1, now came a=None"),
        ({"o": {"k": 1}}, {"o": {"k": "1"}}, "k=1, now came k='1'"),
        ({"o": {"k": 1}}, {"o": None}, "o={'k': 1}, now came o=None"),
        ({"threads": 1, "o": {"threads": 2, "k": 1}}, {"threads": 3, "o": {"threads": 4, "k": 1}}, None),
        ({"x": 1, "y": 2}, {"y": 3, "x": 2}, "y=2, now came y=3"),
    ],
)
def test_the_first_difference_is_told(was: Any, came: Any, told: str | None) -> None:
    assert differences(was, came, free=("threads",)) == told


def test_options_are_as_json_gives_them_back() -> None:
    given = {"n": np.int64(3), "words": {"b", "a"}, "pair": (1, 2), "call": str.split, "phrases": object()}
    assert plain(given) == {
        "n": 3,
        "words": ["a", "b"],
        "pair": [1, 2],
        "call": "?.str.split",
        "phrases": "a given object",
    }
    assert plain(plain(given)) == plain(given)


def test_a_kill_while_deleting_leaves_no_half_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint().save(tmp_path / "checkpoint")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)  # simulates the kill
        drop(tmp_path / "checkpoint")
    (left,) = tmp_path.iterdir()
    assert any(left.iterdir()) and not holds_checkpoint(tmp_path / "checkpoint")
    tidy(tmp_path)
    assert not any(tmp_path.iterdir())
