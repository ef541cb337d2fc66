"""Our Phrases compared with gensim's, where gensim's own tests do not."""

import inspect
import random
from pathlib import Path
from typing import Any

import pytest

from vastmax.errors import CorpusError, FormatError, InputError

theirs = pytest.importorskip("gensim.models.phrases")

from vastmax.integrations.gensim import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases  # noqa: E402


def text(seed: int, sentences: int = 300) -> list[list[str]]:
    """Return sentences over few words, so that many are frequent neighbours, with connectors between them."""
    generator = random.Random(seed)
    words = [f"w{number}" for number in range(40)] + ["of", "the", "and"] * 6
    return [generator.choices(words, k=generator.randrange(12)) for _ in range(sentences)]


def own_scorer(
    worda_count: int, wordb_count: int, bigram_count: int, len_vocab: int, min_count: int, corpus_word_count: int
) -> float:
    return bigram_count / (worda_count + wordb_count) + (len_vocab - min_count) / corpus_word_count


SETTINGS: list[dict[str, Any]] = [
    {"min_count": 2, "threshold": 0.4},
    {"min_count": 2, "threshold": 0.4, "connector_words": ENGLISH_CONNECTOR_WORDS},
    {"min_count": 1, "threshold": 0.2, "scoring": "npmi", "connector_words": ["of", "the"]},
    {"min_count": 1, "threshold": 0.35, "scoring": own_scorer, "delimiter": "+"},
]


def test_every_argument_is_gensims_with_its_default() -> None:
    ours, peers = (inspect.signature(kind).parameters for kind in (Phrases, theirs.Phrases))
    assert [(name, each.default) for name, each in ours.items()] == [
        (name, each.default) for name, each in peers.items()
    ]
    assert Phraser is FrozenPhrases and ENGLISH_CONNECTOR_WORDS is theirs.ENGLISH_CONNECTOR_WORDS


@pytest.mark.parametrize("settings", SETTINGS)
def test_counts_scores_and_joined_text_are_gensims(settings: dict[str, Any]) -> None:
    ours, peer = Phrases(text(1), **settings), theirs.Phrases(text(1), **settings)
    for more in (None, [*text(2), ["new", "words", "of", "the", "new", "words"]]):
        if more is not None:
            ours.add_vocab(more)
            peer.add_vocab(more)
        assert ours.vocab == peer.vocab
        assert str(ours) == str(peer)
        assert ours.export_phrases() == pytest.approx(peer.export_phrases())
        assert len(ours.export_phrases()) > 5
        assert list(ours[text(3)]) == list(peer[text(3)])
        assert ours.find_phrases(text(3)) == pytest.approx(peer.find_phrases(text(3)))
        assert list(ours.freeze()[text(3)]) == list(peer.freeze()[text(3)])


def test_options_may_change() -> None:
    phrases = Phrases(text(1), min_count=1, threshold=0.3)
    many = len(phrases.export_phrases())
    phrases.threshold = 1
    assert 0 < len(phrases.export_phrases()) < many
    assert phrases.export_phrases() == Phrases(text(1), min_count=1, threshold=1).export_phrases()


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_saved_is_read_and_counts_on(settings: dict[str, Any], tmp_path: Path) -> None:
    phrases = Phrases(text(1), **settings)
    scorer = {"scoring": own_scorer} if settings.get("scoring") is own_scorer else {}
    phrases.save(tmp_path / "phrases")
    again = Phrases.load(tmp_path / "phrases", **scorer)
    for each in (phrases, again):
        each.add_vocab(text(2))
    assert again.vocab == phrases.vocab
    assert again.export_phrases() == phrases.export_phrases()
    assert again.connector_words == phrases.connector_words
    frozen = phrases.freeze()
    frozen.save(tmp_path / "frozen")
    loaded = FrozenPhrases.load(tmp_path / "frozen", **scorer)
    assert loaded.phrasegrams == frozen.phrasegrams
    assert loaded.scoring is frozen.scoring
    assert list(loaded[text(3)]) == list(frozen[text(3)])


def test_an_own_scorer_is_given_again_and_no_file_holds_it(tmp_path: Path) -> None:
    Phrases(text(1), scoring=own_scorer).save(tmp_path / "phrases")
    assert b"own_scorer" not in (tmp_path / "phrases").read_bytes()
    with pytest.raises(InputError, match="a scoring function, which a file cannot contain: give it as scoring"):
        Phrases.load(tmp_path / "phrases")
    with pytest.raises(InputError, match="scoring is 3: give 'default', 'npmi' or a function"):
        Phrases.load(tmp_path / "phrases", scoring=3)


def test_files_of_another_kind_and_damaged_ones_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "phrases"
    Phrases(text(1)).save(path)
    with pytest.raises(FormatError, match=r"give FrozenPhrases\.load a file"):
        FrozenPhrases.load(path)
    whole = path.read_bytes()
    for end in (0, 20, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FormatError):
            Phrases.load(path)
    assert whole.count(b'"threshold": 10.0') == 1
    path.write_bytes(whole.replace(b'"threshold": 10.0', b'"threshold": -9.0'))
    for given in ({}, {"scoring": own_scorer}):
        with pytest.raises(FormatError, match=rf"{path} is damaged \(threshold "):
            Phrases.load(path, **given)
    theirs.Phrases(text(1)).save(str(path))
    with pytest.raises(FormatError, match="is a pickle"):
        Phrases.load(path)


def test_the_most_frequent_are_kept_and_counted_exactly() -> None:
    everything = Phrases(text(1)).vocab
    pruned = Phrases(text(1), max_vocab_size=60)
    assert 0 < len(pruned.vocab) <= 60
    least = min(pruned.vocab.values())
    assert pruned.vocab == {name: count for name, count in everything.items() if count >= least}
    assert pruned.min_reduce > 1


def test_a_phrase_never_comes_from_a_pair_that_is_not_in_the_text() -> None:
    sentences = [["human", "interface"], ["graph", "minors", "survey"], ["graph", "minors", "survey"]] * 2
    first = Phrases(sentences, min_count=1, threshold=0.1, delimiter=" ")
    joined = list(first[sentences])
    assert joined[0] == ["human interface"]
    second = Phrases(joined, min_count=1, threshold=0.1, delimiter=" ")
    assert set(second.export_phrases()) == {"graph minors survey"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"min_count": 0}, "min_count is 0: give 1 or more"),
        ({"threshold": 0}, "threshold is 0: give a number above 0"),
        ({"threshold": 2, "scoring": "npmi"}, "threshold is 2: give a number from -1 to 1"),
        ({"scoring": "pmi"}, "scoring is 'pmi': give 'default', 'npmi' or a function"),
        ({"scoring": 3}, "scoring is 3: give"),
        ({"scoring": lambda worda_count: 1}, "scoring lacks the arguments wordb_count, bigram_count"),
    ],
)
def test_an_argument_that_has_no_place_is_a_sentence(wrong: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Phrases(text(1), **wrong)


def test_what_is_no_text_is_a_sentence() -> None:
    with pytest.raises(InputError, match="the words are whole numbers: give strings"):
        Phrases([[1, 2]])
    with pytest.raises(InputError, match="give lists of words"):
        Phrases("text")
    with pytest.raises((InputError, CorpusError), match="sentence 1 of the corpus is 'word'"):
        Phrases(["word"])
    assert Phrases([]).vocab == {}
