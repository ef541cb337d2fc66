"""Skip-gram and CBOW against the formula in float64, and against the compiled trainer."""

import numpy as np
import pytest
import torch

from tests.embeddings.trainers.core import NOISE_WORD, make_core
from tests.layers.drawing import Given
from tests.oracles import word_model_gradients
from vastmax.embeddings.trainers.models import CBOW, SkipGram
from vastmax.embeddings.trainers.windows import Windows, find_windows
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, NegativeSampling, build
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.text import END_OF_SENTENCE

pytestmark = pytest.mark.numerics

EXAMPLES = [([3, 1, 0], 2), ([1], 0), ([4, 4, 2, 0], 5), ([5, 2], 2)]  # words of a window, centre word


def loss_on(model: SkipGram | CBOW, examples: list[tuple[list[int], int]]) -> torch.Tensor:
    """Return the summed loss over (context, centre) examples."""
    if isinstance(model, SkipGram):
        pairs = [(word, centre) for words, centre in examples for word in words]
        words, target = torch.tensor(pairs).T
        return model(words, target, reduction="sum")
    sizes = [len(words) for words, _ in examples]
    words = torch.tensor([word for words, _ in examples for word in words])
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    return model(words, starts, torch.tensor([centre for _, centre in examples]), reduction="sum")


@pytest.mark.parametrize("combine", [None, "mean", "sum"])
def test_the_gradient_is_the_formulas(combine: str | None) -> None:
    torch.manual_seed(0)
    output = FullSoftmax(4, 6, dtype=torch.float64)
    model = (SkipGram(output) if combine is None else CBOW(output, combine=combine)).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    loss = loss_on(model, EXAMPLES)
    loss.backward()
    assert output.bias is not None
    tables = [parameter.detach().numpy() for parameter in (model.embedding.weight, output.weight, output.bias)]
    expected, *gradients = word_model_gradients(*tables, EXAMPLES, combine)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    for parameter, gradient in zip((model.embedding.weight, output.weight, output.bias), gradients, strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.to_dense(), gradient, rtol=1e-10, atol=1e-12)
    assert np.abs(gradients[0]).max() > 0.1


@pytest.mark.parametrize("combine", [None, "mean", "sum"])
@pytest.mark.parametrize("sentence", [[0, 1, 2, 3], [0, NOISE_WORD, 2, 3]], ids=["no-hit", "hit"])
def test_a_step_of_sgd_is_a_step_of_the_compiled_trainer(combine: str | None, sentence: list[int]) -> None:
    """The same words predict the same words and both tables change equally: four windows, one noise word."""
    cbow = {"cbow": combine is not None, "cbow_mean": combine == "mean", "cbow_divides": combine == "mean"}
    ids = [*sentence, END_OF_SENTENCE]
    core, vectors, outputs = make_core(ids, drawn=5, **cbow)
    output = NegativeSampling(vectors.shape[1], Given([NOISE_WORD] * 5, [1] * 8), num_samples=5, bias=False)
    model = SkipGram(output) if combine is None else CBOW(output, combine=combine)  # type: ignore[arg-type]
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(vectors))
        output.weight.copy_(torch.from_numpy(outputs))
    optimizer = SparseAwareOptimizer(model, "sgd", 1.0)
    found = find_windows(np.array(ids, np.uint32), np.ones(8, np.float32), 5, False, np.random.default_rng(0))
    loss = loss_on(model, as_examples(found))
    loss.backward()
    optimizer.step()
    assert core.run(0, 1, 1).loss_sum == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(core.vectors, model.embedding.weight.detach(), atol=2e-5)
    np.testing.assert_allclose(core.outputs, output.weight.detach(), atol=2e-5)
    assert np.abs(core.vectors - vectors).max() > 0.1


def as_examples(windows: Windows) -> list[tuple[list[int], int]]:
    contexts = [[int(word) for word in row if word >= 0] for row in windows.context]
    return list(zip(contexts, windows.centre.tolist(), strict=True))


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd"])
@pytest.mark.parametrize("name", ["sampled", "hierarchical", "nce", "negative-sampling"])
def test_rows_not_met_keep_their_bits(kind: type, optimizer: str, name: str) -> None:
    torch.manual_seed(0)
    sampled = {} if name == "hierarchical" else {"num_samples": 10}
    model = kind(build(name, 8, np.arange(2000, 0, -1), **sampled))
    moves = SparseAwareOptimizer(model, optimizer, 0.1)
    for _ in range(2):
        before = {each: parameter.detach().clone() for each, parameter in model.named_parameters()}
        moves.zero_grad()
        loss_on(model, EXAMPLES).backward()
        met = {each: parameter.grad for each, parameter in model.named_parameters()}
        moves.step()
        for each, parameter in model.named_parameters():
            gradient = met[each]
            assert gradient is not None and gradient.is_sparse, each
            rows = gradient.coalesce().indices()[0]
            others = torch.ones(len(parameter), dtype=torch.bool).index_fill_(0, rows, False)
            assert others.sum() > 1000
            assert torch.equal(parameter[others], before[each][others]), each
            assert not torch.equal(parameter, before[each])


def test_the_window_is_a_mean_or_a_sum() -> None:
    with pytest.raises(InputError, match="combine is 'max': give 'mean' or 'sum'"):
        CBOW(build("full", 4, [2, 1]), combine="max")  # type: ignore[arg-type]
