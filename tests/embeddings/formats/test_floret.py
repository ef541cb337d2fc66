"""floret's n-gram table as text; ``peers`` holds one written by floret and the vectors floret returns."""

import gzip
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.embeddings.formats.distance import distance
from vastmax.embeddings import Embeddings, export, import_vectors, read_floret, train, write_floret
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import FormatError, InputError, VastmaxError
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

PEERS = Path(__file__).parent / "peers"
WORDS = ["tea", "naïve", "한국어", "new york", "a", "</s>"]
UNSEEN = ["teapots", "tea pot", "xyzzy"]


def some(hashes: int = 2, held: int = 20) -> Embeddings:
    chance = np.random.default_rng(2)
    rule = Subwords(2, 4, 40, hashes, floret=True)
    table = (chance.normal(size=(held, 3)) * 10.0 ** chance.integers(-20, 20, (held, 3))).astype(np.float32)
    subwords = SubwordVectors(rule, table, chance.permutation(40)[:held])
    return Embeddings(subwords.vectors_of(WORDS), Vocabulary(WORDS, range(60, 0, -10)), subwords=subwords)


def test_what_floret_wrote() -> None:
    expected = np.load(PEERS / "expected.npz")
    found = import_vectors(PEERS / "floret.floret")  # the words come from floret.vec
    words, asked = expected["floret.bin words"].tolist(), expected["asked"].tolist()
    assert found.vocabulary == Vocabulary(words, None)
    # the file has five digits per number, and lacks floret's separate rows for the first word and </s>
    plain = [row for row in range(1, len(words)) if words[row] != "</s>"]
    scale = np.linalg.norm(expected["floret.bin unseen"], axis=1).mean()
    assert_allclose(found.vectors[plain], expected["floret.bin vectors"][plain], atol=1e-4 * scale)
    assert_allclose(found[asked], expected["floret.bin unseen"], atol=1e-4 * scale)
    assert found.config["options"] == {"subwords": "2-4", "buckets": 40, "hashes": 2, "dim": 6}


def test_the_same_numbers_in_both_files_of_floret() -> None:
    rows = np.loadtxt(PEERS / "floret.floret", skiprows=1)
    found = read_floret(PEERS / "floret.floret")
    assert found.subwords is not None
    assert_array_equal(found.subwords.vectors, rows[:, 1:].astype(np.float32))
    binary = import_vectors(PEERS / "floret.bin")
    assert binary.subwords is not None
    assert found.subwords.rule == binary.subwords.rule
    assert_allclose(found.subwords.vectors, binary.subwords.vectors, rtol=1e-4)


@pytest.mark.parametrize("hashes", [1, 2, 4])
@pytest.mark.parametrize("held", [1, 20, 40])
def test_round_trip(tmp_path: Path, hashes: int, held: int) -> None:
    model = some(hashes, held)
    export(model, tmp_path / "m.floret")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.floret", "m.tsv"]
    found = import_vectors(tmp_path / "m.floret")
    assert found.vocabulary == model.vocabulary
    assert found.subwords is not None and model.subwords is not None
    assert_array_equal(found.subwords.vectors[model.subwords.held], model.subwords.vectors)
    assert distance(found.vectors, model.vectors) < 1e-6
    assert distance(found[UNSEEN], model[UNSEEN]) < 1e-6
    head, *lines = (tmp_path / "m.floret").read_text().splitlines()
    assert head == f"40 3 2 4 {hashes} 2166136261 < >"
    assert [line.split()[0] for line in lines] == [str(row) for row in range(40)]
    assert sum(line.split()[1:] == ["0"] * 3 for line in lines) == 40 - held


def test_a_trained_model(tmp_path: Path) -> None:
    text = [random.Random(place).choices(WORDS[:3] + UNSEEN[:1], k=9) for place in range(60)]
    trained = train(text, dim=9, min_count=1, epochs=1, threads=1, subwords="2-3", buckets=500, hashes=2)
    export(trained, tmp_path / "m.floret")
    found = import_vectors(tmp_path / "m.floret")
    assert distance(found.vectors, trained.vectors) < 1e-6
    assert [each.word for each in found.nearest("teap")] == [each.word for each in trained.nearest("teap")]


def test_words_are_given_or_lie_beside(tmp_path: Path) -> None:
    path = tmp_path / "m.floret"
    write_floret(some(), path)
    with pytest.raises(InputError, match=r"no words: put a vocabulary m\.tsv or floret's m\.vec beside it"):
        import_vectors(path)
    given = read_floret(path, Vocabulary(["xyzzy", "tea"], [2, 1]))
    assert distance(given.vectors, some()[["xyzzy", "tea"]]) < 1e-6
    (tmp_path / "m.vec").write_text("2 3\nteapots 1 2 3\ntea 4 5 6\n")
    assert distance(import_vectors(path).vectors, some()[["teapots", "tea"]]) < 1e-6
    assert import_vectors(path, limit=1).vocabulary.words == ["teapots"]
    Vocabulary(["a", "b", "c"], [3, 2, 1]).save(tmp_path / "m.tsv")  # has counts
    assert import_vectors(path, limit=2).vocabulary == Vocabulary(["a", "b"], [3, 2])
    packed = tmp_path / "m.floret.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert distance(import_vectors(packed).vectors, some()[["a", "b", "c"]]) < 1e-6


def test_what_is_not_hashed_is_refused(tmp_path: Path, small: Embeddings) -> None:
    spelt = SubwordVectors(Subwords(2, 3, 5), np.ones((5, 7), np.float32))
    for model in (small, Embeddings(small.vectors, small.vocabulary, subwords=spelt)):
        with pytest.raises(InputError, match=r"the words are not hashed, .*: train with hashes=2, or export \.vec"):
            export(model, tmp_path / "m.floret")
    far = some()
    far.vectors[2] *= 1.1
    with pytest.raises(InputError, match="the vector of '한국어' is not the mean of its n-grams"):
        export(far, tmp_path / "m.floret")
    assert not list(tmp_path.iterdir())


def test_what_the_text_lacks_is_left_out_with_a_warning(tmp_path: Path) -> None:
    model = import_vectors(PEERS / "floret.bin")
    with pytest.warns(UserWarning) as told:
        export(model, tmp_path / "m.floret")
    assert [str(each.message) for each in told] == [
        "the vector of 'the' is not the mean of its n-grams, and will be read as that mean, since floret adds the "
        "first word's own row: export .vec to keep it.",
        "the vector of '</s>' is not the mean of its n-grams, and will be read as that mean, since floret stores no "
        "vector for the end-of-line word: export .vec to keep it.",
    ]
    assert model.subwords is not None
    means = model.subwords.vectors_of(["the", "</s>"])
    assert_allclose(import_vectors(tmp_path / "m.floret")[["the", "</s>"]], means, rtol=1e-5, atol=1e-9)
    rest = [word for word in model.vocabulary.words or [] if word not in ("the", "</s>")]
    assert_allclose(import_vectors(tmp_path / "m.floret")[rest], model[rest], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("40 6", "40", "is not a floret file: give one whose line 1 is"),
        ("40 6", "40 -6", "is not a floret file: give one whose line 1 is"),
        ("40 6", "0 6", "is not valid (buckets is 0"),
        ("40 6", "40 0", "is not valid (dim is 0"),
        ("2 4 2", "2 4 9", "is not valid (hashes is 9"),
        ("2166136261 < >", "2166136262 < >", "is hashed in another way than floret's"),
        ("2166136261 < >", "2166136261 [ ]", "is hashed in another way than floret's"),
        ("40 6", "41 6", "has 40 rows, and line 1 promises 41"),
        ("40 6", "9999999999 6", "is not valid (buckets is 9999999999"),
        ("40 6", "2000000000 6", "has 40 rows, and line 1 promises 2000000000"),
        ("40 6", "39 6", "has 40 rows, and line 1 promises 39"),
        ("40 6", "40 5", "does not begin with 0, the number of its row"),
        ("40 6", "40 7", "line 2"),
        ("40 6", "40 99999999999", "vectors of 99999999999 numbers, more than"),
        ("\n7 ", "\n8 ", "does not begin with 7, the number of its row"),
        ("\n7 ", "\n7 nan ", "line 9"),
        ("\n7 ", "\nx ", "does not begin with 7, the number of its row"),
    ],
)
def test_damage_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    good = (PEERS / "floret.floret").read_text()
    shutil.copy(PEERS / "floret.vec", tmp_path / "x.vec")
    (tmp_path / "x.floret").write_text(good.replace(old, new, 1))
    with pytest.raises(FormatError, match=r"x\.floret .*: .*\.$") as caught:
        import_vectors(tmp_path / "x.floret")
    assert sentence in str(caught.value)


def test_a_file_that_is_cut_is_told(tmp_path: Path) -> None:
    good = (PEERS / "floret.floret").read_bytes()
    shutil.copy(PEERS / "floret.vec", tmp_path / "x.vec")
    last = good.rindex(b"\n", 0, -1)
    for size in range(0, last, 7):
        (tmp_path / "x.floret").write_bytes(good[:size])
        with pytest.raises(VastmaxError, match=r"x\.floret"):
            import_vectors(tmp_path / "x.floret")
