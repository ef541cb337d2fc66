"""CNN softmax against brute force, and properties that depend on spelling alone."""

import autograd
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.cases import SMALL_CNN
from tests.layers.cnn import WORDS, D, layer_of, parameters_of, rows_of
from tests.oracles import char_cnn_vector, cnn_softmax_log_prob
from vastmax.errors import InputError
from vastmax.layers import CharCNNSoftmax, FullSoftmax, build
from vastmax.layers import cnn_network as char_cnn_file
from vastmax.layers.cnn_network import NOTHING, blocks_of_one_length, spell
from vastmax.vocabulary import Vocabulary

pytestmark = pytest.mark.numerics


def oracle(hidden, named, words=WORDS, max_length: int = SMALL_CNN["max_length"]):
    """Return the log-probabilities of one row, given the parameters by name."""
    of = lambda start: [value for name, value in named.items() if name.startswith(start)]  # noqa: E731
    highway = of("cnn.highway.")
    network = (
        named["cnn.characters"],
        of("cnn.kernels."),
        named["cnn.kernel_bias"],
        list(zip(highway[::2], highway[1::2], strict=True)),
        named["cnn.projection.weight"],
    )
    vectors = [char_cnn_vector(word, max_length, *network) for word in words]
    return cnn_softmax_log_prob(hidden, vectors, named["correction"], named["correction_lift"], named["bias"])


@pytest.mark.parametrize("highway_layers", [0, 1, 2])
def test_log_probabilities_are_those_of_the_formula(highway_layers: int) -> None:
    layer, hidden = layer_of(highway_layers=highway_layers), rows_of(3)
    named = {name: p.detach().numpy() for name, p in parameters_of(layer).items()}
    for row, found in zip(hidden.detach().numpy(), layer.log_prob(hidden).detach().numpy(), strict=True):
        expected = np.array(oracle(row, named))
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        # the oracle discriminates: a flipped sign, reversed words or swapped ids give other distributions
        assert np.abs(expected - oracle(-row, named)).max() > 0.1
        assert np.abs(expected - oracle(row, named, [word[::-1] for word in WORDS])).max() > 0.01
        assert np.abs(expected - oracle(row, named, [WORDS[3], *WORDS[1:3], WORDS[0], *WORDS[4:]])).max() > 0.01


def test_gradients_are_those_of_the_formula() -> None:
    layer, hidden, target = layer_of(highway_layers=2, block_size=3), rows_of(4), [6, 0, 0, 4]
    named = {name: p.detach().numpy() for name, p in parameters_of(layer).items()}

    def loss(everything):
        rows, values = everything
        return -sum(oracle(row, values)[t] for row, t in zip(rows, target, strict=True))

    to_hidden, to_parameters = autograd.grad(loss)((hidden.detach().numpy(), named))
    layer(hidden, torch.tensor(target), reduction="sum").backward()
    np.testing.assert_allclose(hidden.grad.numpy(), to_hidden, rtol=1e-9, atol=1e-12)
    for name, parameter in parameters_of(layer).items():
        np.testing.assert_allclose(parameter.grad.numpy(), to_parameters[name], rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.abs(to_parameters[name]).max() > 0, name


def test_gradients_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"{i}word{i * i}" for i in range(200)]
    layer, hidden, target = layer_of(words), rows_of(6), torch.arange(6) * 30
    whole = torch.autograd.grad(layer(hidden, target), [hidden, *layer.parameters()])
    monkeypatch.setattr(char_cnn_file, "_BLOCK", 200)
    assert sum(1 for _ in blocks_of_one_length(layer.symbols, 7)) > 40
    layer.eval()
    for found, expected in zip(
        torch.autograd.grad(layer(hidden, target), [hidden, *layer.parameters()]), whole, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# --- spelling ---


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(1, 9))
def test_words_are_spelt_in_bytes(words: list[str], max_length: int) -> None:
    symbols = spell(words, max_length)
    assert symbols.shape == (len(words), max_length + 2)
    for row, word in zip(symbols, words, strict=True):
        spelt = [0xFD, *word.encode("utf-8", "surrogatepass")[:max_length], 0xFE]
        assert row.tolist() == spelt + [NOTHING] * (max_length + 2 - len(spelt))
    seen = []
    for ids, spelt in blocks_of_one_length(torch.from_numpy(symbols), 2**20):
        assert len(ids) == 1 and (spelt != NOTHING).all()
        seen += ids.tolist()
    assert sorted(seen) == list(range(len(words)))


def test_a_word_s_vector_is_its_own() -> None:
    """A word's vector depends neither on other words nor on padding for longer ones."""
    layer = layer_of()
    alone = layer.word_vectors(["sea"])
    among = layer.word_vectors(["a", "sea-side-and", "sea", "sold", "tea"])
    torch.testing.assert_close(among[2:3], alone, rtol=1e-12, atol=1e-12)
    wider = layer_of(["sea", "antidisestablishmentarianism"], max_length=60)
    wider.cnn.load_state_dict(layer.cnn.state_dict())
    torch.testing.assert_close(wider.word_vectors(["sea"]), alone, rtol=1e-12, atol=1e-12)
    assert (among[2] - among[4]).abs().max() > 0.01
    assert layer.word_vectors([]).shape == (0, D)


def test_corrections_tell_apart_what_is_spelt_alike() -> None:
    words = ["bank", "bank", "shore", "a-word-that-is-cut-here", "a-word-that-is-cut-there"]
    layer, hidden = layer_of(words, bias=False), rows_of(5)
    assert (layer.log_prob(hidden)[:, 0] - layer.log_prob(hidden)[:, 1]).abs().max() > 0.01
    with torch.no_grad():
        layer.correction.zero_()
    log_prob = layer.log_prob(hidden)
    torch.testing.assert_close(log_prob[:, 0], log_prob[:, 1])
    torch.testing.assert_close(log_prob[:, 3], log_prob[:, 4])
    assert (log_prob[:, 0] - log_prob[:, 2]).abs().max() > 0.01


def test_with_its_table_it_is_a_full_softmax() -> None:
    layer, hidden, target = layer_of(), rows_of(5), torch.tensor([0, 7, 2, 2, 4])
    full = FullSoftmax(D, len(WORDS), dtype=torch.float64)
    with torch.no_grad():
        full.weight.copy_(layer.word_vectors(WORDS) + layer.correction @ layer.correction_lift.t())
        full.bias.copy_(layer.bias)
    torch.testing.assert_close(layer.log_prob(hidden), full.log_prob(hidden))
    torch.testing.assert_close(layer.log_partition(hidden), full.log_partition(hidden))
    for of in (layer, full):
        of.to_hidden = torch.autograd.grad(of(hidden, target), hidden)[0]
    torch.testing.assert_close(layer.to_hidden, full.to_hidden)


# --- out-of-vocabulary words ---


@pytest.mark.parametrize("bias", [True, False])
def test_an_unseen_word_scores_as_if_it_were_known_without_a_correction(bias: bool) -> None:
    new = ["walks", "Straßen"]
    layer, known, hidden = layer_of(bias=bias), layer_of([*WORDS, *new], bias=bias), rows_of(3)
    known.cnn.load_state_dict(layer.cnn.state_dict())
    with torch.no_grad():
        known.correction_lift.copy_(layer.correction_lift)
        known.correction.copy_(torch.cat([layer.correction, torch.zeros(2, 3)]))
        if bias:
            known.bias.copy_(torch.cat([layer.bias, layer.bias.min().repeat(2)]))
    found = layer.log_prob_of_words(hidden, new)
    torch.testing.assert_close(found, known.log_prob(hidden)[:, len(WORDS) :])
    assert layer.log_prob_of_words(hidden.view(3, 1, D), new).shape == (3, 1, 2)
    assert layer.log_prob_of_words(hidden, []).shape == (3, 0)
    (to_characters,) = torch.autograd.grad(found.sum(), layer.cnn.characters)
    (expected,) = torch.autograd.grad(known.log_prob(hidden)[:, len(WORDS) :].sum(), known.cnn.characters)
    torch.testing.assert_close(to_characters, expected)


def test_words_are_refused_clearly() -> None:
    layer, hidden = layer_of(), rows_of(2)
    with pytest.raises(InputError, match="one word twice"):
        layer.log_prob_of_words(hidden, ["walks", "walks"])
    for wrong in ("walks", ["walks", 3]):
        with pytest.raises(InputError, match="give a list of strings"):
            layer.log_prob_of_words(hidden, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="words is 'abc': give a list of strings"):
        CharCNNSoftmax(D, "abc")
    with pytest.raises(InputError, match="give a Vocabulary with words, not counts alone"):
        build("cnn", D, [3, 2, 1])
    with pytest.raises(InputError, match="give as many numbers as widths, 2"):
        build("cnn", D, Vocabulary(["a"], [1]), widths=(1, 2), filters=(3,))
    for name in ("char_dim", "correction_dim", "max_length", "block_size"):
        with pytest.raises(InputError, match=f"{name} is 0"):
            build("cnn", D, Vocabulary(["a"], [1]), **{name: 0})


# --- costs ---


def test_costs_are_counted() -> None:
    words = ["abcd", "efgh", "ijkl", "mnop"] * 4
    layer, hidden, target = layer_of(words, highway_layers=2, bias=False), rows_of(8), torch.arange(8)
    # torch counts the FLOPs of addmm, but not yet those of the in-place addmm_
    counted = {torch.ops.aten.addmm_: lambda total, a, b, *args, out_shape=None, **kwargs: 2 * a[0] * a[1] * b[1]}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        layer(hidden, target).backward()
    assert counter.get_total_flops() == 8 * layer.flops_per_token(rows=8)
    layer.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer.log_prob(hidden)
    assert counter.get_total_flops() == 8 * layer.flops_per_token(train=False) + layer.num_classes * (
        layer.cnn.flops(6) + 2 * D * 3
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer.log_prob(hidden)
    assert counter.get_total_flops() == 8 * layer.flops_per_token(train=False)
    network = 255 * 2 + 7 + (1 * 2 * 4 + 3 * 2 * 3) + 2 * (14 * 7 + 14) + 7 * D
    assert layer.num_parameters == network + 16 * 3 + D * 3


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_defaults_suit_any_vocabulary(num_classes: int) -> None:
    layer = build("cnn", 8, Vocabulary(["one", "two", "three"][:num_classes], [1] * num_classes))
    layer(torch.randn(4, 8), torch.arange(4) % num_classes).backward()
    torch.testing.assert_close(layer.log_prob(torch.randn(4, 8)).exp().sum(-1), torch.ones(4))
