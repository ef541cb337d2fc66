import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vastmax.embeddings import Embeddings, export, import_vectors
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import FormatError, InputError
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary


@pytest.mark.parametrize("ending", [".txt", ".vec", ".bin", ".npy"])
def test_round_trip(small: Embeddings, tmp_path: Path, ending: str) -> None:
    export(small, tmp_path / f"v{ending}")
    loaded = import_vectors(tmp_path / f"v{ending}")
    assert_array_equal(loaded.vectors, small.vectors)
    assert loaded.vocabulary.words == small.vocabulary.words
    names = ["v.npy", "v.tsv"] if ending == ".npy" else [f"v{ending}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_numpy_keeps_counts(small: Embeddings, tmp_path: Path) -> None:
    export(small, tmp_path / "v.npy")
    assert import_vectors(tmp_path / "v.npy").vocabulary == small.vocabulary
    assert_array_equal(np.load(tmp_path / "v.npy"), small.vectors)


@pytest.mark.parametrize("ending", [".npy", ".floret"])
def test_words_never_lie_beside_other_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    moments: list[tuple[bytes | None, ...]] = []
    files = tmp_path / f"v{ending}", tmp_path / "v.tsv"

    def noted(act: Callable[..., None]) -> Callable[..., None]:
        def then_look(*given: Any, **options: Any) -> None:
            act(*given, **options)
            moments.append(tuple(file.read_bytes() if file.exists() else None for file in files))

        return then_look

    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, noted(getattr(os, name)))
    subwords = SubwordVectors(Subwords(2, 3, 9, 2, floret=True), np.ones((9, 4), np.float32))
    for words in (["a", "b"], ["c"]):
        vectors = subwords.vectors_of(words)
        export(Embeddings(vectors, Vocabulary(words, None), subwords=subwords), files[0])
        subwords.vectors *= 2
    found = [moment for moment in dict.fromkeys(moments) if any(moment)]
    (old, old_words), (new, new_words) = found[1], found[-1]
    assert found == [(old, None), (old, old_words), (new, None), (new, new_words)]


def test_folder(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path)
    assert import_vectors(tmp_path).config == small.config


def test_unknown_endings(small: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end its name in \.txt"):
        export(small, tmp_path / "v.pkl")
    with pytest.raises(InputError, match=r"nothing.* does not exist: give a file of vectors"):
        import_vectors(tmp_path / "nothing")
    for name in ("v.pkl", "v.npy.gz", "v"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match="has no known ending: end its name in"):
            import_vectors(tmp_path / name)


def test_wrong_numpy_files(small: Embeddings, tmp_path: Path) -> None:
    export(small, tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    with pytest.raises(FormatError, match=r"do not match \(vectors has 3 rows"):
        import_vectors(tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FormatError, match="not a NumPy array"):
        import_vectors(tmp_path / "v.npy")
    (tmp_path / "v.npy").write_bytes(b"")
    with pytest.raises(FormatError, match="not a NumPy array"):
        import_vectors(tmp_path / "v.npy")
    (tmp_path / "v.tsv").unlink()
    with pytest.raises(InputError, match=r"v\.tsv does not exist"):
        import_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize(
    "shape", ["(9999999999, 9999999)", "(-1, 7)", "(10, -7)", "(2**70, 7)", "'x'", "(1e3, 2)", "(10, 7"]
)
def test_numpy_headers_that_promise_what_is_not_there(small: Embeddings, tmp_path: Path, shape: str) -> None:
    export(small, tmp_path / "v.npy")
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    (tmp_path / "v.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(280))
    with pytest.raises(FormatError, match=r"not a NumPy array|do not match"):
        import_vectors(tmp_path / "v.npy")


def test_what_is_imported_may_be_written_to_and_the_file_stays(small: Embeddings, tmp_path: Path) -> None:
    export(small, tmp_path / "v.npy")
    before = (tmp_path / "v.npy").read_bytes()
    loaded = import_vectors(tmp_path / "v.npy")
    loaded.vectors[:] = 3
    assert (tmp_path / "v.npy").read_bytes() == before
    export(loaded, tmp_path / "v.npy")
    assert_array_equal(import_vectors(tmp_path / "v.npy").vectors, 3)


@pytest.mark.parametrize("ending", [".txt", ".vec", ".bin", ".npy", ""])
def test_limit(small: Embeddings, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v{ending}"
    if ending:
        export(small, path)
    else:
        small.save(path)
    loaded = import_vectors(path, limit=4)
    assert_array_equal(loaded.vectors, small.vectors[:4])
    assert loaded.vocabulary.words == (small.vocabulary.words or [])[:4]
    assert len(import_vectors(path, limit=11)) == 10
    with pytest.raises(InputError, match="limit is -1"):
        import_vectors(path, limit=-1)


def test_text_and_binary_are_told_by_content(small: Embeddings, tmp_path: Path) -> None:
    for ending, other in ((".txt", ".bin"), (".bin", ".txt")):
        export(small, tmp_path / f"v{ending}")
        (tmp_path / f"v{ending}").rename(tmp_path / f"w{other}")
        assert_array_equal(import_vectors(tmp_path / f"w{other}").vectors, small.vectors)


@pytest.mark.parametrize("ending", ["pkl", "kv", "model", "h5", "zip", "safetensors"])
def test_formats_of_others_are_named_under_their_own_endings(tmp_path: Path, ending: str) -> None:
    for content, message in ((pickle.dumps(1), "is a pickle"), (b"PK\3\4", "is a zip archive")):
        (tmp_path / f"v.{ending}").write_bytes(content)
        with pytest.raises(FormatError, match=message):
            import_vectors(tmp_path / f"v.{ending}")


def test_counts_that_no_format_carries_are_unknown_and_stay_so(small: Embeddings, tmp_path: Path) -> None:
    export(small, tmp_path / "v.txt")
    for path in (tmp_path / "v.npy", tmp_path / "model"):
        loaded = import_vectors(tmp_path / "v.txt")
        export(loaded, path) if path.suffix else loaded.save(path)
        again = import_vectors(path)
        assert again.vocabulary == loaded.vocabulary
        with pytest.raises(InputError, match="the vocabulary has words but no counts: give counts too"):
            _ = again.vocabulary.counts


def test_layers_that_need_counts_say_that_they_are_unknown(small: Embeddings, tmp_path: Path) -> None:
    layers = pytest.importorskip("vastmax.layers")
    export(small, tmp_path / "v.txt")
    vocabulary = import_vectors(tmp_path / "v.txt").vocabulary
    refused = set()
    for name in layers.LAYERS:
        for without in ([], [3]):
            try:
                layer = layers.build(name, 4, vocabulary, without=without)
            except InputError as error:
                assert str(error).startswith("the vocabulary has words but no counts")
                refused.add(name)
            else:
                assert layer.num_classes == 10
    assert {"nce", "negative-sampling", "hierarchical", "adaptive", "class-based", "blackout"} < refused
    assert refused.isdisjoint({"full", "partial", "cnn", "self-normalized"})
    for proposal in ("uniform", "log-uniform"):
        assert layers.build("nce", 4, vocabulary, proposal=proposal).num_classes == 10


@pytest.mark.parametrize("ending", [".txt", ".vec", ".bin", ".npy"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_neither_out_nor_in(
    small: Embeddings, tmp_path: Path, ending: str, number: float
) -> None:
    path, word = tmp_path / f"v{ending}", small.word_of(2)
    export(small, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    spoilt = Embeddings(small.vectors.copy(), small.vocabulary)
    spoilt.vectors[2, 1] = number
    with pytest.raises(InputError, match=f"the vector of '{word}' contains NaN or infinity"):
        export(spoilt, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    if ending == ".npy":
        np.save(path, spoilt.vectors)
        with pytest.raises(FormatError, match=f"v.npy the vector of '{word}' contains NaN or infinity"):
            import_vectors(path)
        assert len(import_vectors(path, limit=2)) == 2
