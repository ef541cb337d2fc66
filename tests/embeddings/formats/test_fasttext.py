"""fastText models exchanged with fastText, gensim and floret, in both directions.

``peers`` holds models written by those programs and the vectors they return.
"""

import gzip
import os
import random
import struct
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.embeddings.formats.distance import distance
from vastmax import embeddings as package
from vastmax.embeddings import (
    Embeddings,
    export,
    import_vectors,
    read_fasttext,
    write_fasttext,
)
from vastmax.embeddings.formats import fasttext as fasttext_format
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import FormatError, InputError, UnknownWordError, VastmaxError
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

PEERS = Path(__file__).parent / "peers"
MODELS = sorted(path.name for path in [*PEERS.glob("*.bin"), *PEERS.glob("*.ftz")])
WITHOUT_NGRAMS = {"words.bin", "word_ngrams.bin"}
WITHOUT_OUTPUTS = {name for name in MODELS if name.endswith(".ftz")} | {
    "hierarchical.bin",
    "supervised.bin",
    "word_ngrams.bin",
}
WORDS = ["the", "naïve", "한국어", "🙂", "</s>", "new york", "a", "-0.5", "\u2028", "teapot"]
UNSEEN = ["teapots", "tea pot", "naïf", "한국", "xyzzy", "🙂🙂"]


def some(rule: Subwords | None, *, all_held: bool = False, dim: int = 7) -> Embeddings:
    """Unusual words: random vectors, or under floret's rule the means of their n-grams; no n-grams without a rule."""
    chance = np.random.default_rng(3)
    vectors = chance.normal(size=(len(WORDS), dim)).astype(np.float32)
    subwords = None
    if rule is not None:
        held = np.arange(rule.buckets) if all_held else chance.permutation(rule.buckets)[: rule.buckets // 2]
        subwords = SubwordVectors(rule, chance.normal(size=(len(held), dim)).astype(np.float32), held)
        if rule.floret:
            vectors = subwords.vectors_of(WORDS)
            vectors[WORDS.index("</s>")] = 0
    vocabulary = Vocabulary(WORDS, np.arange(len(WORDS), 0, -1) * 5)
    config = {"options": {"model": "cbow", "window": 3, "epochs": 2, "negatives": 4, "subsample": 0.01}}
    return Embeddings(vectors, vocabulary, chance.normal(size=vectors.shape), config, subwords=subwords)


RULES = {
    "words": None,
    "fasttext": Subwords(2, 4, 90),
    "one length": Subwords(1, 1, 30),
    "hashed": Subwords(3, 5, 60, hashes=1, floret=True),
    "hashed twice": Subwords(2, 4, 60, hashes=2, floret=True),
}


# --- reading files of other programs ---


@pytest.mark.parametrize("name", MODELS)
def test_models_of_other_programs(name: str) -> None:
    expected = np.load(PEERS / "expected.npz")
    found = import_vectors(PEERS / name)
    assert found.vocabulary.words == expected[f"{name} words"].tolist()
    assert distance(found.vectors, expected[f"{name} vectors"]) < 1e-6
    unseen = expected["asked"].tolist()
    if name in WITHOUT_NGRAMS:
        assert found.subwords is None
        with pytest.raises(UnknownWordError):
            _ = found[unseen[0]]
    else:
        assert distance(found[unseen], expected[f"{name} unseen"]) < 1e-6
    assert (found.output_vectors is None) == (name in WITHOUT_OUTPUTS)
    assert found.config["options"]["dim"] == 6


def test_what_a_model_was_trained_with_is_kept() -> None:
    assert read_fasttext(PEERS / "cbow.bin").config["options"] == {
        "model": "cbow",
        "objective": "negative-sampling",
        "dim": 6,
        "window": 5,
        "negatives": 5,
        "epochs": 3,
        "min_count": 1,
        "subsample": 1e-4,
        "subwords": "2-4",
        "buckets": 60,
    }
    assert read_fasttext(PEERS / "hierarchical.bin").config["options"]["objective"] == "hierarchical"
    assert read_fasttext(PEERS / "supervised.bin").config["options"]["model"] == "supervised"
    assert read_fasttext(PEERS / "floret.bin").config["options"]["hashes"] == 2


def test_the_folder_of_a_pruned_model_answers_as_the_model_does(tmp_path: Path) -> None:
    found = read_fasttext(PEERS / "pruned.ftz")
    assert found.subwords is not None and found.subwords.pruned
    found.save(tmp_path)
    assert_array_equal(Embeddings.load(tmp_path)[UNSEEN], found[UNSEEN])
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace('"pruned": true', '"pruned": 2')
    )
    with pytest.raises(FormatError, match="pruned is 2"):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize("name", ["skipgram.bin", "floret.bin", "pruned.ftz", "quantized_all.ftz"])
def test_packed_files_and_pipes(tmp_path: Path, name: str) -> None:
    plain = read_fasttext(PEERS / name)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress((PEERS / name).read_bytes()))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=((PEERS / name).read_bytes(),))
    writer.start()
    for other in (import_vectors(packed), read_fasttext(pipe), import_vectors(packed, limit=99)):
        assert_array_equal(other.vectors, plain.vectors)
        assert_array_equal(other[UNSEEN], plain[UNSEEN])
    writer.join()
    assert_array_equal(import_vectors(packed, limit=4).vectors, plain.vectors[:4])


@pytest.mark.parametrize("name", MODELS)
def test_limit(name: str) -> None:
    every, first = import_vectors(PEERS / name), import_vectors(PEERS / name, limit=5)
    assert_array_equal(first.vectors, every.vectors[:5])
    assert first.vocabulary == Vocabulary((every.vocabulary.words or [])[:5], every.vocabulary.counts[:5])
    assert first.output_vectors is None
    if every.subwords is not None:
        assert_array_equal(first[UNSEEN], every[UNSEEN])
        beyond = (every.vocabulary.words or [])[7]
        assert_array_equal(first[beyond], every.subwords.vectors_of([beyond])[0])  # the limit dropped its own row


def test_a_folder_keeps_its_ngrams_under_a_limit(tmp_path: Path) -> None:
    model = some(RULES["fasttext"])
    model.save(tmp_path)
    assert_array_equal(import_vectors(tmp_path, limit=3)[UNSEEN], model[UNSEEN])


# --- writing ---


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("floret", [False, True])
def test_round_trip(tmp_path: Path, rule: Subwords | None, floret: bool) -> None:
    model, path = some(rule), tmp_path / "m.bin"
    if rule is not None and rule.floret and not floret:
        with pytest.raises(InputError, match=r"the words are hashed, which .* does not support: write floret's"):
            write_fasttext(model, path)
        assert not path.exists()
        return
    write_fasttext(model, path, floret=floret)
    found = import_vectors(path)
    assert found.vocabulary == model.vocabulary
    assert distance(found.vectors, model.vectors) < 1e-6
    assert_array_equal(found.output_vectors, model.output_vectors)
    assert found.config["options"].items() >= model.config["options"].items()
    if model.subwords is None:
        assert_array_equal(found.vectors, model.vectors)
        assert found.subwords is None
    else:
        assert found.subwords is not None
        assert found.subwords.rule == rule
        assert distance(found[UNSEEN], model[UNSEEN]) < 1e-6
        for unseen, neighbours in zip(UNSEEN, model.nearest(UNSEEN, 4), strict=True):
            assert [each.word for each in found.nearest(unseen, 4)] == [each.word for each in neighbours]
    again = tmp_path / "again.bin"
    write_fasttext(found, again, floret=floret)
    assert again.stat().st_size == path.stat().st_size


def test_a_trained_model_makes_the_way_there_and_back(tmp_path: Path) -> None:
    text = [random.Random(place).choices(WORDS[:4] + UNSEEN[:2], k=9) for place in range(60)]
    trained = package.train(
        text, dim=9, min_count=1, epochs=1, threads=1, subwords="2-3", buckets=500, keep_output_vectors=True
    )
    export(trained, tmp_path / "m.bin", format="fasttext")
    found = import_vectors(tmp_path / "m.bin")
    assert found.vocabulary == trained.vocabulary
    assert distance(found.vectors, trained.vectors) < 1e-6
    assert distance(found[["teap", "한국말"]], trained[["teap", "한국말"]]) < 1e-6
    assert_array_equal(found.output_vectors, trained.output_vectors)
    kept = found.config["options"]
    assert {name: kept[name] for name in kept} == {name: trained.config["options"][name] for name in kept}


def test_what_is_unknown_is_written_as_fasttext_can_take_it(tmp_path: Path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    for vocabulary in (Vocabulary(["a", "b", "c", "d"], None), Vocabulary(None, [3, 2, 0, 0])):
        write_fasttext(Embeddings(vectors, vocabulary, vectors[:3], {"options": 3}), tmp_path / "m.bin")
        found = read_fasttext(tmp_path / "m.bin")
        assert found.vocabulary.words == (vocabulary.words or ["0", "1", "2", "3"])
        assert found.vocabulary.counts.tolist() == ([1, 1, 1, 1] if vocabulary.words else [3, 2, 1, 1])
        assert_array_equal(found.output_vectors, np.zeros((4, 4)))  # the three rows belong to inner nodes


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_floret_reads_what_is_written(tmp_path: Path, rule: Subwords | None) -> None:
    floret = pytest.importorskip("floret", reason="floret is not installed: pip install vastmax[dev]")
    model = some(rule)
    if rule is not None and rule.floret:
        model.vectors[0] = 3  # floret stores a separate row for the first word
    export(model, tmp_path / "m.bin", format="floret")
    _check_peer(floret.load_model(str(tmp_path / "m.bin")), model)


@pytest.mark.parametrize("rule", [RULES["words"], RULES["fasttext"], RULES["one length"]])
@pytest.mark.parametrize("all_held", [False, True])
def test_fasttext_reads_what_is_written(tmp_path: Path, rule: Subwords | None, all_held: bool) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext-wheel is not installed: pip install vastmax[dev]")
    model = some(rule, all_held=all_held)
    export(model, tmp_path / "m.bin", format="fasttext")
    _check_peer(fasttext.load_model(str(tmp_path / "m.bin")), model)


def _check_peer(loaded: object, model: Embeddings) -> None:
    words, counts = loaded.get_words(include_freq=True)  # type: ignore[attr-defined]
    assert words == WORDS
    assert counts.tolist() == model.vocabulary.counts.tolist()
    vector = loaded.get_word_vector  # type: ignore[attr-defined]
    assert distance([vector(word) for word in WORDS], model.vectors) < 1e-6
    assert_array_equal(loaded.get_output_matrix(), model.output_vectors)  # type: ignore[attr-defined]
    asked = "the"
    if model.subwords is not None:
        assert distance([vector(word) for word in UNSEEN], model[UNSEEN]) < 1e-6
        asked = UNSEEN[0]
    cosines, neighbours = zip(*loaded.get_nearest_neighbors(asked, k=4), strict=True)  # type: ignore[attr-defined]
    right = model.nearest(asked, 4)
    assert list(neighbours) == [each.word for each in right]
    assert_allclose(cosines, [each.score for each in right], atol=1e-6)


@pytest.mark.parametrize("rule", [RULES["words"], RULES["fasttext"], RULES["one length"]])
def test_gensim_reads_what_is_written(tmp_path: Path, rule: Subwords | None) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed: pip install vastmax[dev]")
    model, path = some(rule), str(tmp_path / "m.bin")
    export(model, path, format="fasttext")
    whole = gensim.load_facebook_model(path)
    assert_array_equal(whole.syn1neg, model.output_vectors)
    assert (whole.sg, whole.window, whole.epochs, whole.negative) == (0, 3, 2, 4)
    words = [word for word in WORDS if word != "</s>"]  # gensim gives it n-grams, fastText does not
    for found in (whole.wv, gensim.load_facebook_vectors(path)):
        assert found.index_to_key == WORDS
        assert distance(found[words], model[words]) < 1e-6
        if rule is not None:
            assert distance([found[word] for word in UNSEEN], model[UNSEEN]) < 1e-6
    many = [["the", "teapot", "naïve"]] * 20
    whole.train(many, total_examples=len(many), epochs=1)
    assert np.isfinite(whole.wv["teapots"] if rule else whole.wv["teapot"]).all()


def test_gensims_own_models_are_read(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed: pip install vastmax[dev]")
    text = [["tea", "teapot", "한국어", "new"], ["tea", "milk", "naïve"]] * 30
    trained = gensim.FastText(text, vector_size=6, min_count=1, min_n=2, max_n=4, bucket=70, workers=1)
    gensim.save_facebook_model(trained, str(tmp_path / "g.bin"))
    found = import_vectors(tmp_path / "g.bin")
    assert found.vocabulary.words == trained.wv.index_to_key
    assert distance(found.vectors, trained.wv[trained.wv.index_to_key]) < 1e-6
    assert distance(found[UNSEEN], [trained.wv[word] for word in UNSEEN]) < 1e-6
    assert_array_equal(found.output_vectors, trained.syn1neg)


@pytest.mark.parametrize("place", [0, 3])
def test_the_end_of_a_line_has_no_vector_where_words_are_hashed(tmp_path: Path, place: int) -> None:
    words = ["tea", "milk", "new"]
    words.insert(place, "</s>")
    subwords = SubwordVectors(Subwords(2, 3, 9, 2, floret=True), np.ones((9, 4), np.float32))
    model = Embeddings(subwords.vectors_of(words), Vocabulary(words, None), subwords=subwords)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        export(model, tmp_path / "m.bin", format="floret")
    found = import_vectors(tmp_path / "m.bin")
    assert [str(each.message) for each in told] == [
        "the vector of '</s>' becomes zeros, as floret stores no vector for the end-of-line word: "
        "export .vec to keep it."
    ] * (place > 0)
    model.vectors[3] *= place == 0
    assert_allclose(found.vectors, model.vectors, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(found, tmp_path / "m.bin", format="floret")


def test_what_the_format_has_no_place_for(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"old")
    model, vectors = some(RULES["fasttext"]), np.ones((2, 3), np.float32)
    assert model.subwords is not None
    with pytest.raises(InputError, match=r"the word 'b\\x00' contains a NUL"):
        write_fasttext(Embeddings(vectors, Vocabulary(["a", "b\0"], None)), path)
    with pytest.raises(InputError, match=r"pruned, which fastText supports only in quantised files: export \.vec"):
        write_fasttext(read_fasttext(PEERS / "pruned.ftz"), path)
    far = some(RULES["hashed"])
    far.vectors[2] *= 1.1
    with pytest.raises(InputError, match=r"the vector of '한국어' is not the mean of its n-grams"):
        write_fasttext(far, path, floret=True)
    model.vectors[1] = 3e38
    with pytest.raises(InputError, match="too large"):
        write_fasttext(model, path)
    model = some(RULES["fasttext"])
    assert model.subwords is not None
    model.subwords.vectors[3, 1] = np.nan
    with pytest.raises(InputError, match="a vector of n-grams contains NaN"):
        write_fasttext(model, path)
    for name, format, sentence in (
        ("m.bin", "fastText", "format of a file that ends in .bin is 'fastText': give 'word2vec' or 'fasttext'"),
        ("m.vec", "fasttext", "format of a file that ends in .vec is 'fasttext': give 'word2vec'"),
        ("m.ftz", None, "end its name in"),
    ):
        with pytest.raises(InputError, match=sentence):
            export(some(None), tmp_path / name, format=format)
    assert [each.name for each in tmp_path.iterdir()] == ["m.bin"]
    assert path.read_bytes() == b"old"


# --- damaged files ---


def _model_bytes(tmp_path: Path, rule: Subwords | None = RULES["fasttext"], floret: bool = False) -> bytes:
    write_fasttext(some(rule, dim=3), tmp_path / "good.bin", floret=floret)
    return (tmp_path / "good.bin").read_bytes()


def _read(path: Path, content: bytes) -> Embeddings:
    path.write_bytes(content)
    return read_fasttext(path)


@pytest.mark.parametrize("name", [None, "supervised.bin", "pruned.ftz", "floret.bin"])
def test_a_file_that_is_cut_is_told(tmp_path: Path, name: str | None) -> None:
    good = _model_bytes(tmp_path) if name is None else (PEERS / name).read_bytes()
    for size in range(4, len(good), 7 if len(good) < 4000 else 41):
        with pytest.raises(FormatError, match=r"x\.bin is truncated") as caught:
            _read(tmp_path / "x.bin", good[:size])
        assert str(caught.value).count(". ") == 0
        if size % 5 == 0:
            packed = tmp_path / "y.bin"
            with pytest.raises(FormatError, match=r"y\.bin is truncated at byte [\d,]+, in its "):
                _read(packed, gzip.compress(good[:size], 1))
    with pytest.raises(FormatError, match=f"continues at byte {len(good):,}"):
        _read(tmp_path / "x.bin", good + b"\0")


HOSTILE = [-(2**31), -1, 0, 1, 2, 7, 255, 2**16, 2**20 + 1, 2**31 - 1]


@pytest.mark.parametrize("name", [None, "floret.bin", "pruned.ftz", "quantized.ftz"])
def test_hostile_numbers_end_in_a_sentence_or_a_model(tmp_path: Path, name: str | None) -> None:
    """Overwrite each number in the header and random, aligned or unaligned, places after it."""
    good = _model_bytes(tmp_path) if name is None else (PEERS / name).read_bytes()
    chance = random.Random(1)
    places = [*range(0, 100, 4), *(chance.randrange(100, len(good) - 8) for _ in range(50))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in places:
            for value in chance.sample(HOSTILE, 6 if place < 100 else 2):
                size = chance.choice([4, 4, 8])
                content = good[:place] + value.to_bytes(size, "little", signed=True) + good[place + size :]
                for packed in (content, gzip.compress(content, 1))[: chance.choice([1, 2])]:
                    try:
                        _read(tmp_path / "x.bin", packed)[["the", "teapot"]]
                    except VastmaxError as error:
                        assert len(str(error)) < 400


def _changed(good: bytes, place: int, layout: str, *values: float) -> bytes:
    return good[:place] + struct.pack(layout, *values) + good[place + struct.calcsize(layout) :]


def test_damage_is_named(tmp_path: Path) -> None:
    path, good = tmp_path / "x.bin", _model_bytes(tmp_path)
    dictionary = 8 + struct.calcsize("<12id")
    entry = dictionary + struct.calcsize("<3i2q")
    first = entry + len(b"the\0")
    matrix = 1 + good.index(struct.pack("<?2q", False, len(WORDS) + 90, 3))
    for content, sentence in (
        (b"\0" * 40, "is not a fastText model"),
        (_changed(good, 4, "<i", 13), "has version 13 of fastText's format: give a file of version 11 or 12"),
        (_changed(good, 8, "<i", 0), "is damaged, its dim is 0"),
        (_changed(good, 8 + 4 * 7, "<i", 9), "is damaged, its model is 9"),
        (_changed(good, 8 + 4 * 8, "<i", -5), "is damaged, its buckets is -5"),
        (_changed(good, 8 + 4 * 10, "<i", 101), "is damaged, its longest is 101"),
        (_changed(good, dictionary - 8, "<d", -np.inf), "is damaged, its subsample is -inf"),
        (_changed(good, dictionary - 8, "<d", np.nan), "is damaged, its subsample is nan"),
        (_changed(good, dictionary, "<3i", 0, 0, 0), "contains no words"),
        (_changed(good, dictionary, "<3i", 10, 11, -1), "numbers of entries, words and labels do not match"),
        (_changed(good, dictionary, "<3i", 10**9, 10**9, 0), "is truncated, its words would take 10,000,000,000 bytes"),
        (_changed(good, dictionary + 20, "<q", 2**40), "is truncated, its words would take"),
        (_changed(good, first, "<q", -1), "is damaged (counts[0] is -1"),
        (_changed(good, first + 8, "<b", 1), "entry 1 has kind 1 (words have 0, labels 1)"),
        (
            _changed(good, matrix, "<2q", 2**40, 3),
            "its input matrix has 1099511627776 rows of 3 numbers",
        ),
        (_changed(good, matrix, "<2q", 100, 4), "rows of 4 numbers in place of 100 of 3"),
        (_changed(good, matrix + 16 + 12, "<f", np.nan), "row 2 of the input matrix of"),
        (good[:entry] + b"x" * 70_000 + good[entry:], "has a word of 65536 bytes or more at byte"),
    ):
        with pytest.raises(FormatError, match=r"x\.bin") as caught:
            _read(path, content)
        assert sentence in str(caught.value)


def test_a_list_of_ngrams_that_does_not_fit(tmp_path: Path) -> None:
    good = (PEERS / "pruned.ftz").read_bytes()
    pairs = good.index(b"\0", good.rindex(b"__label__")) + 10  # after the last entry
    for place, value in ((0, -1), (0, 300), (4, 1), (12, 0)):
        with pytest.raises(FormatError, match="its list of n-grams does not name each row once"):
            _read(tmp_path / "x.bin", _changed(good, pairs + place, "<i", value))


@pytest.mark.parametrize("codes", [0, 4])
def test_quantised_rows_of_no_labels(tmp_path: Path, codes: int) -> None:
    good = (PEERS / "quantized_all.ftz").read_bytes()
    header, labels = 8 + struct.calcsize("<12id"), good.index(b"__label__")
    matrices, outputs = good.index(struct.pack("<2q", 21 + 300, 6)) - 2, good.index(struct.pack("<2q", 260, 6))
    (size,) = struct.unpack_from("<i", good, outputs + 16)
    without = _changed(good[:labels], header, "<3i", 21, 21, 0) + good[matrices:outputs]
    without += struct.pack("<2qi", 0, 6, codes) + bytes(codes) + good[outputs + 20 + size :]
    with pytest.raises(FormatError, match=f"is damaged, its output matrix has {codes} codes for 0 rows"):
        _read(tmp_path / "x.ftz", without)


def test_words_that_are_not_text_are_left_out_and_repeated_ones_kept_once(tmp_path: Path) -> None:
    model, path = some(RULES["fasttext"], dim=3), tmp_path / "x.bin"
    good = _model_bytes(tmp_path)
    rest = [word for word in WORDS if word not in ("the", "-0.5")]
    broken = good.replace(b"the\0", b"th\xff\0").replace(b"-0.5\0", b"\xffbad\0")
    told = r"word 1 \(b'th\\xff'\) of .*x\.bin is not UTF-8, nor are 1 others, and was left out: "
    with pytest.warns(UserWarning, match=told):
        found = _read(path, broken)
    assert found.vocabulary.words == rest
    assert found.vocabulary.counts.tolist() == [model.vocabulary.counts[model.id_of(word)] for word in rest]
    assert distance(found.vectors, model[rest]) < 1e-6
    assert_array_equal(found.output_vectors, np.asarray(model.output_vectors)[[model.id_of(word) for word in rest]])
    with pytest.warns(UserWarning, match="repeats 1 word, and only the first of each was kept"):
        twice = _read(path, good.replace(b"teapot\0", b"na\xc3\xafve\0"))
    assert twice.vocabulary.words == WORDS[:-1]
    with pytest.raises(FormatError, match="is not UTF-8, nor are most of its words"):
        _read(path, good.translate(bytes.maketrans(b"hntakpw-", b"\xff" * 8)))


def test_the_version_before_has_no_ngrams_in_supervised_models(tmp_path: Path) -> None:
    good = (PEERS / "supervised.bin").read_bytes()
    found = _read(tmp_path / "x.bin", _changed(good, 4, "<i", 11))
    assert found.subwords is None
    rows = np.frombuffer(good, "<f4", 6 * len(found), good.index(struct.pack("<?2q", False, len(found) + 60, 6)) + 17)
    assert_array_equal(found.vectors, rows.reshape(-1, 6))


# --- memory ---


def _large(tmp_path: Path) -> tuple[Path, int]:
    words, dim, buckets = 40_000, 200, 30_000
    table = np.ones((words, dim), np.float32)
    subwords = SubwordVectors(Subwords(3, 3, buckets), table[:buckets])
    names = Vocabulary([f"w{row}" for row in range(words)], None)
    export(Embeddings(table, names, table, subwords=subwords), tmp_path / "m.bin", format="fasttext")
    return tmp_path / "m.bin", 4 * dim


def test_memory_is_that_of_one_copy_and_asked_for_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, row = _large(tmp_path)
    spared = 30 << 20  # allowance for words and blocks of rows
    for limit, rows in ((None, 40_000 + 30_000 + 40_000), (1000, 1000 + 30_000)):
        tracemalloc.start()
        found = read_fasttext(path, limit=limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) == limit or limit is None
        assert row * rows <= peak < row * rows + spared
        monkeypatch.setattr(fasttext_format, "available_memory", lambda rows=rows: row * rows - 1)
        with pytest.raises(
            InputError, match=r"m\.bin needs 0\.\d GB of memory, and 0\.\d GB are free: read fewer words"
        ):
            read_fasttext(path, limit=limit)
        monkeypatch.setattr(fasttext_format, "available_memory", lambda: None)


def test_memory_while_writing_is_that_of_blocks(tmp_path: Path) -> None:
    path, row = _large(tmp_path)
    model = read_fasttext(path)
    tracemalloc.start()
    write_fasttext(model, path)
    write = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert write < row * 110_000 / 2
    del model
