"""Optimisers for models with large tables: the rows that a step did not touch cost it nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError("vastmax.optimizers needs PyTorch: pip install 'vastmax[torch]'.") from error

from torch import Tensor, nn

from vastmax.checks import number, one_of, refused
from vastmax.errors import CheckpointError
from vastmax.layers import OutputLayer
from vastmax.ops import adagrad_rows, adam_rows, coalesced, row_gradient

__all__ = ["OPTIMIZERS", "SparseAwareOptimizer", "sparse_parameters"]

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adagrad": ("step", "sum"),
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "sgd": (),
}
"""Every optimiser by name, and what it remembers of each parameter."""


def sparse_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a model whose gradients are sparse: those of output layers and of sparse embeddings."""
    found: dict[int, nn.Parameter] = {}
    for part in module.modules():
        names: Iterable[str] = ()
        if isinstance(part, OutputLayer):
            names = part.sparse_parameters
        elif isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse:
            names = ("weight",)
        for name in names:
            parameter = part.get_parameter(name)
            found[id(parameter)] = parameter
    return list(found.values())


def _adagrad_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    state["step"] += 1
    adagrad_rows(_here(parameter), _here(state["sum"]), rows, gradients, rate)


def _adam_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    if not state:  # before the first step, as SparseAdam has it
        state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
    state["step"] += 1
    moments = _here(state["exp_avg"]), _here(state["exp_avg_sq"])
    adam_rows(_here(parameter), *moments, rows, gradients, state["step"], rate)


def _here(tensor: Any) -> Tensor:
    """Return what this process has of a tensor, which may be spread over several: a DTensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _first_row(tensor: Any) -> int:
    """Return which row of a tensor is the first that this process has: the same number on each, but for the last.

    What PyTorch says of a DTensor's parts takes it time in proportion to its rows.
    """
    if not hasattr(tensor, "to_local"):
        return 0
    rows, mesh = tensor.shape[0], tensor.device_mesh
    return min(rows, -(-rows // mesh.size()) * mesh.get_local_rank())


def _groups(tensor: Any) -> tuple[Any, ...]:
    """Return the groups of processes over which the parts of a tensor lie; none where each process has it whole."""
    if not hasattr(tensor, "to_local"):
        return ()
    mesh, placements = tensor.device_mesh, tensor.placements
    return tuple(mesh.get_group(place) for place, each in enumerate(placements) if not each.is_replicate())


def _part(parameter: Any) -> Tensor:
    """Return a spread parameter's part here, whose gradient is the memory of what the parameter's has here."""
    own = _here(parameter).detach()
    gradient = parameter.grad
    if gradient is None:
        return own
    if gradient.is_sparse:
        parameter.grad = gradient = coalesced(gradient)
        rows = gradient._indices()[0] - _first_row(parameter)
        own.grad = row_gradient(rows, gradient._values(), own.shape, sparse=True, rising=True)
    else:
        own.grad = _here(gradient)
    return own


def _sgd_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    _here(parameter).index_add_(0, rows, gradients.to(parameter.dtype), alpha=-rate)


_ROW_STEPS = {
    torch.optim.Adagrad: _adagrad_step,
    torch.optim.SparseAdam: _adam_step,
    torch.optim.SGD: _sgd_step,
}
"""Optimisers whose step on met rows is ours, in the state that is theirs."""


class SparseAwareOptimizer:
    """One optimiser over dense and sparse gradients, which leaves untouched rows of a sparse table alone.

    ``sgd`` and ``adagrad`` take both kinds of gradients as they come; ``adam`` is torch's Adam on the dense parameters
    and the step of its SparseAdam, which moves the moments of met rows only, on the sparse ones
    (:func:`vastmax.ops.adam_rows`). There is no weight decay and no momentum: both would touch every row at every step.

    References:
        Duchi, Hazan, Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, 2011,
        https://jmlr.org/papers/v12/duchi11a.html; Kingma, Ba, *Adam: A Method for Stochastic Optimization*, 2015,
        https://arxiv.org/abs/1412.6980.

    Parameters may be whole, or DTensors spread over processes by FSDP2 or :func:`vastmax.distributed.shard_classes`,
    in one optimiser: :meth:`clip` has the norm of all. ``torch.amp.GradScaler`` takes it as it takes torch's own;
    over processes ``torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler`` does.

    Args:
        module: the model, or several such as a body and its output layer.
        name: "adagrad", "adam" or "sgd"; InputError for others.
        learning_rate: above 0; InputError for others.

    Example:
        >>> from vastmax.layers import build
        >>> layer = build("sampled", 8, [5, 3, 2, 1], num_samples=2)
        >>> optimizer = SparseAwareOptimizer(layer, "adagrad", 0.1)
        >>> layer(torch.randn(4, 8), torch.tensor([0, 1, 0, 1])).backward()
        >>> optimizer.step()
    """

    def __init__(
        self, module: nn.Module | Sequence[nn.Module], name: str = "adagrad", learning_rate: float = 0.1
    ) -> None:
        one_of("optimizer", name, OPTIMIZERS)
        number("learning_rate", learning_rate, 0, above=True)
        if not isinstance(module, nn.Module):
            if not isinstance(module, Sequence) or not all(isinstance(each, nn.Module) for each in module):
                raise refused("module", module, "an nn.Module, or several in a list")
            module = nn.ModuleList(module)
        self.name = name
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        sparse = {id(parameter) for parameter in sparse_parameters(module)}
        # torch's kernels over many tensors take no whole ones beside spread ones
        foreach = False if len({getattr(each, "device_mesh", None) for each in self._parameters}) > 1 else None
        self._optimizers: list[torch.optim.Optimizer] = []
        if name == "adam":
            dense = [parameter for parameter in self._parameters if id(parameter) not in sparse]
            rows = [parameter for parameter in self._parameters if id(parameter) in sparse]
            self._optimizers += [torch.optim.Adam(dense, lr=learning_rate, foreach=foreach)] if dense else []
            self._optimizers += [torch.optim.SparseAdam(rows, lr=learning_rate)] if rows else []
        elif name == "adagrad":
            self._optimizers = [torch.optim.Adagrad(self._parameters, lr=learning_rate, foreach=foreach)]
        else:
            self._optimizers = [torch.optim.SGD(self._parameters, lr=learning_rate, foreach=foreach)]
        self._learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; set it to follow a schedule."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = value
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = value

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What ``torch.amp.GradScaler`` unscales: the parameters, of spread ones this process's part."""
        return [{"params": [_part(each) if hasattr(each, "to_local") else each for each in self._parameters]}]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the parameters; with a learning rate of 0 they stay where they are."""
        if self._learning_rate == 0:
            return
        with torch.sparse.check_sparse_tensor_invariants(False):  # said aloud, as torch warns of silence
            stepped = [each for optimizer in self._optimizers for each in self._step_rows(optimizer)]
            gradients = [each.grad for each in stepped]
            for each in stepped:
                each.grad = None  # torch is to pass by
            try:
                for optimizer in self._optimizers:
                    optimizer.step()
            finally:
                for each, gradient in zip(stepped, gradients, strict=True):
                    each.grad = gradient

    @torch.no_grad()
    def _step_rows(self, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
        """Take an optimiser's step for the parameters with sparse gradients, and return which these are.

        torch's own passes over such a gradient many times.
        """
        if (step := _ROW_STEPS.get(type(optimizer))) is None:
            return []
        stepped = []
        for parameter in (each for group in optimizer.param_groups for each in group["params"]):
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse and gradient.sparse_dim() == 1:
                parameter.grad = gradient = coalesced(gradient)
                rows, values = gradient._indices()[0], gradient._values()
                step(parameter, optimizer.state[parameter], rows - _first_row(parameter), values, self._learning_rate)
                stepped.append(parameter)
        return stepped

    @torch.no_grad()
    def clip(self, max_norm: float) -> float:
        """Scale all gradients down together where their joint Euclidean norm is above ``max_norm``; return that norm.

        The norm is over all processes where parameters are spread; then all of them call this.
        Sparse gradients are summed row by row first: rows that a batch met twice count with their sum.
        """
        values: list[Tensor] = []
        squares: dict[tuple[Any, ...], float] = {}  # by the groups of processes that have parts to add
        for parameter in self._parameters:
            groups = _groups(parameter)
            squares.setdefault(groups, 0.0)  # on processes without a gradient too: all are to add
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = coalesced(parameter.grad)
                values.append(parameter.grad._values() if parameter.grad.is_sparse else _here(parameter.grad))
                dtype = torch.promote_types(values[-1].dtype, torch.float32)
                squares[groups] += float(torch.linalg.vector_norm(values[-1], dtype=dtype)) ** 2
        total = squares.pop((), 0.0)
        for groups, square in squares.items():
            summed = torch.tensor(square, dtype=torch.float64, device=self._parameters[0].device)
            for group in groups:
                torch.distributed.all_reduce(summed, group=group)
            total += float(summed)
        norm = math.sqrt(total)
        if norm > max_norm:  # not where it is NaN: the loss says so too
            for each in values:
                each.mul_(max_norm / norm)
        return norm

    def state_tensors(self) -> dict[str, Tensor]:
        """Return what the optimisers remember, by names that :meth:`load_state_tensors` knows again."""
        return {
            f"{number}.{place}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
            for number, optimizer in enumerate(self._optimizers)
            for place, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }

    def of_parameter(self, name: str) -> nn.Parameter | None:
        """Return the parameter whose shape a tensor of :meth:`state_tensors` has; None for a number or another name."""
        number, _, rest = name.partition(".")
        place, _, last = rest.partition(".")
        if last == "step" or not (number.isdecimal() and place.isdecimal() and int(number) < len(self._optimizers)):
            return None
        parameters = [each for group in self._optimizers[int(number)].param_groups for each in group["params"]]
        return parameters[int(place)] if int(place) < len(parameters) else None

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state_tensors` returned; CheckpointError for another optimiser's or model's."""
        states: list[dict[int, dict[str, Any]]] = [{} for _ in self._optimizers]
        try:
            for key, value in tensors.items():
                number, place, name = key.split(".")
                if name not in OPTIMIZERS[self.name]:
                    raise KeyError(name)
                # SparseAdam counts its steps in a Python number, all others in a tensor
                plain = isinstance(self._optimizers[int(number)], torch.optim.SparseAdam) and name == "step"
                states[int(number)].setdefault(int(place), {})[name] = int(value) if plain else value
            for optimizer, state in zip(self._optimizers, states, strict=True):
                parameters = [each for group in optimizer.param_groups for each in group["params"]]
                for place, known in state.items():
                    if missing := [each for each in OPTIMIZERS[self.name] if each not in known]:
                        raise KeyError(missing[0])
                    for name, value in known.items():
                        if name != "step" and value.shape != parameters[place].shape:
                            raise ValueError(f"{name} of shape {tuple(value.shape)}")
                        if isinstance(value, Tensor) and not value.is_floating_point():
                            raise ValueError(f"{name} of type {value.dtype}")
                optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        except (IndexError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"the optimiser's state does not match this model and {self.name} ({error}): build those that it is of."
            ) from error
