"""Hidden vectors and gradients against the formulas, texts cut anywhere, shared tables, draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.oracles import language as oracles
from vastmax.errors import InputError
from vastmax.language import LSTM, MODELS, FeedForward, LanguageModel
from vastmax.layers import AdaptiveSoftmax, FullSoftmax, build

pytestmark = pytest.mark.numerics

V, D, E, START = 11, 4, 3, 2
WORDS = [5, 0, 5, 9, 2, 10, 1]
TARGETS = [0, 5, 9, 2, 10, 1, 5]


def feed_forward(order: int = 4, **options: Any) -> FeedForward:
    return FeedForward(FullSoftmax(D, V), **{"embedding_dim": E, "order": order, "start": START, **options})


def spread(model: LanguageModel, seed: int = 0) -> LanguageModel:
    """Return the model in float64 with weights and biases large enough to matter."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.6)
    return model


def weights_of(model: LanguageModel) -> oracles.Weights:
    """Return the weights under the papers' names."""
    found = {"C": model.embedding.weight, "V": model.output.weight, "v": model.output.bias}
    if isinstance(model, FeedForward):
        found |= {"H": model.projection.weight, "d": model.projection.bias}
    else:
        assert isinstance(model, LSTM)
        names = {"W": "weight_ih_l", "U": "weight_hh_l", "b": "bias_ih_l", "c": "bias_hh_l"}
        for layer in range(model.recurrent.num_layers):
            found |= {f"{ours}{layer}": getattr(model.recurrent, f"{its}{layer}") for ours, its in names.items()}
    return found


CASES = {
    "feed-forward": (lambda: feed_forward(), lambda w: oracles.feed_forward(w, WORDS, 4, START)),
    "bigram": (lambda: feed_forward(order=2), lambda w: oracles.feed_forward(w, WORDS, 2, START)),
    "longer than the text": (lambda: feed_forward(order=12), lambda w: oracles.feed_forward(w, WORDS, 12, START)),
    "log-bilinear": (
        lambda: feed_forward(linear=True),
        lambda w: oracles.feed_forward(w, WORDS, 4, START, linear=True),
    ),
    "lstm": (lambda: LSTM(FullSoftmax(D, V), layers=2, embedding_dim=E), lambda w: oracles.lstm(w, WORDS, 2)),
    "lstm of one layer": (lambda: LSTM(FullSoftmax(D, V), layers=1), lambda w: oracles.lstm(w, WORDS, 1)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
Case = tuple[Callable[[], LanguageModel], Callable[[oracles.Weights], Any]]


@every_case
def test_hidden_vectors_and_gradients_are_the_formulas(case: Case) -> None:
    make, formula = case
    model = spread(make())
    here = weights_of(model)
    values = {name: each.detach().numpy().copy() for name, each in here.items()}
    # a second text in the batch must not affect the first
    words, target = torch.tensor([WORDS, WORDS[::-1]]).T, torch.tensor([TARGETS, [-100] * len(TARGETS)]).T

    hidden, _ = model.hidden(words)
    np.testing.assert_allclose(hidden[:, 0].detach().numpy(), formula(values), rtol=1e-10, atol=1e-12)

    loss, _ = model(words, target)
    loss.backward()
    expected = oracles.mean_loss(formula, TARGETS)
    assert float(loss.detach()) == pytest.approx(float(expected(values)), rel=1e-10)
    for name, each in oracles.gradient(expected, values).items():
        assert here[name].grad is not None
        np.testing.assert_allclose(here[name].grad.to_dense().numpy(), each, rtol=1e-8, atol=1e-12, err_msg=name)


@every_case
@pytest.mark.parametrize("cuts", [[1], [3], [1, 2, 3, 4, 5, 6]])
def test_a_text_may_be_cut_anywhere(case: Case, cuts: list[int]) -> None:
    model = spread(case[0]())
    words = torch.tensor([WORDS, WORDS[::-1]]).T
    whole, last = model.hidden(words)
    state, parts = None, []
    for part in torch.tensor_split(words, cuts):
        hidden, state = model.hidden(part, state)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-13)
    assert state is not None
    for each, other in zip(state, last, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-12, atol=1e-13)


def test_gradients_stop_where_a_text_is_cut() -> None:
    model = LSTM(FullSoftmax(D, V), layers=1)
    words = torch.tensor([WORDS]).T
    _, state = model(words, words)
    assert not any(each.requires_grad for each in state)


@pytest.mark.parametrize("name", MODELS)
def test_a_shared_table_is_one_parameter_that_both_learn(name: str) -> None:
    model = MODELS[name](FullSoftmax(D, V), tie=True)
    assert model.embedding.weight is model.output.weight
    assert sum(parameter.shape == (V, D) for parameter in model.parameters()) == 1
    words, target = torch.tensor([[1], [2]]), torch.tensor([[3], [4]])
    loss, _ = model(words, target)
    loss.backward()
    whole = model.output.weight.grad.clone()

    alone = FullSoftmax(D, V)
    alone.load_state_dict(model.output.state_dict())
    hidden, _ = model.hidden(words)
    alone(hidden.detach(), target).backward()
    # only the input words get more than the output's gradient: only they feed the state
    more = (whole - alone.weight.grad).abs().amax(1)
    met = {int(word) for word in words.flatten()} | ({model.start} if isinstance(model, FeedForward) else set())
    assert {int(row) for row in (more > 1e-7).nonzero()} == met


def test_adaptive_input_goes_with_adaptive_output() -> None:
    softmax = AdaptiveSoftmax(8, 60, [10, 30], div_value=2.0)
    model = LSTM(softmax, tie=True)
    mine, recurrent = list(softmax.parameters()), list(model.recurrent.parameters())
    assert {id(each) for each in model.parameters()} == {id(each) for each in [*mine, *recurrent]}
    words = torch.tensor([[50], [3]])
    hidden, _ = model.hidden(words)
    hidden.sum().backward()  # through the input only
    rank = int(softmax.ranks.of(torch.tensor([50])))
    tail = [each.grad for each in softmax.tail_weights]
    assert rank >= 30
    assert tail[1] is not None
    assert tail[1][rank - 30].abs().sum() > 0
    assert softmax.projections[1].grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: LSTM(FullSoftmax(4, 9), tie=True, embedding_dim=5),
            "embedding_dim is 5: give the hidden vectors' width",
        ),
        (lambda: LSTM(build("hierarchical", 4, [3, 2, 1]), tie=True), "HierarchicalSoftmax has no table"),
        (lambda: LSTM(build("differentiated", 4, list(range(1, 40))), tie=True), "no table of one vector per word"),
        (lambda: LSTM(FullSoftmax(4, 9), layers=0), "layers is 0: give 1 or more"),
        (lambda: FeedForward(FullSoftmax(4, 9), order=1), "order is 1: give 2 or more"),
        (lambda: LSTM(FullSoftmax(4, 9), dropout=1.0), "dropout is 1.0: give a number from 0 to below 1"),
        (lambda: LSTM(FullSoftmax(4, 9), dropout=-0.1), "dropout is -0.1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


# --- draws ---


def known_model() -> tuple[LanguageModel, np.ndarray]:
    """Return a model and the oracle's distribution of the next word, which does not depend on earlier words."""
    torch.manual_seed(0)
    model = spread(feed_forward(order=2), seed=4).float()
    weights = {name: each.detach().double().numpy() for name, each in weights_of(model).items()}
    table = oracles.log_softmax(oracles.feed_forward(weights, [7], 2, START), weights["V"], weights["v"])
    return model, np.exp(table[0])


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("limits", [{}, {"top_k": 4}, {"forbidden": [0, 3]}, {"forbidden": [0, 3], "top_k": 4}])
def test_draws_are_from_the_distribution(temperature: float, limits: dict[str, Any]) -> None:
    """Chi-squared: a correct program fails each of the 12 cases with probability 1e-4 over seeds; the seed is fixed."""
    model, p = known_model()
    p = p ** (1 / temperature)
    p[limits.get("forbidden", [])] = 0
    if "top_k" in limits:
        p[np.argsort(-p)[limits["top_k"] :]] = 0
    p /= p.sum()
    n = 20_000
    options = {**limits}
    if "forbidden" in options:
        options["forbidden"] = torch.tensor(options["forbidden"])
    generator = torch.Generator().manual_seed(1)
    words = torch.full((1, n), 7)
    drawn = model.generate(words, 1, temperature=temperature, generator=generator, **options)
    assert drawn.shape == (1, n)
    counts = np.bincount(drawn[0].numpy(), minlength=V)
    assert not counts[p == 0].any()
    assert n * p[p > 0].min() > 5
    assert stats.chisquare(counts[p > 0], n * p[p > 0]).pvalue > 1e-4


def test_draws_follow_what_was_drawn() -> None:
    """With top_k=1 sampling is deterministic: each word is the best given all before it."""
    model = spread(LSTM(FullSoftmax(D, V), layers=2))
    words = torch.tensor([WORDS, WORDS[::-1]]).T
    drawn = model.generate(words, 5, top_k=1)
    for step in range(5):
        hidden, _ = model.hidden(torch.cat([words, drawn[:step]]))
        assert drawn[step].tolist() == model.output.log_prob(hidden[-1]).argmax(1).tolist()


@pytest.mark.parametrize(
    "build", [lambda: LSTM(FullSoftmax(D, V), layers=2), feed_forward], ids=["lstm", "feed-forward"]
)
def test_texts_begin_anew_behind_a_word(build: Callable[[], LanguageModel]) -> None:
    """Each text restarts by itself: one may end while another continues."""
    model = spread(build())
    with torch.no_grad():
        model.output.get_parameter("bias").zero_()  # otherwise one word is best everywhere
        model.output.get_parameter("weight").mul_(4)
    words = torch.tensor([WORDS, WORDS[::-1], [3] * len(WORDS)]).T
    on = model.generate(words, 12, top_k=1)
    restart = int(on[1, 0])  # so that it occurs at least once, but not in all texts at once
    drawn = model.generate(words, 12, top_k=1, restart=restart)
    assert not torch.equal(on, drawn)
    assert not (drawn == restart).all(1).any()
    for text in range(3):
        seen = words[:, text].tolist()
        for step in range(12):
            hidden, _ = model.hidden(torch.tensor(seen)[:, None])
            assert int(drawn[step, text]) == int(model.output.log_prob(hidden[-1, 0]).argmax())
            word = int(drawn[step, text])
            seen = [restart] if word == restart else [*seen, word]


def test_a_model_of_one_word_has_nothing_to_forget() -> None:
    model = spread(feed_forward(order=2))
    words = torch.tensor([WORDS, WORDS[::-1]]).T
    draws = [
        model.generate(words, 30, restart=restart, generator=torch.Generator().manual_seed(1)) for restart in (None, 1)
    ]
    assert (draws[0] == 1).any()
    assert torch.equal(*draws)


def test_a_seed_repeats_draws() -> None:
    model, _ = known_model()
    draws = [model.generate(torch.tensor([[1, 2]]), 30, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_temperature_near_zero_draws_the_best() -> None:
    model, p = known_model()
    drawn = model.generate(torch.full((1, 50), 7), 1, temperature=1e-300)
    assert set(drawn.flatten().tolist()) == {int(p.argmax())}


def test_dropout_rests_while_words_are_drawn() -> None:
    model = spread(LSTM(FullSoftmax(D, V), dropout=0.9)).train()
    words = torch.tensor([WORDS]).T
    assert torch.equal(model.generate(words, 20, top_k=1), model.generate(words, 20, top_k=1))
    assert model.training
    assert model.output.training


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": 0}, "n=0"),
        ({"temperature": 0.0}, "a temperature above 0"),
        ({"temperature": float("nan")}, "a temperature above 0"),
        ({"restart": V}, rf"restart is -?\d+: give a whole number from 0 to {V - 1}"),
        ({"restart": -1}, rf"restart is -?\d+: give a whole number from 0 to {V - 1}"),
        ({"top_k": 0}, f"top_k from 1 to {V}"),
        ({"top_k": V + 1}, f"top_k from 1 to {V}"),
        ({"forbidden": torch.arange(V)}, "every word with a probability above 0 is forbidden"),
        ({"words": torch.zeros((0, 1), dtype=torch.int64)}, r"words is .* of shape \(0, 1\): give ids"),
        ({"words": torch.tensor([1, 2])}, r"words is .* of shape \(2,\): give ids"),
    ],
)
def test_draws_that_cannot_be_are_refused(options: dict[str, Any], sentence: str) -> None:
    model = feed_forward()
    with pytest.raises(InputError, match=sentence):
        model.generate(**{"words": torch.tensor([[1]]), "n": 1, **options})
    assert model.training


def test_no_dense_gradient_where_the_layer_samples() -> None:
    model = LSTM(build("sampled", D, [3] * V, num_samples=3), tie=True)
    words = torch.tensor([WORDS]).T
    loss, _ = model(words, words)
    loss.backward()
    assert model.embedding.weight.grad.is_sparse
