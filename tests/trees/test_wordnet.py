"""The WordNet tree on an excerpt of WordNet 3.0 (``wordnet/``), and on all of it where it is installed."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.trees.builders import sets_below
from vastmax.errors import FormatError, InputError
from vastmax.trees import wordnet_tree
from vastmax.trees.wordnet import Synset, WordNet

FEW = Path(__file__).parent / "wordnet"
WHOLE = Path("/usr/share/wordnet")
needs_whole = pytest.mark.skipif(not (WHOLE / "data.noun").exists(), reason="WordNet is not at /usr/share/wordnet")

# By hand, from the files: dog and cat are carnivores, horse is also a mammal, rose is also an organism; the first sense
# of oak is a wood, which is a physical entity like all of these. To run and to walk are ways to travel.
WORDS = ["dog", "the", "oak", "cats", "run", "horse", "quick", "rose", "jumped", "of", "fast", "walk", "dogs"]


def vectors(num_words: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_words, 8))


def ids(*words: str) -> frozenset[int]:
    return frozenset(WORDS.index(word) for word in words)


def test_is_a_links_are_nodes() -> None:
    tree = wordnet_tree(WORDS, vectors(len(WORDS)), FEW)
    found = sets_below(tree)
    assert ids("dog", "dogs") in found
    assert ids("dog", "dogs", "cats") in found
    assert ids("dog", "dogs", "cats", "horse") in found
    assert ids("dog", "dogs", "cats", "horse", "rose") in found
    assert ids("dog", "dogs", "cats", "horse", "rose", "oak") in found
    assert ids("the", "of") in found  # words that are not in WordNet
    assert ids("run", "walk") in found
    assert ids("run", "walk", "jumped") in found
    assert (tree.num_words, tree.num_leaves) == (len(WORDS), len(WORDS))


def test_deterministic() -> None:
    assert wordnet_tree(WORDS, vectors(13), FEW, seed=3) == wordnet_tree(WORDS, vectors(13), FEW, seed=3)


def test_words_that_wordnet_lacks_are_clustered() -> None:
    rows = np.array([[0, 9], [5, 0], [0, 8.0], [5, 1]])
    assert sets_below(wordnet_tree(["the", "of", "and", "in"], rows, FEW)) >= {frozenset({0, 2}), frozenset({1, 3})}


@pytest.mark.parametrize(
    ("word", "part", "offset"),
    [
        ("dog", "noun", "02084071"),
        ("Dog", "noun", "02084071"),
        ("dogs", "noun", "02084071"),
        ("women", "noun", "10787470"),  # inflected ending
        ("men", "noun", "10287213"),  # exception list
        ("ran", "verb", "01926329"),
        ("was", "verb", "02604760"),
        ("saw", "verb", "02129307"),  # most frequent as a form of see
        ("well", "adv", "00011093"),  # far more frequent as an adverb than as a noun, verb or adjective
        ("reddest", "adj", "00381097"),
        ("blue", "adj", "00370869"),  # less frequent as a noun
        ("oaks", "noun", "12268918"),
    ],
)
def test_first_sense(word: str, part: str, offset: str) -> None:
    assert WordNet(FEW).first_sense(word) == Synset(part, offset)


@pytest.mark.parametrize("word", ["the", "", "s", "dogss", "data.noun", "../noun"])
def test_no_sense(word: str) -> None:
    assert WordNet(FEW).first_sense(word) is None


def test_parents() -> None:
    wordnet = WordNet(FEW)
    assert wordnet.parent(Synset("noun", "02084071")) == Synset("noun", "02083346")  # dog: canine, then domestic animal
    assert wordnet.parent(Synset("noun", "00001740")) is None  # entity
    assert wordnet.parent(Synset("adj", "00370869")) == Synset("adj", "00366691")  # blue is similar to chromatic
    assert wordnet.parent(Synset("adj", "00366691")) is None


def test_the_circle_among_the_verbs_ends() -> None:
    wordnet = WordNet(FEW)
    inhibit, restrain = wordnet.first_sense("inhibit"), wordnet.first_sense("restrain")
    assert inhibit is not None
    assert restrain is not None
    tree = wordnet_tree(["inhibit", "restrain", "run"], vectors(3), FEW)
    assert frozenset({0, 1}) in sets_below(tree)


def test_exceptions_and_uses_may_be_missing(tmp_path: Path) -> None:
    for path in FEW.iterdir():
        if path.suffix not in {".exc", ".rev"}:
            shutil.copy(path, tmp_path)
    wordnet = WordNet(tmp_path)
    assert wordnet.first_sense("ran") is None
    assert wordnet.first_sense("well") == Synset("noun", "04572344")  # nouns come first


@pytest.mark.parametrize("missing", ["index.noun", "data.adv"])
def test_missing_file(tmp_path: Path, missing: str) -> None:
    shutil.copytree(FEW, tmp_path / "wordnet")
    (tmp_path / "wordnet" / missing).unlink()
    with pytest.raises(InputError, match=rf"{missing} does not exist: .*apt install wordnet-base"):
        wordnet_tree(["dog"], [[1.0]], tmp_path / "wordnet")
    with pytest.raises(InputError, match=r"index\.noun does not exist"):
        wordnet_tree(["dog"], [[1.0]], tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("data.noun", lambda text: "\n".join(text.split("\n")[:-8]), "data.noun has no synset"),
        ("data.noun", lambda text: text.replace(" 00", " zz"), "cannot be read at synset"),
        ("data.noun", lambda text: text[:3000], "data.noun"),
        ("index.verb", lambda text: text + "jolt v x\n", "index.verb has a line 'jolt v x'"),
        ("index.verb", lambda text: "", "index.verb has no word"),
        ("cntlist.rev", lambda text: text + "dog 3\n", "cntlist.rev has a line 'dog 3'"),
    ],
)
def test_damage(tmp_path: Path, name: str, damage: object, message: str) -> None:
    shutil.copytree(FEW, tmp_path / "wordnet")
    path = tmp_path / "wordnet" / name
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(FormatError, match=rf"is a damaged WordNet .*{message}.*: install it again"):
        wordnet_tree(WORDS, vectors(len(WORDS)), tmp_path / "wordnet")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    shutil.copytree(FEW, tmp_path / "wordnet")
    (tmp_path / "wordnet" / "data.adj").write_bytes(b"\xff\xfe" * 50)
    with pytest.raises(FormatError, match=r"data\.adj cannot be read"):
        wordnet_tree(["dog"], [[1.0]], tmp_path / "wordnet")


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="give one string or more"):
        wordnet_tree([], [[1.0]], FEW)
    with pytest.raises(InputError, match="give one string or more"):
        wordnet_tree([1, 2], [[1.0], [2.0]], FEW)  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"vectors is .*: give numbers of shape \(2, d\)"):
        wordnet_tree(["dog", "cat"], [[1.0]], FEW)


@needs_whole
def test_the_whole_of_wordnet() -> None:
    wordnet = WordNet(WHOLE)
    lemmas = [lemma for part in ("noun", "verb", "adj", "adv") for lemma in sorted(wordnet._first[part])[::20]]
    tree = wordnet_tree(lemmas, vectors(len(lemmas)), WHOLE)
    assert tree.num_leaves == len(lemmas)
    words = ["dog", "cat", "rifle", "pistol"]
    assert {frozenset({0, 1}), frozenset({2, 3})} <= sets_below(wordnet_tree(words, vectors(4), WHOLE))
