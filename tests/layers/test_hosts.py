"""Optimisers without support for sparse gradients raise one clear sentence at the first step; others just work."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V, batch
from vastmax.errors import InputError
from vastmax.layers import AdaptiveSoftmax, OutputLayer, build
from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer

COUNTS = list(range(V, 0, -1))


class Model(nn.Module):
    """A matrix followed by an output layer, returning the loss."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.body = nn.Linear(D, D, dtype=torch.float64)
        self.layer = layer

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.layer(self.body(hidden), target)


def stepped(layer: OutputLayer | None = None) -> Model:
    """Return a model with gradients."""
    torch.manual_seed(0)
    model = Model(build("sampled", D, COUNTS, num_samples=4, dtype=torch.float64) if layer is None else layer)
    model(*batch()).backward()
    return model


def torchs(takes_sparse: bool) -> list[type[torch.optim.Optimizer]]:
    """Return torch's optimisers by documented sparse support: SGD, Adagrad, SparseAdam and LBFGS have it."""
    kinds = [
        kind for kind in vars(torch.optim).values() if isinstance(kind, type) and kind is not torch.optim.Optimizer
    ]
    names = {"SGD", "Adagrad", "SparseAdam", "LBFGS"}
    others = {"Muon"}  # accepts matrices only, so no layer with biases
    return [kind for kind in kinds if (kind.__name__ in names) == takes_sparse and kind.__name__ not in others]


@pytest.mark.parametrize("kind", torchs(False), ids=lambda kind: kind.__name__)
def test_an_optimizer_of_dense_gradients_says_so(kind: type[torch.optim.Optimizer]) -> None:
    model = stepped()
    before = copy.deepcopy(model.state_dict())
    sentence = (
        rf"^{kind.__name__} does not support sparse gradients: build the layer with sparse=False, or step it with "
    )
    with pytest.raises(InputError, match=sentence):
        kind(model.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    dense = stepped(build("sampled", D, COUNTS, sparse=False, dtype=torch.float64))
    kind(dense.parameters(), lr=0.1).step()  # type: ignore[call-arg]


@pytest.mark.parametrize("option", [{"weight_decay": 0.1}, {"fused": True}], ids=str)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adagrad])
def test_so_do_options_of_others(kind: Any, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r" with weight_decay or fused does not support sparse gradients: build"):
        kind(stepped().parameters(), lr=0.1, **option).step()


@pytest.mark.parametrize("kind", torchs(True), ids=lambda kind: kind.__name__)
def test_optimizers_of_sparse_gradients_are_left_alone(kind: Any) -> None:
    model = stepped()
    before = model.layer.weight.detach().clone()
    own = model.layer.parameters() if kind is torch.optim.SparseAdam else model.parameters()
    kind(own, lr=0.1).step(*([lambda: 0.0] if kind is torch.optim.LBFGS else []))
    assert not torch.equal(model.layer.weight, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_so_is_our_own(name: str) -> None:
    model = stepped()
    optimizer = SparseAwareOptimizer(model, name)
    before = model.layer.weight.detach().clone()
    optimizer.clip(0.1)
    optimizer.step()
    assert not torch.equal(model.layer.weight, before)


@pytest.mark.parametrize(
    "clip",
    [
        lambda given: nn.utils.clip_grad_norm_(given, 1.0),
        lambda given: nn.utils.clip_grad_norm_(given, 1.0, norm_type=torch.inf),
        lambda given: nn.utils.clip_grad_norm_(given, 1.0, foreach=False),
        lambda given: nn.utils.clip_grad_value_(given, 1.0),
        lambda given: nn.utils.clip_grad_value_(given, 1.0, foreach=False),
    ],
)
def test_clipping_says_so(clip: Callable[..., Any]) -> None:
    with pytest.raises(
        InputError, match=r"^torch does not clip sparse gradients: build the layer with sparse=False, or "
    ):
        clip(list(stepped().parameters()))
    clip(list(stepped(build("sampled", D, COUNTS, sparse=False, dtype=torch.float64)).parameters()))


def test_norms_of_other_sparse_tensors_are_as_they_were() -> None:
    given = torch.tensor([[0.0, 3.0], [4.0, 0.0]]).to_sparse()
    assert float(given.norm()) == float(torch.norm(given)) == 5


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group with this process as its only rank."""
    file = Path(tmp_path_factory.mktemp("group"), "store").as_uri()
    distributed.init_process_group("gloo", init_method=file, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("case", [c for c in CASES if c.build(D, V).sparse_parameters], ids=lambda case: case.id)
def test_distributed_data_parallel_says_so(case: LayerCase) -> None:
    model = Model(case.build(D, V))
    sentence = (
        rf"^DistributedDataParallel does not support the sparse gradients of {type(model.layer).__name__}: build it "
    )
    wrapped = DistributedDataParallel(model)
    with pytest.raises(InputError, match=sentence):
        wrapped(*batch())
    with torch.no_grad():
        assert wrapped(*batch()).isfinite()
    model(*batch()).backward()  # not through the wrapper


@pytest.mark.usefixtures("one_rank")
def test_it_leaves_alone_what_it_does_not_reduce() -> None:
    model = Model(build("sampled", D, COUNTS, num_samples=4, dtype=torch.float64))
    names = [f"layer.{name}" for name in model.layer.sparse_parameters]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    DistributedDataParallel(model)(*batch()).backward()
    assert model.layer.weight.grad.is_sparse
    frozen = Model(build("sampled", D, COUNTS, num_samples=4, dtype=torch.float64))
    frozen.layer.requires_grad_(False)
    DistributedDataParallel(frozen)(*batch()).backward()
    assert frozen.body.weight.grad is not None


@pytest.mark.usefixtures("one_rank")
def test_a_cluster_that_no_row_reaches_has_a_gradient_for_other_ranks() -> None:
    torch.manual_seed(0)
    layer = AdaptiveSoftmax(D, V, [3, 9], dtype=torch.float64)
    wrapped = DistributedDataParallel(Model(layer))
    hidden, _ = batch()
    for target in (torch.zeros(6, dtype=torch.int64), torch.full((6,), 5), torch.full((6,), -100)):
        layer.zero_grad()
        (wrapped(hidden, target) if target[0] >= 0 else layer(hidden, target, reduction="sum")).backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in layer.parameters())
        assert not layer.tail_weights[1].grad.any()
