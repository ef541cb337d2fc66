"""SparseAwareOptimizer: one optimiser for dense and sparse gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from vastmax.checks import number, one_of, refused, whole
from vastmax.errors import CheckpointError, InputError
from vastmax.layers import OutputLayer
from vastmax.ops import coalesced
from vastmax.optimizers.row_steps import ROW_STEPS, first_row, here, process_groups, shard_with_gradient, start_adam

__all__ = ["OPTIMIZERS", "SparseAwareOptimizer", "sparse_parameters"]

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adagrad": ("step", "sum"),
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "sgd": (),
}
"""Every optimiser by name, with the entries of its state for a parameter."""


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


_WITHOUT_EFFECT = {"lr", "foreach", "fused", "capturable", "differentiable"}  # options that leave that step as it is


def _plain(option: Any) -> Any:
    """Return an option of a parameter group; a tuple that a checkpoint returned as a list is a tuple again."""
    return tuple(option) if isinstance(option, list) else option


class SparseAwareOptimizer(torch.optim.Optimizer):
    """One optimiser for dense and sparse gradients; rows of a sparse table without a gradient cost nothing.

    ``sgd`` and ``adagrad`` step both kinds of gradients alike. ``adam`` is torch's Adam for dense gradients and its
    SparseAdam for sparse ones, which updates the moments only of rows with a gradient
    (:func:`vastmax.ops.adam_rows`). There is no weight decay and no momentum: both would update every row in every
    step.

    It is a ``torch.optim.Optimizer``: learning-rate schedulers, ``state_dict``, step hooks and
    ``torch.amp.GradScaler`` work as with torch's own. Clip with :meth:`clip`; ``torch.nn.utils.clip_grad_norm_``
    refuses sparse gradients.
    Parameters may be plain, or DTensors sharded by FSDP2 or :func:`vastmax.distributed.shard_classes`, together in one
    optimiser. A ``ShardedGradScaler`` then takes :attr:`shards` in place of the optimiser.

    References:
        Duchi, Hazan, Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, 2011,
        https://jmlr.org/papers/v12/duchi11a.html; Kingma, Ba, *Adam: A Method for Stochastic Optimization*, 2015,
        https://arxiv.org/abs/1412.6980.

    Args:
        module: the model, or several, such as a body and its output layer; InputError if no parameter is trainable.
        name: "adagrad", "adam" or "sgd"; InputError for others.
        learning_rate: above 0; InputError for others.

    Example:
        >>> from vastmax.layers import build
        >>> layer = build("sampled", 8, [5, 3, 2, 1], num_samples=2)
        >>> optimizer = SparseAwareOptimizer(layer, "adagrad", 0.1)
        >>> schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        >>> layer(torch.randn(4, 8), torch.tensor([0, 1, 0, 1])).backward()
        >>> norm = optimizer.clip(1.0)
        >>> optimizer.step()
        >>> schedule.step()
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
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        if not parameters:
            raise InputError("module has no trainable parameter: give one with requires_grad=True.")
        sparse = {id(parameter) for parameter in sparse_parameters(module)}
        # torch's multi-tensor kernels take no plain tensors together with DTensors
        foreach = False if len({getattr(each, "device_mesh", None) for each in parameters}) > 1 else None
        self._optimizers: list[torch.optim.Optimizer] = []
        if name == "adam":
            dense = [parameter for parameter in parameters if id(parameter) not in sparse]
            rows = [parameter for parameter in parameters if id(parameter) in sparse]
            self._optimizers += [torch.optim.Adam(dense, lr=learning_rate, foreach=foreach)] if dense else []
            self._optimizers += [torch.optim.SparseAdam(rows, lr=learning_rate)] if rows else []
        elif name == "adagrad":
            self._optimizers = [torch.optim.Adagrad(parameters, lr=learning_rate, foreach=foreach)]
        else:
            self._optimizers = [torch.optim.SGD(parameters, lr=learning_rate, foreach=foreach)]
        super().__init__([each.param_groups[0] for each in self._optimizers], self._optimizers[0].defaults)
        for each in self._optimizers:
            self.state.update(each.state)
        self._share()

    def _share(self) -> None:
        """Give torch's optimisers a parameter group each, and the one state."""
        for optimizer, group in zip(self._optimizers, self.param_groups, strict=True):
            optimizer.param_groups, optimizer.state = [group], self.state

    def __getstate__(self) -> dict[str, Any]:
        own = ("name", "_optimizers", "_frozen")
        return {**super().__getstate__(), **{each: self.__dict__[each] for each in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for optimizer, group in zip(self._optimizers, self.param_groups, strict=True):
            optimizer.__setstate__({"param_groups": [group], "state": self.state})  # adds options of newer versions
            for known in (self.state.get(each, {}) for each in group["params"]):
                if "step" in known:  # of any type in a file; SparseAdam counts in an int, the others in a tensor
                    steps = int(known["step"])
                    is_int = isinstance(optimizer, torch.optim.SparseAdam)
                    known["step"] = steps if is_int else torch.tensor(float(steps), dtype=torch.float32)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Raise InputError: all parameters are given at construction, where sparse and dense ones are separated."""
        if len(self.param_groups) == len(self._optimizers):
            raise InputError("parameters cannot be added: construct the optimiser with all modules in a list.")
        super().add_param_group(param_group)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; set it to a number of 0 or more (InputError), or use a scheduler."""
        return float(self.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        value = number("learning_rate", value.item() if isinstance(value, Tensor) else value, 0)
        for group in self.param_groups:
            group["lr"] = value

    @cached_property
    def shards(self) -> Shards:
        """The object to pass to a ``ShardedGradScaler`` of torch.distributed.fsdp if parameters are DTensors."""
        return Shards(self)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update the parameters.

        Args:
            closure: recomputes the loss and its gradients; optional.

        Returns:
            The loss of ``closure``, else None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if any(parameter.requires_grad and parameter.grad is not None for parameter in self._frozen):
            raise InputError(
                "a parameter has a gradient that was frozen when the optimiser was made: make another after unfreezing."
            )
        self._share()
        with torch.sparse.check_sparse_tensor_invariants(False):  # explicit, as torch warns about the default
            stepped = [parameter for each in self._optimizers for parameter in self._step_rows(each)]
            gradients = [each.grad for each in stepped]
            for each in stepped:
                each.grad = None  # so that torch skips it
            try:
                for optimizer in self._optimizers:
                    optimizer.step()
            finally:
                for each, gradient in zip(stepped, gradients, strict=True):
                    each.grad = gradient
        return loss

    @torch.no_grad()
    def _step_rows(self, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
        """Step the parameters with sparse gradients and return them.

        torch's own optimisers make many passes over such a gradient. They step those whose options were changed.
        """
        step, group = ROW_STEPS.get(type(optimizer)), optimizer.param_groups[0]
        adam = isinstance(optimizer, torch.optim.SparseAdam)
        if adam and (group.get("weight_decay") or group.get("amsgrad")):
            raise InputError("weight_decay and amsgrad would update every row of a sparse table: leave them out.")
        options = optimizer.defaults.keys() - _WITHOUT_EFFECT
        if step is None or any(_plain(group.get(name)) != optimizer.defaults[name] for name in options):
            return []
        stepped = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if adam and gradient is not None and not gradient.is_sparse and group["lr"] == 0:
                # torch.distributed.checkpoint creates the state that it loads into by such a step
                start_adam(parameter, self.state[parameter])
                stepped.append(parameter)
            elif gradient is not None and gradient.is_sparse and gradient.sparse_dim() == 1:
                parameter.grad = gradient = coalesced(gradient)
                rows, values = gradient._indices()[0], gradient._values()
                step(parameter, self.state[parameter], rows - first_row(parameter), values, float(group["lr"]))
                stepped.append(parameter)
        return stepped

    @torch.no_grad()
    def clip(self, max_norm: float) -> float:
        """Clip the gradients by their joint Euclidean norm: scale all so that it is at most ``max_norm``.

        Rows that occur several times in a batch count with the sum of their gradients. With sharded parameters the
        norm is over all processes, and all of them must call this.

        Args:
            max_norm: above 0; InputError for others. Infinity only measures.

        Returns:
            The norm before clipping; if it is NaN, gradients are unchanged.
        """
        if not isinstance(max_norm, Real) or not max_norm > 0:
            raise refused("max_norm", max_norm, "a number above 0")
        values: list[Tensor] = []
        squares: dict[tuple[Any, ...], float] = {}  # by the process groups over which to sum
        parameters = self._parameters()
        for parameter in parameters:
            groups = process_groups(parameter)
            squares.setdefault(groups, 0.0)  # without a gradient too: every process joins the sum
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = coalesced(parameter.grad)
                values.append(parameter.grad._values() if parameter.grad.is_sparse else here(parameter.grad))
                dtype = torch.promote_types(values[-1].dtype, torch.float32)
                squares[groups] += float(torch.linalg.vector_norm(values[-1], dtype=dtype)) ** 2
        total = squares.pop((), 0.0)
        for groups, square in squares.items():
            summed = torch.tensor(square, dtype=torch.float64, device=parameters[0].device)
            for group in groups:
                torch.distributed.all_reduce(summed, group=group)
            total += float(summed)
        norm = math.sqrt(total)
        if norm > max_norm:  # false for NaN, which the loss shows too
            for each in values:
                each.mul_(max_norm / norm)
        return norm

    # --- checkpoints ---

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict()`` returned, without a copy; CheckpointError for another optimiser's or model's."""
        try:
            saved = [key for group in state_dict["param_groups"] for key in group["params"]]
            parameters = dict(zip(saved, self._parameters(), strict=True))
            for group in state_dict["param_groups"]:
                number("lr", float(group["lr"]), 0)
            if self.name == "adagrad" and (missing := parameters.keys() - state_dict["state"].keys()):
                raise KeyError(min(map(str, missing)))  # Adagrad has state from the start, Adam from the first step
            for key, state in state_dict["state"].items():
                self._check(parameters[key], state)
            super().load_state_dict(state_dict)
        except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise self._mismatch(error) from error

    def _check(self, parameter: Tensor, state: Mapping[str, Any]) -> None:
        """Raise an error that says what is wrong with the state of a parameter, if anything is."""
        names = OPTIMIZERS[self.name]
        if state.keys() != set(names):
            raise KeyError(*sorted(map(str, state.keys() ^ set(names))))
        for name in names:
            value = state[name]
            if name == "step":
                whole(name, int(value), 0)
            elif value.shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(value.shape)}")
            elif not value.is_floating_point():
                raise ValueError(f"{name} of type {value.dtype}")

    def _mismatch(self, reason: object) -> CheckpointError:
        return CheckpointError(
            f"the optimiser's state does not match this model and {self.name} ({reason}): "
            "build the model and the optimiser that it was saved from."
        )

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the state as tensors by name, for a file of tensors; :meth:`load_state_tensors` takes them back.

        A name is ``GROUP.PLACE.WHAT``. Moments and sums have the shape of their parameter, steps are scalars.
        """
        return {
            f"{place}.{i}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
            for place, group in enumerate(self.param_groups)
            for i, parameter in enumerate(group["params"])
            for name, value in self.state.get(parameter, {}).items()
        }

    def of_parameter(self, name: str) -> nn.Parameter | None:
        """Return the parameter of which :meth:`state_tensors` names a sum or moment, of the same shape; else None."""
        group, _, rest = name.partition(".")
        place, _, last = rest.partition(".")
        if last == "step" or not (group.isdecimal() and place.isdecimal() and int(group) < len(self.param_groups)):
            return None
        parameters = self.param_groups[int(group)]["params"]
        return parameters[int(place)] if int(place) < len(parameters) else None

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what :meth:`state_tensors` returned; CheckpointError for another optimiser's or model's state."""
        names = [f"{place}.{i}" for place, group in enumerate(self.param_groups) for i in range(len(group["params"]))]
        places = {name: place for place, name in enumerate(names)}
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            parameter, _, name = key.rpartition(".")
            if parameter not in places:
                raise self._mismatch(key)
            state.setdefault(places[parameter], {})[name] = value
        self.load_state_dict({"state": state, "param_groups": self.state_dict()["param_groups"]})


class Shards:
    """The local shards of an optimiser's parameters and their gradients, as a gradient scaler needs them.

    A scaler unscales plain tensors and DTensors in one call, which torch refuses for a mixture: here all are plain.
    """

    def __init__(self, optimizer: SparseAwareOptimizer) -> None:
        self._optimizer = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups, with the shards that this process holds as parameters."""
        groups = self._optimizer.param_groups
        return [{**group, "params": list(map(shard_with_gradient, group["params"]))} for group in groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step the optimiser."""
        return self._optimizer.step(closure)
