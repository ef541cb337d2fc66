"""The planner's centres, windows and negatives for a chunk, and their order, against the definition.

The random generator is reimplemented from its description, so the use of each draw is known.
"""

import itertools

import numpy as np
import pytest

from tests.embeddings.trainers.core import COUNTS, make_core
from vastmax import _core
from vastmax.errors import InputError
from vastmax.text import END_OF_SENTENCE
from vastmax.trees import huffman_tree

NOISE_BATCH = 1024
ALL = 2**64 - 1


class Wyrand:
    """The 64-bit random stream of a chunk: wyrand, its state mixed from the coordinates by splitmix64."""

    def __init__(self, *coordinates):
        self.state = 0
        for coordinate in coordinates:
            self.state = self.mix(self.state + coordinate & ALL)

    @staticmethod
    def mix(z):
        z = z + 0x9E3779B97F4A7C15 & ALL
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & ALL
        z = (z ^ z >> 27) * 0x94D049BB133111EB & ALL
        return z ^ z >> 31

    def next(self):
        self.state = self.state + 0xA0761D6478BD642F & ALL
        product = self.state * (self.state ^ 0xE7037ED1A0B428DB)
        return (product >> 64 ^ product) & ALL

    def below(self, bound):
        return (self.next() >> 32) * bound >> 32


def expected_plans(ids, keep, *, window, shrink, block, pairs, drawn, vocabulary, chunk, epoch, number):
    """Yield (centres, context, membership of context words in windows, negatives, first centre) for every plan."""
    stream = Wyrand(1, epoch, number)
    kept, sentence_of, sentence = [], [], 0
    for word in ids[number * chunk :][:chunk]:
        if word == END_OF_SENTENCE:
            sentence += 1
        elif stream.next() >> 32 <= keep[word]:
            kept.append(word)
            sentence_of.append(sentence)
    noise = []
    for first in range(0, len(kept), block):
        centres = range(first, min(first + block, len(kept)))
        windows = []
        for i in centres:
            width = 1 + stream.below(window) if shrink else window
            near = range(max(0, i - width), min(len(kept), i + width + 1))
            windows.append([j for j in near if j != i and sentence_of[j] == sentence_of[i]])
        reached = sorted({*itertools.chain(*windows), *centres})
        assert reached == list(range(reached[0], reached[-1] + 1))
        for group in [[j] for j in reached] if pairs else [reached]:
            context = [j for j in group if len(centres) > 1 or j != first]
            if not context:
                continue
            if len(noise) < drawn:
                noise = [stream.below(vocabulary) for _ in range(NOISE_BATCH)]
            negatives, noise = noise[:drawn], noise[drawn:]
            members = [[j in window for window in windows] for j in context]
            yield [kept[i] for i in centres], [kept[j] for j in context], members, negatives, first / len(kept)


IDS = np.random.default_rng(2).integers(0, 8, 700).astype(np.uint32)
IDS[np.random.default_rng(3).random(700) < 0.12] = END_OF_SENTENCE  # includes empty and one-word sentences


@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize(
    ("sharing", "block", "drawn"), [("block", 4, 10), ("block", 6, 10), ("window", 1, 5), ("pair", 1, 5)]
)
@pytest.mark.parametrize("cbow", [False, True])
def test_plans_are_those_of_the_definition(subsample, shrink, window, sharing, block, drawn, cbow):
    keep = np.linspace(2**31, 2**32 - 1, 8).astype(np.uint32) if subsample else np.full(8, 2**32 - 1, np.uint32)
    core, _, _ = make_core(
        IDS,
        keep=keep,
        noise=np.ones(8),
        window=window,
        shrink_window=shrink,
        sharing=sharing,
        block=block,
        drawn=drawn,
        cbow=cbow,
        chunk=300,
        epochs=2,
        learning_rate=0.5,
        min_learning_rate=0.1,
    )
    for epoch, number in itertools.product(range(2), range(3)):
        size = min(300, 700 - 300 * number)
        expected = expected_plans(
            IDS.tolist(),
            keep.tolist(),
            window=window,
            shrink=shrink,
            block=block,
            pairs=sharing == "pair" and not cbow,
            drawn=drawn,
            vocabulary=8,
            chunk=300,
            epoch=epoch,
            number=number,
        )
        for plan, (centres, context, members, negatives, share) in itertools.zip_longest(
            core.plans(epoch, number), expected
        ):
            assert plan.centres.tolist() == centres
            assert plan.context.tolist() == context
            assert [[plan.in_window(j, t) for t in range(len(centres))] for j in range(len(context))] == members
            assert plan.negatives.tolist() == negatives
            position = 700 * epoch + 300 * number + share * size
            assert plan.rate == pytest.approx(0.5 + (0.1 - 0.5) * position / 1400)


def test_a_plan_of_hierarchical_softmax_names_the_path_of_its_centre():
    tree = huffman_tree(COUNTS)
    core, _, _ = make_core(IDS, tree=tree, block=1, drawn=0, negatives=0, sharing="window")
    plans = core.plans(0, 0)
    assert sorted({plan.centres.item() for plan in plans}) == list(range(8))
    for plan in plans:
        assert plan.path == tuple(tree.offsets[plan.centres.item() :][:2])
        assert len(plan.negatives) == 0


def test_what_was_planned_is_what_is_trained():
    core, _, _ = make_core(IDS, noise=np.ones(8), shrink_window=True, chunk=300, rate=1e-6)
    plans = core.plans(0, 1)
    pairs = sum(p.in_window(j, t) for p in plans for j in range(len(p.context)) for t in range(len(p.centres)))
    assert core.run(1, 2, 1).examples == pairs > 0


def test_settings_refuse_what_they_do_not_know():
    with pytest.raises(InputError, match=r"^sharing is 'blocks': give block, window or pair\.$"):
        _core.Settings(sharing="blocks")
    with pytest.raises(AttributeError, match="windows"):
        _core.Settings(windows=3)
    settings = _core.Settings(window=3, sharing="pair")
    assert (settings.window, settings.sharing, settings.block) == (3, "pair", 6)
    settings.sharing = "window"
    assert settings.sharing == "window"
