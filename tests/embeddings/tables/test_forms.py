"""Compressed vectors: decoded values, values that cannot be stored, and saved folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

from tests.oracles import cosine
from vastmax.embeddings import Embeddings, evaluate_similarity, export, import_vectors
from vastmax.embeddings.tables.codebooks import assign, boundaries
from vastmax.embeddings.tables.int8 import Int8Rows
from vastmax.embeddings.tables.stored import StoredRows
from vastmax.errors import FormatError, InputError
from vastmax.vocabulary import Vocabulary

FORMS = [{"dtype": "float16"}, {"dtype": "int8"}, {"bytes_per_word": 9}]


def embeddings_of(rows: np.ndarray) -> Embeddings:
    return Embeddings(rows, Vocabulary([f"word{i}" for i in range(len(rows))], range(len(rows), 0, -1)))


def test_int8_is_the_nearest_multiple_of_a_row_s_scale() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, 33)).astype(np.float32)
    rows[4] = 0
    table = embeddings_of(rows).compressed("int8").table
    assert isinstance(table, Int8Rows)
    largest = np.abs(rows.astype(np.float64)).max(axis=1)
    assert_allclose(table.scales, largest / 127, rtol=1e-6)
    assert_array_equal(np.abs(table.codes.astype(int)).max(axis=1), np.where(largest > 0, 127, 0))
    assert np.all(np.abs(table[:] - rows.astype(np.float64)) <= largest[:, None] / 254 * 1.001)
    assert_array_equal(table[4], np.zeros(33))
    assert table.nbytes == 200 * (33 + 4)


def test_int8_at_the_ends_of_float32() -> None:
    ends = np.finfo(np.float32)
    tiny = float(ends.smallest_subnormal)
    rows = np.array([[ends.max, -ends.max], [tiny, 0], [100 * tiny, tiny], [200 * tiny, -3 * tiny], [1e-38, 3e-39]])
    decoded = embeddings_of(rows).compressed("int8").table[:].astype(np.float64)
    assert np.isfinite(decoded).all()
    for row, found in zip(rows, decoded, strict=True):
        assert_allclose(found, row, rtol=0, atol=max(0.005 * np.abs(row).max(), tiny / 2))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_named(form: dict, wrong: float) -> None:
    rows = np.ones((300, 8), np.float32)
    rows[270, 2] = wrong
    with pytest.raises(InputError, match="the vector of 'word270' contains NaN or infinity: give finite numbers"):
        embeddings_of(rows).compressed(**form)
    with pytest.raises(InputError, match="the vector of 'word270' contains NaN or infinity"):
        embeddings_of(rows).indexed()


@pytest.mark.parametrize("scale", [1e5, 1e-7])
def test_what_float16_has_no_place_for_is_named(scale: float) -> None:
    rows = np.ones((3, 8), np.float32)
    rows[1] *= np.float32(scale)
    with pytest.raises(InputError, match=r"the vector of 'word1' has numbers outside float16.*give 'int8'"):
        embeddings_of(rows).compressed("float16")
    rows[1] = 0
    assert_array_equal(embeddings_of(rows).compressed("float16").vectors, rows)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dtype": "float64"}, "dtype is 'float64': give 'float32', 'float16' or 'int8'"),
        ({"bytes_per_word": 1}, "bytes_per_word is 1: give a whole number from 2 to 21"),
        ({"bytes_per_word": 22}, "bytes_per_word is 22: give a whole number from 2 to 21"),
        ({"bytes_per_word": 9, "dtype": "int8"}, "bytes_per_word and dtype exclude each other: give one"),
    ],
)
def test_wrong_forms(random: Embeddings, tmp_path: Path, given: dict, sentence: str) -> None:
    for ask in (random.compressed, lambda **form: random.save(tmp_path / "model", **form)):
        with pytest.raises(InputError, match=sentence):
            ask(**given)
    assert not (tmp_path / "model").exists()


def test_product_quantisation_of_what_has_few_values_is_exact() -> None:
    """Each of four column blocks takes one of ten values; norms vary from row to row."""
    generator = np.random.default_rng(2)
    values = generator.choice([-1.0, 1.0], size=(4, 10, 3))
    rows = values[np.arange(4), generator.integers(0, 10, (3000, 4))].reshape(3000, 12)
    scales = 1e20 * 10.0 ** generator.uniform(-2, 2, 3000)
    scales[17] = 0
    decoded = embeddings_of(rows * scales[:, None]).compressed(bytes_per_word=12 + 1).vectors.astype(np.float64)
    assert_allclose(np.linalg.norm(decoded, axis=1), np.linalg.norm(rows * scales[:, None], axis=1), rtol=0.1)
    assert_array_equal(decoded[17], 0)
    kept = [cosine(a, b) for a, b in zip(np.delete(rows, 17, 0), np.delete(decoded, 17, 0), strict=True)]
    assert min(kept) > 0.99


def test_product_quantisation_at_the_ends_of_lengths() -> None:
    assert_array_equal(embeddings_of(np.zeros((300, 4))).compressed(bytes_per_word=3).vectors, 0)
    rows = np.random.default_rng(5).normal(size=(3000, 8))
    rows *= 3.4e38 / np.abs(rows).max(axis=1, keepdims=True)
    for size in (3, 9):
        assert np.isfinite(embeddings_of(rows).compressed(bytes_per_word=size).vectors).all()


@pytest.mark.parametrize(("size", "dim", "parts"), [(50, 7, 3), (1, 1, 1), (2100, 40, 40), (300, 33, 1), (0, 5, 2)])
def test_rows_go_to_their_nearest_centroids(size: int, dim: int, parts: int) -> None:
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(size, dim)).astype(np.float32)
    codebooks = generator.normal(size=(256, dim)).astype(np.float32)
    codebooks[200:] = codebooks[:56]  # duplicates
    codes = assign(rows, codebooks, parts)
    assert codes.shape == (size, parts)
    assert codes.max(initial=0) < 200  # ties go to the first duplicate
    for part, (start, stop) in enumerate(boundaries(dim, parts)):
        for row, code in zip(rows[:, start:stop].astype(np.float64), codes[:, part], strict=True):
            distances = ((row - codebooks[:, start:stop]) ** 2).sum(axis=1)
            assert distances[code] <= distances.min() + 1e-5
    assert boundaries(7, 3) == [(0, 2), (2, 4), (4, 7)]


def test_a_rotation_helps_columns_that_go_together() -> None:
    """Columns that mix a few latent factors, as in embeddings."""
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(4000, 4)) @ generator.normal(size=(4, 16)) + 0.01 * generator.normal(size=(4000, 16))
    table = embeddings_of(rows).compressed(bytes_per_word=5).table
    assert isinstance(table, StoredRows)
    kept = [cosine(a, b) for a, b in zip(rows, table[:], strict=True)]
    assert np.mean(kept) > 0.999  # four parts without a rotation reach 0.99
    assert_allclose(table.rotation @ table.rotation.T, np.eye(16), atol=1e-5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS)
def test_folders_come_back_bit_for_bit(random: Embeddings, tmp_path: Path, form: dict) -> None:
    random.save(tmp_path / "a", **form)
    loaded = Embeddings.load(tmp_path / "a")
    assert isinstance(loaded.table, StoredRows)
    assert_array_equal(loaded.vectors, random.compressed(**form).vectors)
    loaded.save(tmp_path / "b")
    loaded.compressed(**form).save(tmp_path / "c")
    loaded.indexed().save(tmp_path / "d")
    for name in ("b", "c", "d"):
        for file in ("vectors.safetensors", "config.json", "vocabulary.tsv"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "a" / file).read_bytes()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["format"] == "vastmax embeddings 2"
    loaded.save(tmp_path / "e", dtype="float32")
    whole = Embeddings.load(tmp_path / "e")
    assert_array_equal(whole.vectors, loaded.vectors)
    whole.vectors[0] = 1  # writeable
    assert json.loads((tmp_path / "e" / "config.json").read_text())["format"] == "vastmax embeddings 1"
    random.indexed().save(tmp_path / "f")
    random.save(tmp_path / "g")
    assert (tmp_path / "f/vectors.safetensors").read_bytes() == (tmp_path / "g/vectors.safetensors").read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_questions_are_answered_of_the_decoded_vectors(random: Embeddings, tmp_path: Path, form: dict) -> None:
    small = random.compressed(**form)
    plain = Embeddings(small.vectors.copy(), small.vocabulary)
    small = random.compressed(**form)
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("".join(f"word{i} word{i + 7} {i}\n" for i in range(40)))
    for ask in (
        lambda e: [each for each in e["word5"]],
        lambda e: e[["word5", "word9"]].ravel().tolist(),
        lambda e: [score for _, score in e.nearest("word17", 5)],
        lambda e: [score for _, score in e.analogy("word1", "word2", "word3", 5)],
        lambda e: [e.similarity("word1", "word2"), e.rank("word1", "word2"), evaluate_similarity(e, pairs).spearman],
        lambda e: e.cosines([1, 2], slice(3, 9)).ravel().tolist(),
    ):
        assert_allclose(ask(small), ask(plain), rtol=1e-5, atol=1e-6)
    export(small, tmp_path / "vectors.bin")
    assert_array_equal(import_vectors(tmp_path / "vectors.bin").vectors, plain.vectors)
    assert "decoded" not in vars(small.table)  # none of it decodes all rows at once
    with pytest.raises(ValueError, match="read-only"):
        small.vectors[0] = 1


def damaged(folder: Path, change: dict) -> None:
    tensors = dict(load_file(folder / "vectors.safetensors"))
    for name, value in change.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, folder / "vectors.safetensors")


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ({"dtype": "int8"}, {"vector_scales": None}),
        ({"dtype": "int8"}, {"vector_scales": np.ones(1999, np.float32)}),
        ({"dtype": "int8"}, {"vector_scales": np.full(2000, np.nan, np.float32)}),
        ({"dtype": "int8"}, {"vector_scales": np.full(2000, -1, np.float32)}),
        ({"dtype": "int8"}, {"vector_codes": np.ones((2000, 20), np.int16)}),
        ({"dtype": "int8"}, {"vector_codes": np.ones((2000, 0), np.int8)}),
        ({"dtype": "int8"}, {"vector_codes": np.ones((1, 20), np.int8), "vector_scales": np.ones(1, np.float32)}),
        ({"dtype": "float16"}, {"vectors": np.ones(2000, np.float16)}),
        ({"dtype": "float16"}, {"vectors": np.ones((2000, 20), np.int32)}),
        ({"bytes_per_word": 9}, {"codebooks": None}),
        ({"bytes_per_word": 9}, {"codebooks": np.ones((255, 20), np.float32)}),
        ({"bytes_per_word": 9}, {"codebooks": np.full((256, 20), np.inf, np.float32)}),
        ({"bytes_per_word": 9}, {"rotation": np.eye(19, dtype=np.float32)}),
        ({"bytes_per_word": 9}, {"vector_codes": np.ones((2000, 21), np.uint8)}),
        ({"bytes_per_word": 9}, {"vector_lengths": np.ones(2000, np.uint16)}),
        ({"bytes_per_word": 9}, {"length_range": np.ones(3, np.float32)}),
    ],
)
def test_damaged_folders_are_told(random: Embeddings, tmp_path: Path, form: dict, change: dict) -> None:
    random.save(tmp_path, **form)
    damaged(tmp_path, change)
    with pytest.raises(FormatError, match=str(tmp_path)):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_truncated_folders_are_told(random: Embeddings, tmp_path: Path, form: dict) -> None:
    random.save(tmp_path, **form)
    content = (tmp_path / "vectors.safetensors").read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 1):
        (tmp_path / "vectors.safetensors").write_bytes(content[:size])
        with pytest.raises(FormatError, match="not a safetensors file"):
            Embeddings.load(tmp_path)
