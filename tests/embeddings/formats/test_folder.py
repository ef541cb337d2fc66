import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file

from vastmax.embeddings import Embeddings, export, import_vectors, read_word2vec, train, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.vocabulary import Vocabulary

# Saves a new model over the old one in each given folder; dies at the 1st, 2nd, … file-system operation.
CRASHES = """
import os, sys
import numpy as np
from vastmax.embeddings import Embeddings, read_word2vec, write_word2vec
from vastmax.vocabulary import Vocabulary

def save(folder, touches):
    def crash(event, arguments):
        nonlocal touches
        if event in ("os.rename", "os.mkdir", "os.rmdir", "open") and folder in str(arguments):
            touches -= 1
            if touches == 0:
                os._exit(9)

    sys.addaudithook(crash)
    Embeddings(np.full((3, 2), 2), Vocabulary(["x", "y", "z"], [3, 2, 1]), config={"model": "new"}).save(folder)

for touches, folder in enumerate(sys.argv[1:], 1):
    child = os.fork()
    if child == 0:
        save(folder, touches)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def old() -> Embeddings:
    return Embeddings(np.full((2, 2), 1), Vocabulary(["a", "b"], [2, 1]), config={"model": "old"})


def test_round_trip(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path / "deep" / "model")
    loaded = Embeddings.load(tmp_path / "deep" / "model")
    assert_array_equal(loaded.vectors, small.vectors)
    assert loaded.vocabulary == small.vocabulary
    assert_array_equal(loaded.output_vectors, small.output_vectors)
    assert loaded.config == {"dim": 7, "note": "한"}
    names = sorted(path.name for path in (tmp_path / "deep" / "model").iterdir())
    assert names == ["config.json", "vectors.safetensors", "vocabulary.tsv"]


def test_plain_formats(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path)
    tensors = load_file(tmp_path / "vectors.safetensors")
    assert_array_equal(tensors["vectors"], small.vectors)
    assert_array_equal(tensors["output_vectors"], small.output_vectors)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["note"] == "한"


def test_padded_rows_are_saved_as_they_read(tmp_path: Path) -> None:
    padded = np.arange(20_000 * 16, dtype=np.float32).reshape(-1, 16)[:, :10]
    Embeddings(padded, Vocabulary(None, np.ones(20_000)), padded[:3]).save(tmp_path)
    assert_array_equal(load_file(tmp_path / "vectors.safetensors")["vectors"], padded)
    assert_array_equal(Embeddings.load(tmp_path).vectors, padded)
    assert_array_equal(Embeddings.load(tmp_path).output_vectors, padded[:3])


def test_vectors_stay_on_disk(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path)
    loaded = Embeddings.load(tmp_path)
    for array in (loaded.vectors, loaded.output_vectors):
        assert array is not None
        assert not array.flags.owndata


def test_what_is_loaded_may_be_written_to_and_the_file_stays(small: Embeddings, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    small.save(tmp_path)
    before = (tmp_path / "vectors.safetensors").read_bytes()
    loaded = Embeddings.load(tmp_path)
    table = torch.nn.Embedding.from_pretrained(torch.from_numpy(loaded.vectors), freeze=False)
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    table(torch.tensor([3])).sum().backward()
    optimizer.step()
    loaded.output_vectors[:] = 7
    assert_array_equal(loaded.vectors[3], small.vectors[3] - 1)
    assert (tmp_path / "vectors.safetensors").read_bytes() == before
    assert_array_equal(Embeddings.load(tmp_path).vectors, small.vectors)
    loaded.save(tmp_path)  # overwrites the memory-mapped file
    assert_array_equal(Embeddings.load(tmp_path).vectors, loaded.vectors)
    assert_array_equal(Embeddings.load(tmp_path).output_vectors, 7)


def test_vectors_given_anew_are_saved_as_they_must_be(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path)
    changed = Embeddings.load(tmp_path)
    changed.vectors = changed.vectors.astype(np.float64) / 2
    for found, expected in zip(changed.nearest("the"), small.nearest("the"), strict=True):
        assert found.score == pytest.approx(expected.score, abs=1e-6)
    changed.save(tmp_path)
    assert_array_equal(Embeddings.load(tmp_path).vectors, small.vectors / 2)
    for binary in (False, True):
        write_word2vec(changed, tmp_path / "v", binary=binary)
        assert_array_equal(read_word2vec(tmp_path / "v").vectors, small.vectors / 2)
    with pytest.raises(InputError, match="vectors has 3 rows and the vocabulary has 10 words"):
        changed.vectors = changed.vectors[:3]
    changed.output_vectors = changed.vectors[:, :3]
    with pytest.raises(InputError, match="output_vectors has 3 columns and vectors has 7"):
        changed.save(tmp_path)
    assert_array_equal(Embeddings.load(tmp_path).vectors, small.vectors / 2)


def test_a_loaded_model_outlives_its_replacement(tmp_path: Path) -> None:
    old().save(tmp_path)
    loaded = Embeddings.load(tmp_path)
    Embeddings(np.full((2, 2), 7), loaded.vocabulary).save(tmp_path)
    assert_array_equal(loaded.vectors, 1)
    assert_array_equal(Embeddings.load(tmp_path).vectors, 7)


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "checkpoint").mkdir()
    old().save(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"
    assert (tmp_path / "checkpoint").is_dir()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="dies in forked processes")
def test_a_kill_at_any_moment_leaves_one_good_model(tmp_path: Path) -> None:
    folders = [tmp_path / f"{moment}." for moment in range(30)]
    for folder in folders:
        old().save(folder)
    done = subprocess.run([sys.executable, "-c", CRASHES, *folders], check=True, capture_output=True, text=True)
    codes = done.stdout.split()
    assert codes == sorted(codes, reverse=True)  # killed in the first folders; in the rest the save finished first
    assert {"9", "0"} == set(codes)
    outcomes = []
    for folder in folders:
        for _ in range(2):  # again after the next save has cleaned up
            loaded = Embeddings.load(folder)
            if loaded.config["model"] == "old":
                assert_array_equal(loaded.vectors, np.ones((2, 2)))
                assert loaded.vocabulary.words == ["a", "b"]
            else:
                assert_array_equal(loaded.vectors, np.full((3, 2), 2))
                assert loaded.vocabulary.words == ["x", "y", "z"]
            outcomes.append(loaded.config["model"])
            loaded.save(folder)
            assert len(list(folder.iterdir())) == 3
    assert outcomes == sorted(outcomes, reverse=True)  # old up to some operation, new after it
    assert len({*outcomes}) == 2


def test_an_error_leaves_the_old_model(tmp_path: Path) -> None:
    old().save(tmp_path)
    with pytest.raises(InputError, match="cannot be written as JSON"):
        Embeddings(np.ones((1, 1)), Vocabulary(["a"], [1]), config={"set": {1}}).save(tmp_path)
    assert Embeddings.load(tmp_path).config == {"model": "old"}


def test_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    old().save(tmp_path)
    big = Embeddings(np.ones((5000, 20)), Vocabulary([str(i) for i in range(5000)], np.ones(5000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written .*too large.*make room"):
            big.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Embeddings.load(tmp_path).config == {"model": "old"}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        old().save(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        old().save(tmp_path / "file" / "model")


def test_no_folder_of_embeddings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: give the folder of a model"):
        Embeddings.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: give the folder of a model"):
        Embeddings.load(tmp_path / "file")
    with pytest.raises(FormatError, match=r"it has no vectors\.safetensors"):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "is not JSON"),
        ("config.json", b"[]", "another version"),
        ("config.json", b'{"format": "vastmax embeddings 99"}', "another version"),
        ("config.json", b"\xff\xff", "is not UTF-8"),
        ("vocabulary.tsv", b"a\t2\n", "2 rows and the vocabulary has 1"),
        ("vocabulary.tsv", b"a\t2\nb\n", "line 2"),
        ("vectors.safetensors", b"", "not a safetensors file"),
        ("vectors.safetensors", b"\xff" * 100, "not a safetensors file"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    old().save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        Embeddings.load(tmp_path)


def test_truncated_vectors(tmp_path: Path) -> None:
    old().save(tmp_path)
    path = tmp_path / "vectors.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(FormatError, match="not a safetensors file"):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize(
    "tensors",
    [{"other": np.ones((2, 2), np.float32)}, {"vectors": np.ones((2, 2))}, {"vectors": np.ones(2, np.float32)}],
)
def test_other_tensors(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    old().save(tmp_path)
    save_file(tensors, tmp_path / "vectors.safetensors")
    with pytest.raises(FormatError, match="no matrix 'vectors'"):
        Embeddings.load(tmp_path)


DEEP: list[Any] = []
for _ in range(100):
    DEEP = [DEEP]


@pytest.mark.parametrize("config", [[1], "x", {"a": "\ud800"}, {"a": {1, 2}}, {"a": DEEP}], ids=repr)
def test_a_config_that_could_not_be_read_again(small: Embeddings, tmp_path: Path, config: Any) -> None:
    with pytest.raises(InputError, match="config"):
        Embeddings(small.vectors, small.vocabulary, config=config).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("key", ["format", "subwords"])
def test_a_config_with_a_key_of_the_folders_own(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"config has the key '{key}', which is reserved for .*: rename it"):
        Embeddings(np.ones((1, 1)), Vocabulary(["a"], [1]), config={key: "mine"}).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("dtype", [None, "float16", "int8"])
def test_matrices_without_rows(tmp_path: Path, dtype: str | None) -> None:
    made = train([["a", "b"] * 2] * 50, subwords="5-6", min_count=1, dim=4, epochs=1, threads=1)  # no word is so long
    model = Embeddings(made.vectors, made.vocabulary, np.empty((0, 4)), subwords=made.subwords)
    model.save(tmp_path / "model", dtype)
    loaded = Embeddings.load(tmp_path / "model")
    assert_array_equal(loaded.vectors, model.compressed(dtype).vectors)
    assert loaded.output_vectors is not None and loaded.output_vectors.shape == (0, 4)
    assert loaded.subwords is not None and loaded.subwords.vectors.shape == (0, 4)
    assert_array_equal(loaded["abcdef"], np.zeros(4))
    with pytest.raises(InputError, match="'c' has no n-gram of 5 characters or more"):
        _ = loaded["c"]
    export(loaded, tmp_path / "m.bin", format="fasttext")
    back = import_vectors(tmp_path / "m.bin")
    assert_array_equal(back.vectors, loaded.vectors)
    assert_array_equal(back["abcdef"], np.zeros(4))


def test_a_list_is_no_vocabulary(small: Embeddings) -> None:
    with pytest.raises(InputError, match=r"vocabulary is .*: give a Vocabulary"):
        Embeddings(small.vectors, small.vocabulary.words)  # type: ignore[arg-type]
