from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vastmax.embeddings import Embeddings, export, import_vectors
from vastmax.errors import FormatError, InputError


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


def test_folder(small: Embeddings, tmp_path: Path) -> None:
    small.save(tmp_path)
    assert import_vectors(tmp_path).config == small.config


def test_unknown_endings(small: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end its name in \.txt"):
        export(small, tmp_path / "v.pkl")
    for name in ("v.pkl", "v.npy.gz", "v"):
        with pytest.raises(InputError, match="its name must end in"):
            import_vectors(tmp_path / name)


def test_wrong_numpy_files(small: Embeddings, tmp_path: Path) -> None:
    export(small, tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    with pytest.raises(FormatError, match="do not fit: vectors has 3 rows"):
        import_vectors(tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FormatError, match="no array of numpy's"):
        import_vectors(tmp_path / "v.npy")
    (tmp_path / "v.npy").write_bytes(b"")
    with pytest.raises(FormatError, match="no array of numpy's"):
        import_vectors(tmp_path / "v.npy")
    (tmp_path / "v.tsv").unlink()
    with pytest.raises(InputError, match=r"v\.tsv does not exist"):
        import_vectors(tmp_path / "v.npy")
