from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import data_path
from tests.text.oracle import decoded
from vastmax.errors import FormatError, InputError
from vastmax.text import Phrase, PhraseOptions, Phrases, encode_corpus, learn_phrases

LEARNING = {"lowercase", "threads"}
CONNECTORS = ("of", "the", "a", "and", "in")


def learn(sources: Any, **options: Any) -> Phrases:
    reading = {name: options.pop(name) for name in LEARNING & set(options)}
    return learn_phrases(sources, PhraseOptions(**options), **reading)


def brown(sentences: int) -> list[list[str]]:
    with data_path("brown/brown.txt").open(encoding="utf-8") as file:
        return [line.split() for line, _ in zip(file, range(sentences), strict=False)]


@pytest.mark.parametrize("connectors", [(), CONNECTORS])
@pytest.mark.parametrize("scoring", ["word2vec", "npmi"])
def test_gensim_finds_and_joins_the_same(scoring: str, connectors: tuple[str, ...]) -> None:
    gensim = pytest.importorskip("gensim.models.phrases")
    sentences = brown(12_000)
    word2vec = scoring == "word2vec"
    theirs = gensim.Phrases(
        sentences,
        min_count=4,
        threshold=8.0 if word2vec else 0.4,
        scoring="default" if word2vec else "npmi",
        connector_words=frozenset(connectors),
    )
    # gensim multiplies by the number of distinct words and pairs, the published code by the number of words.
    ratio = sum(map(len, sentences)) / len(theirs.vocab) if word2vec else 1.0
    ours = learn(
        sentences,
        passes=1,
        min_count=4,
        threshold=theirs.threshold * ratio,
        scoring=scoring,  # type: ignore[arg-type]
        connector_words=connectors,
        threads=2,
    )
    expected = theirs.export_phrases()
    assert len(expected) > 200
    assert {name: score / ratio for name, score in ours.scores.items()} == pytest.approx(expected, rel=1e-12)
    assert list(ours.apply(sentences)) == [theirs[sentence] for sentence in sentences]


def pairs_of(sentences: list[list[str]], connectors: frozenset[str]) -> Counter[tuple[str, ...]]:
    """Count each non-connector word with the connectors after it and the next non-connector word."""
    counts: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        places = [place for place, word in enumerate(sentence) if word not in connectors]
        counts.update(tuple(sentence[a : b + 1]) for a, b in pairwise(places))
    return counts


small_words = st.sampled_from(["a", "b", "c", "of", "the", "b_c", "é"])
corpora = st.lists(st.lists(small_words, max_size=12), min_size=1, max_size=12)


@given(
    sentences=corpora,
    min_count=st.integers(1, 3),
    threshold=st.floats(0, 3),
    connectors=st.sets(st.sampled_from(["of", "the", "c", "absent"])),
    passes=st.integers(1, 3),
    threads=st.integers(1, 3),
)
def test_passes_follow_the_formula_and_both_ways_of_joining_agree(
    sentences: list[list[str]], min_count: int, threshold: float, connectors: set[str], passes: int, threads: int
) -> None:
    sentences = [*sentences, ["x", "y"]]
    learnt = learn(
        sentences,
        passes=passes,
        threshold=threshold,
        min_count=min_count,
        connector_words=connectors,
        threads=threads,
    )
    assert learnt.thresholds == [threshold / 2**number for number in range(passes)]
    text = sentences
    for phrases, limit in zip(learnt.passes, learnt.thresholds, strict=True):
        counts = Counter(word for sentence in text for word in sentence)
        total = sum(counts.values())
        expected = {
            pair: Phrase((count - min_count) / (counts[pair[0]] * counts[pair[-1]]) * total, count)
            for pair, count in pairs_of(text, frozenset(connectors)).items()
        }
        assert phrases == {pair: phrase for pair, phrase in expected.items() if phrase.score > limit}
        one = Phrases([phrases], thresholds=[limit], connector_words=connectors)
        text = list(one.apply(text))
    assert list(learnt.apply(sentences)) == text

    with encode_corpus(sentences, min_count=1, phrases=learnt, threads=threads) as corpus:
        assert decoded(corpus) == [sentence for sentence in text if sentence]
        assert corpus.vocabulary.total == corpus.num_words
        assert corpus.phrases == learnt
        fingerprint = corpus.fingerprint
    with encode_corpus(
        sentences,
        min_count=1,
        phrases=passes,
        phrase_threshold=threshold,
        phrase_min_count=min_count,
        connector_words=connectors,
    ) as corpus:
        assert corpus.fingerprint == fingerprint
        assert corpus.phrases == learnt


def test_real_text_over_several_passes(tmp_path: Path) -> None:
    path = data_path("brown/brown.txt")
    sentences = brown(100_000)
    with encode_corpus(path, phrases=3, connector_words=CONNECTORS, threads=2) as corpus:
        phrases = corpus.phrases
        assert phrases is not None
        joined = list(phrases.apply(sentences))
        with encode_corpus(joined) as again:
            assert again.fingerprint == corpus.fingerprint
    assert {"New_York", "United_States"} <= set(phrases.scores)
    assert any(name.count("_") >= 3 for name in phrases.scores)
    assert all(phrases.passes)
    phrases.save(tmp_path / "phrases.tsv")
    loaded = Phrases.load(tmp_path / "phrases.tsv")
    assert loaded == phrases
    assert list(loaded.apply(sentences[:2000])) == joined[:2000]


def test_phrases_are_joined_before_rare_words_are_dropped() -> None:
    sentences = [["new", "york"]] * 4 + [["new"], ["york"]] * 3 + [["other", "words"]] * 9
    phrases = Phrases([{("new", "york"): Phrase(9.0, 4)}], thresholds=[1.0])
    with encode_corpus(sentences, min_count=4, phrases=phrases) as corpus:
        assert corpus.vocabulary.words == ["other", "words", "new_york"]
        assert corpus.num_raw_words == sum(map(len, sentences))


def test_phrase_spelt_like_a_word_of_the_text_is_that_word() -> None:
    sentences = [["new", "york"], ["new_york"], ["other"]]
    phrases = Phrases([{("new", "york"): Phrase(9.0, 4)}], thresholds=[1.0])
    with encode_corpus(sentences, min_count=1, phrases=phrases) as corpus:
        assert corpus.vocabulary.counts.tolist() == [2, 1]


def test_lower_case_comes_first() -> None:
    sentences = [["New", "York"], ["NEW", "York"], ["new", "york"], ["is", "big"]]
    with encode_corpus(
        sentences, lowercase=True, min_count=1, phrases=1, phrase_threshold=0.8, phrase_min_count=2
    ) as c:
        assert c.vocabulary.words == ["new_york", "big", "is"]
    phrases = learn(sentences, lowercase=True, passes=1, threshold=0.8, min_count=2)
    assert phrases.passes == [{("new", "york"): Phrase(8 / 9, 3)}]


def test_scores_of_npmi_lie_between_minus_one_and_one() -> None:
    sentences = [["always", "together"]] * 5 + [["a", "b"], ["b", "a"], ["a", "a"], ["b", "b"]] * 5
    scores = learn(sentences, passes=1, scoring="npmi", threshold=-1.0, min_count=1).scores
    assert scores["always_together"] == pytest.approx(1)
    assert all(-1 < score <= 1 + 1e-12 for score in scores.values())
    assert not learn([["a", "b"]], scoring="npmi", min_count=1, threshold=0.99, passes=1).scores.get("b_a")


def test_apply_is_a_stream() -> None:
    def forever():  # type: ignore[no-untyped-def]
        while True:
            yield ["in", "new", "york", "", "new"]

    phrases = Phrases([{("new", "york"): Phrase(9.0, 4)}], thresholds=[1.0])
    assert next(phrases.apply(forever())) == ["in", "new_york", "new"]
    with pytest.raises(InputError, match="sentence 1 of the corpus is 'new york': give a list of words"):
        next(phrases.apply(["new york"]))
    for path in ("text.txt", Path("text.txt")):
        with pytest.raises(InputError, match="give lists of words, for example read_sentences"):
            next(phrases.apply(path))  # type: ignore[arg-type]


def test_other_delimiter() -> None:
    phrases = learn([["new", "york"]] * 9 + [["x", "y"]], passes=1, threshold=1.0, min_count=1, delimiter="::")
    assert phrases.scores.keys() == {"new::york"}


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e\x1f"), min_size=1, max_size=8)


@given(
    passes=st.lists(
        st.dictionaries(
            st.lists(names, min_size=2, max_size=4).map(tuple),
            st.builds(Phrase, score=st.floats(allow_nan=False), count=st.integers(0, 2**62)),
            max_size=5,
        ),
        max_size=3,
    ),
    connectors=st.frozensets(names, max_size=3),
    delimiter=names,
    scoring=st.sampled_from(["word2vec", "npmi"]),
)
def test_file_brings_back_every_phrase(
    tmp_path_factory: pytest.TempPathFactory, passes: list, connectors: frozenset[str], delimiter: str, scoring: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "phrases.tsv"
    phrases = Phrases(
        passes,
        thresholds=[100 / 3**number for number in range(len(passes))],
        scoring=scoring,  # type: ignore[arg-type]
        min_count=7,
        connector_words=connectors,
        delimiter=delimiter,
    )
    phrases.save(path)
    assert Phrases.load(path) == phrases


HEAD = "#vastmax phrases 1\n#scoring\tword2vec\n#min_count\t5\n#delimiter\t_\n#threshold\t100.0\n"


def test_file_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "phrases.tsv"
    phrases = Phrases([{("state", "of", "art"): Phrase(120.5, 7)}], thresholds=[100.0], connector_words=["of"])
    phrases.save(path)
    assert path.read_text() == HEAD + "#connector\tof\n1\t120.5\t7\tstate\tof\tart\n"
    assert repr(phrases) == "<Phrases: 1 in 1 pass>"
    assert len(phrases) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "does not begin with the line"),
        ("word\t5\n", "does not begin with the line"),
        (HEAD + "1\t5.0\t3\tonly\n", "line 6 .* two or more words"),
        (HEAD + "2\t5.0\t3\ta\tb\n", "line 6 .*pass 2 has no threshold"),
        (HEAD + "1\thigh\t3\ta\tb\n", "line 6 .*could not convert"),
        (HEAD + "1\tnan\t3\ta\tb\n", "line 6"),
        (HEAD + "1\t5.0\t3\ta\t\n", "line 6 .* not empty"),
        (HEAD + "1\t5.0\t3\ta\t\\q\n", "line 6 .* unknown escape"),
        (HEAD + "#colour\tred\n", "line 6 .*entry '#colour' is unknown"),
        (HEAD + "#scoring\tnpmi\n", "2 lines '#scoring' instead of one"),
        (HEAD.replace("word2vec", "other"), "scoring 'other' is unknown"),
        (HEAD.replace("#min_count\t5\n", ""), "0 lines '#min_count'"),
        (HEAD + "1\t5.0\t3\ta\t\udcff\n", "utf-8"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "phrases.tsv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=complaint) as caught:
        Phrases.load(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        Phrases.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"cannot be written .No such file"):
        Phrases([], thresholds=[]).save(tmp_path / "none" / "p")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"passes": 0}, "passes of phrases is 0: give a whole number of 1 or more"),
        ({"threshold": -1.0}, "threshold of phrases is -1.0: give a number of 0 or more"),
        ({"threshold": 2.0, "scoring": "npmi"}, "threshold of phrases is 2.0: give a number from -1 to 1"),
        ({"threshold": float("nan")}, "threshold of phrases is nan"),
        ({"scoring": "other"}, "scoring of phrases is 'other': give 'word2vec' or 'npmi'"),
        ({"min_count": 0}, "min_count of phrases is 0"),
        ({"connector_words": "of"}, "connector_words is 'of': give a list of words"),
        ({"delimiter": ""}, "delimiter of phrases is ''"),
        ({"connector_words": ["\x1f"]}, "control character"),
    ],
)
def test_options_that_cannot_be_used(options: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        learn([["a", "b"]], **options)


def test_invalid_utf8_is_said(tmp_path: Path) -> None:
    path = tmp_path / "latin1"
    path.write_bytes("café noir\n".encode("latin-1") * 9)
    with pytest.warns(UserWarning, match="9 invalid UTF-8 sequences"):
        learn(path)


def test_phrases_of_a_file_in_encode_corpus(tmp_path: Path) -> None:
    phrases = Phrases([{("new", "york"): Phrase(9.0, 4)}], thresholds=[1.0])
    phrases.save(tmp_path / "phrases.tsv")
    with encode_corpus([["new", "york", "is"]], min_count=1, phrases=tmp_path / "phrases.tsv") as corpus:
        assert corpus.phrases == phrases
        assert corpus.vocabulary.words == ["is", "new_york"]


def test_number_of_passes_in_encode_corpus() -> None:
    for wrong in (-1, 1.5):
        with pytest.raises(InputError, match=f"passes of phrases is {wrong!r}"):
            encode_corpus([["a", "b"]], phrases=wrong)  # type: ignore[arg-type]
    with encode_corpus([["a", "b"]], min_count=1) as corpus:
        assert corpus.phrases is None
