"""Every layer with some classes, such as padding, removed from its distribution."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cases import CASES, LayerCase, shuffled_zipf
from tests.layers.contract import D, V, batch, buffers_kept, every_exact, every_layer, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.language import ModelOptions, build_model
from vastmax.layers import (
    FullSoftmax,
    LayerSpec,
    OutputLayer,
    TargetSampledSoftmax,
    TrainingText,
    WithoutClasses,
    build,
    diagnose,
)
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.vocabulary import Vocabulary

pytestmark = pytest.mark.numerics

PAD = [0, 7, V - 1]
LEFT = [i for i in range(V) if i not in PAD]
COUNTS = shuffled_zipf(V)


def padded(case: LayerCase, **more) -> WithoutClasses:
    """Return the case's layer over V classes, three of them removed; its options refer to the remaining ones."""
    options = {name: value(COUNTS[LEFT]) if callable(value) else value for name, value in case.options.items()}
    torch.manual_seed(0)
    built = build(case.name, D, case.vocabulary(COUNTS), dtype=torch.float64, without=PAD, **options, **more)
    assert isinstance(built, WithoutClasses)
    sharpened(built.layer)
    return built


def rows() -> tuple[Tensor, Tensor]:
    hidden, places = batch((4, 2), len(LEFT))
    return hidden, torch.tensor(LEFT)[places]


def masked(hidden: Tensor, layer: WithoutClasses) -> Tensor:
    """Return log-probabilities (…, V) of a full softmax whose logits are -inf for removed classes."""
    logits = torch.full((*hidden.shape[:-1], V), -torch.inf, dtype=torch.float64)
    for i, place in enumerate(LEFT):
        logits[..., place] = hidden @ layer.layer.weight[i] + layer.layer.bias[i]
    return logits - logits.exp().sum(-1, keepdim=True).log()


def test_the_full_softmax_is_one_of_masked_logits() -> None:
    layer = padded(LayerCase("full"))
    hidden, target = rows()
    wanted = masked(hidden, layer)
    torch.testing.assert_close(layer.log_prob(hidden), wanted)
    losses = -wanted.gather(-1, target[..., None]).squeeze(-1)
    torch.testing.assert_close(layer(hidden, target), losses.mean())
    torch.testing.assert_close(layer(hidden, target, reduction="none"), losses)
    smooth = 0.9 * losses - 0.1 * wanted[..., LEFT].mean(-1)
    torch.testing.assert_close(layer(hidden, target, label_smoothing=0.1), smooth.mean())
    weight = torch.rand(V, dtype=torch.float64)
    torch.testing.assert_close(
        layer(hidden, target, weight=weight), (losses * weight[target]).sum() / weight[target].sum()
    )
    probability = torch.rand(4, 2, V, dtype=torch.float64)
    probability[..., PAD] = 0
    torch.testing.assert_close(
        layer(hidden, probability, reduction="sum"), -(wanted[..., LEFT] * probability[..., LEFT]).sum()
    )


@every_layer
def test_the_contract_holds_over_all_ids(case: LayerCase) -> None:
    layer = padded(case)
    hidden, target = rows()
    log_prob = layer.log_prob(hidden)
    assert log_prob.shape == (4, 2, V) and bool((log_prob[..., PAD] == -torch.inf).all())
    torch.testing.assert_close(log_prob.exp().sum(-1), torch.ones(4, 2, dtype=torch.float64))
    torch.testing.assert_close(layer.target_log_prob(hidden, target), log_prob.gather(-1, target[..., None])[..., 0])
    torch.testing.assert_close(log_prob[..., LEFT], layer.layer.log_prob(hidden))
    values, classes = layer.topk(hidden, len(LEFT))
    assert sorted(classes[0, 0].tolist()) == LEFT
    torch.testing.assert_close(values, log_prob.gather(-1, classes))
    exclude = torch.tensor([7, int(classes[0, 0, 0]), -1])
    best = layer.topk(hidden, 3, exclude=exclude)[1]
    assert not set(best.flatten().tolist()) & set(exclude.tolist())
    assert best[0, 0].tolist() == classes[0, 0, 1:4].tolist()
    drawn = layer.sample(hidden, 200)
    assert drawn.shape == (4, 2, 200) and not set(drawn.flatten().tolist()) & set(PAD)
    shares = torch.stack([(drawn[0, 0] == i).double().mean() for i in range(V)])
    assert (shares - log_prob[0, 0].exp()).abs().max() < 0.15  # far beyond the sampling error of 200 draws


@every_layer
@pytest.mark.parametrize("several", [False, True])
def test_the_loss_is_that_of_the_classes_left(case: LayerCase, several: bool) -> None:
    layer = padded(case)
    hidden, target = rows()
    places = layer.inner[target]
    if several:
        target, places = (torch.stack([each, each.flip(0), each.roll(1, 0)], -1) for each in (target, places))
    for ignore in (-100, 0, 7, V + 3):  # 0 and 7 are removed classes, such as padding in batches
        given, inner = target.clone(), places.clone()
        given[0], inner[0] = ignore, -100
        context = torch.tensor([[3, 0], [7, -1], [V - 1, 29], [100, 5]])
        known = torch.tensor([[LEFT.index(3), -1], [-1, -1], [-1, -1], [-1, LEFT.index(5)]])
        with buffers_kept(layer):
            ours = loss_of(layer, hidden, given, ignore_index=ignore, context=context, reduction="none")
        with buffers_kept(layer):
            plain = loss_of(layer.layer, hidden, inner, context=known, reduction="none")
        assert torch.equal(ours, plain) and bool((ours[0] == 0).all())


@every_layer
def test_a_class_taken_out_is_refused(case: LayerCase) -> None:
    layer = padded(case)
    hidden, target = rows()
    target[1, 1] = 7
    for call in (layer, layer.target_log_prob):
        with pytest.raises(
            InputError, match="target contains 7, which was removed: leave its rows out, or ignore them"
        ):
            call(hidden, target)
    target[1, 1] = V
    for call in (layer, layer.target_log_prob):
        with pytest.raises(InputError, match=f"target contains {V}: give class ids from 0 to {V - 1}"):
            call(hidden, target)
    for k in (0, len(LEFT) + 1):
        with pytest.raises(InputError, match=f"k is {k}: give a whole number from 1 to {len(LEFT)}"):
            layer.topk(hidden, k)
    with pytest.raises(InputError, match=f"exclude contains {V}: give class ids from 0 to {V - 1}"):
        layer.topk(hidden, 1, exclude=torch.tensor([V]))
    with pytest.raises(InputError, match="weight is"):
        layer(hidden, torch.full((4, 2), 3), weight=torch.ones(len(LEFT)))
    with pytest.raises(InputError, match="hidden is"):
        layer(hidden[..., 1:], torch.full((4, 2), 3))
    with pytest.raises(InputError, match="target is"):
        layer(hidden, torch.zeros(4, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="context is"):
        layer(hidden, torch.full((4, 2), 3), context=torch.full((4,), 3))


def test_a_probability_of_a_class_taken_out_is_refused() -> None:
    layer = padded(LayerCase("full"))
    target = torch.zeros(4, V, dtype=torch.float64)
    target[2, 7] = 0.5
    with pytest.raises(InputError, match="target gives class 7, which was removed, a probability"):
        layer(torch.randn(4, D, dtype=torch.float64), target)
    with pytest.raises(InputError, match=rf"probabilities of shape \(4, {V}\)"):
        layer(torch.randn(4, D, dtype=torch.float64), target[:, :-1])


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ([V], f"without contains {V}: give class ids from 0 to {V - 1}"),
        ([-1, 2], f"without contains -1: give class ids from 0 to {V - 1}"),
        (list(range(V)), f"without removes all {V} classes: leave one"),
        (0, "without is 0: give class ids"),
        ([0.5], "without is .*: give class ids"),
        ("0", "without is '0': give class ids"),
        ([[0, 1]], "without is .*: give ids, in one dimension"),
    ],
)
def test_what_cannot_be_taken_out(without: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build("full", D, COUNTS, without=without)


def test_nothing_taken_out_is_the_layer_itself() -> None:
    for nothing in ([], None):
        assert isinstance(build("full", D, COUNTS, without=nothing), FullSoftmax)


@pytest.mark.parametrize("case", [case for case in CASES if not case.label], ids=lambda case: case.id)
def test_a_state_comes_back(case: LayerCase) -> None:
    vocabulary = case.vocabulary(COUNTS)
    spec = LayerSpec(case.name, {**case.options, "without": PAD})
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary([f"w{i}" for i in range(V)], COUNTS)
    generator = np.random.default_rng(0)
    text = TrainingText(vocabulary, generator.integers(V, size=300), lambda _: generator.normal(size=(V, 3)))
    layer = spec.build_for(D, text)
    state = layer.state_dict()
    again = spec.rebuild(D, vocabulary, state)
    again.load_state_dict(state)
    hidden = torch.randn(5, D)
    assert torch.equal(layer.log_prob(hidden), again.log_prob(hidden))
    assert torch.equal(copy.deepcopy(layer).log_prob(hidden), layer.log_prob(hidden))
    meta = spec.build(D, vocabulary) if case.words else build(case.name, D, COUNTS, without=PAD, device="meta")
    emptied = meta.to_empty(device="cpu")
    emptied.reset_parameters()
    assert torch.equal(emptied.kept, torch.tensor(LEFT)) and emptied.inner[7] == -1 and emptied.inner[8] == 6
    other = LayerSpec(case.name, {**case.options, "without": [0, 8, V - 1]}).build(D, vocabulary)
    with pytest.raises(InputError, match="a layer built with another value of without"):
        other.load_state_dict(state)


@pytest.mark.parametrize("case", [case for case in CASES if not case.label], ids=lambda case: case.id)
def test_capabilities_are_the_layers(case: LayerCase) -> None:
    layer = padded(case)
    assert (layer.kind, layer.reference, layer.opaque_to_compiler, layer.touches_all_classes) == (
        layer.layer.kind,
        layer.layer.reference,
        layer.layer.opaque_to_compiler,
        layer.layer.touches_all_classes,
    )
    assert layer.flops_per_token() == layer.layer.flops_per_token()
    assert layer.structure_statistics(COUNTS) == layer.layer.structure_statistics(COUNTS[LEFT])
    hidden, target = rows()
    torch.manual_seed(1)
    ours = diagnose(layer, hidden.detach(), target, repeats=2)
    torch.manual_seed(1)
    assert ours == diagnose(layer.layer, hidden.detach(), layer.inner[target], repeats=2)
    sampling = layer.with_samples(2)
    assert (sampling is None) == (layer.layer.with_samples(2) is None)
    if sampling is not None:
        own = layer.layer.with_samples(2)
        assert repr(sampling.layer) == repr(own) != repr(layer.layer)
    optimizer = SparseAwareOptimizer(layer, "adam", 0.1)
    before = layer.layer.target_log_prob(hidden, layer.inner[target]).mean()
    for _ in range(20):
        layer.zero_grad()
        layer(hidden.detach(), target).backward()
        optimizer.step()
    assert layer.kind == "surrogate" or layer.target_log_prob(hidden, target).mean() > before


def test_an_input_embedding_has_zeros_for_padding() -> None:
    layer = padded(LayerCase("sampled"))
    embedding = layer.input_embedding()
    assert isinstance(embedding, nn.Module)
    ids = torch.tensor([[0, 1], [7, 29], [28, 8]])
    wanted = F.embedding(ids, torch.zeros(V, D, dtype=torch.float64).index_copy(0, layer.kept, layer.layer.weight))
    assert torch.equal(embedding(ids), wanted)
    embedding(ids).sum().backward()
    met = layer.layer.weight.grad.to_dense().sum(1)
    assert [LEFT[i] for i in met.nonzero().flatten().tolist()] == [1, 8, 28]
    assert padded(LayerCase("hierarchical")).input_embedding() is None


def test_targets_that_are_looked_ahead_at() -> None:
    layer = padded(LayerCase("target-sampling"))
    assert isinstance(layer.layer, TargetSampledSoftmax)
    batches = [torch.tensor([1, 2, 0, -100]), torch.tensor([29, 8, 8])]
    found = [layer.kept[layer.layer.candidates].tolist() for _ in layer.prepare(batches, num_candidates=2)]
    assert found == [[1, 2], [8]]
    with pytest.raises(InputError, match="can be read twice"):
        next(layer.prepare(iter(batches)))


@pytest.mark.parametrize("name", ["full", "hierarchical", "sampled", "adaptive"])
def test_compiled(name: str) -> None:
    layer = padded(LayerCase(name))
    hidden, target = rows()
    target[0, 0] = -100
    compiled = torch.compile(layer, fullgraph=True)
    if name == "sampled":
        assert torch.isfinite(compiled(hidden, target))
    else:
        torch.testing.assert_close(compiled(hidden, target), layer(hidden, target))
    compiled(hidden, target).backward()
    assert layer.layer.get_parameter("weight" if name != "adaptive" else "head_weight").grad is not None


def test_a_layer_of_ones_own() -> None:
    class Uniform(OutputLayer):
        kind = "exact"
        reference = FullSoftmax.reference

        def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
            return self._log_prob(hidden).gather(1, target[:, None]).squeeze(1)

        def _log_prob(self, hidden: Tensor) -> Tensor:
            return torch.full((len(hidden), self.num_classes), -float(np.log(self.num_classes)))

        def reset_parameters(self) -> None: ...

        def flops_per_token(self, train: bool = True) -> float:
            return 0.0

    layer = WithoutClasses(Uniform(3, 4), [2])
    assert layer.log_prob(torch.zeros(3)).exp().tolist() == [0.25, 0.25, 0, 0.25, 0.25]
    assert repr(layer).startswith("WithoutClasses(\n  in_features=3, num_classes=5, without=[2]\n")
    assert len(repr(WithoutClasses(Uniform(3, 4), range(4, 10_000)))) < 300


@every_exact
def test_ids_of_any_integer_dtype(case: LayerCase) -> None:
    layer = padded(case)
    hidden = torch.randn(3, D, dtype=torch.float64)
    target = torch.tensor([3, 28, 1])
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        given = target.to(dtype)
        assert torch.equal(layer.target_log_prob(hidden, given), layer.target_log_prob(hidden, target))
        for ignore in (-100, 156, 257, 1):  # some of these wrap around in 8-bit dtypes
            wanted = loss_of(layer, hidden, target, ignore_index=ignore, reduction="none")
            assert torch.equal(loss_of(layer, hidden, given, ignore_index=ignore, reduction="none"), wanted)
    for wrong in (target + 1j, target > 2):
        for call in (layer, layer.target_log_prob):
            with pytest.raises(InputError, match="class ids, whole numbers"):
                call(hidden, wrong)


def test_no_value_is_looked_at_in_vmap_and_none_is_wrong() -> None:
    hidden = torch.randn(4, D, dtype=torch.float64)
    target, taken_out = torch.tensor([1, 5, 3, 28]), torch.tensor([1, 5, 3, 7])
    probability = torch.eye(V, dtype=torch.float64)
    for case in (LayerCase("full"), LayerCase("differentiated")):
        layer = padded(case)
        one = torch.func.vmap(layer)
        torch.testing.assert_close(one(hidden, target), layer(hidden, target, reduction="none"))
        with pytest.raises((IndexError, RuntimeError)):
            one(hidden, taken_out)
        torch.testing.assert_close(one(hidden, probability[target]), layer(hidden, target, reduction="none"))
        assert one(hidden, probability[taken_out]).isnan().tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", ["full", "adaptive", "differentiated"])
def test_compiled_code_refuses_what_is_taken_out(name: str) -> None:
    torch.compiler.reset()
    layer = padded(LayerCase(name))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden = torch.randn(4, D, dtype=torch.float64)
    good, bad = torch.tensor([1, 5, 3, 28]), torch.tensor([1, 5, 3, 7])
    for given in (lambda ids: ids, lambda ids: torch.eye(V, dtype=torch.float64)[ids]):
        torch.testing.assert_close(compiled(hidden, given(good)), layer(hidden, good))
        with pytest.raises(RuntimeError, match="removed"):
            compiled(hidden, given(bad))


def test_padding_moves_no_row_that_the_batch_does_not_meet() -> None:
    layer = padded(LayerCase("sampled"))
    embedding = layer.input_embedding()
    assert isinstance(embedding, nn.Module)
    optimizer = SparseAwareOptimizer(embedding, "adam", 0.1)
    for ids in ([1, 2], [0, 2, 7]):
        before = layer.layer.weight.detach().clone()
        optimizer.zero_grad()
        embedding(torch.tensor(ids)).sum().backward()
        optimizer.step()
        moved = (layer.layer.weight != before).any(1).nonzero().flatten()
        assert layer.kept[moved].tolist() == [i for i in ids if i not in PAD]
    with pytest.raises((IndexError, RuntimeError)):
        embedding(torch.tensor([-1]))
    assert not embedding(torch.tensor([[0, 7]])).any()
    with torch.no_grad():
        layer.layer.weight[0] = torch.nan  # of class 1
    assert torch.equal(embedding(torch.tensor([0, 1]))[0], torch.zeros(D, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_targets_of_numpy_are_looked_ahead_at(dtype: type) -> None:
    layer = padded(LayerCase("target-sampling"))
    found = [layer.kept[layer.layer.candidates].tolist() for _ in layer.prepare([np.array([3, 0, 1], dtype)])]
    assert found == [[1, 3]]
    for wrong, words in (
        (np.array([1, V]), f"targets contain {V}: give class ids from 0 to {V - 1}"),
        (np.ones(3), "targets"),
    ):
        with pytest.raises(InputError, match=words):
            next(layer.prepare([wrong]))


def test_counts_of_another_number_of_classes_are_refused() -> None:
    layer = padded(LayerCase("hierarchical"))
    for wrong in (COUNTS[:-1], [*COUNTS, 1]):
        with pytest.raises(InputError, match="counts"):
            layer.structure_statistics(wrong)


@pytest.mark.parametrize("name", ["full", "hierarchical", "sampled"])
def test_without_classes_twice(name: str) -> None:
    inner = padded(LayerCase(name))
    outer = WithoutClasses(inner, [1])  # class 0, removed by the inner layer, is also class 0 here
    hidden = torch.randn(3, D, dtype=torch.float64)
    log_prob = outer.log_prob(hidden)
    assert log_prob.shape == (3, V + 1)
    torch.testing.assert_close(log_prob[:, [0, *range(2, V + 1)]], inner.log_prob(hidden))
    target = torch.tensor([2, 7, 29])
    assert torch.equal(loss_of(outer, hidden, target), loss_of(inner, hidden, target - 1))


def test_one_class_is_left() -> None:
    layer = build("full", D, COUNTS, without=range(1, V))
    assert layer.log_prob(torch.randn(D))[0] == 0 and layer(torch.randn(2, D), torch.zeros(2, dtype=torch.int64)) == 0


def test_a_language_model_shares_its_table_wherever_it_is_made() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build_model(ModelOptions(dim=D, tie=True), build("full", D, COUNTS, without=PAD), 3)
    model.to_empty(device="cpu")
    for part in model.modules():
        if part is not model and hasattr(part, "reset_parameters"):
            part.reset_parameters()
    words = torch.tensor([[1, 2], [0, 7]])
    assert not model.embedding(words)[1].any() and model.embedding(words)[0].any()
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.embedding(words), model.embedding(words))
    with pytest.raises(InputError, match="every word with a probability above 0 is forbidden"):
        model.generate(words[:1], 2, forbidden=torch.tensor(LEFT))
    assert not set(model.generate(words[:1], 50).flatten().tolist()) & set(PAD)


def test_samples_are_reported_for_contexts_as_losses_are() -> None:
    """Removed classes and ids outside the vocabulary count as no previous class."""
    layer = build("adaptive-importance", D, COUNTS, without=PAD)
    hidden, target = rows()
    reports = []
    for before in (-1, V, PAD[0], LEFT[4]):
        torch.manual_seed(0)
        context = torch.full(target.shape, before)
        reports.append(diagnose(layer, hidden.float(), target, context=context, repeats=2).kl_divergence)
    assert reports[0] == reports[1] == reports[2] is not None
