"""Clear errors where the code around a layer does not support its sparse gradients.

There are three such places: :class:`~torch.nn.parallel.DistributedDataParallel` in backward, gradient clipping, and the
optimiser's step. Trainers (Lightning, accelerate, transformers) go through these. PyTorch fails in each with an error
of its own; this module raises an InputError in the same cases and changes nothing else. The kernels below are for
operations that PyTorch lacks for sparse tensors, and the hook checks only PyTorch's own optimisers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import LBFGS, SGD, Adagrad, Optimizer, SparseAdam
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vastmax.errors import InputError

__all__ = ["check_host"]

_TAKE_BOTH = (SGD, Adagrad, SparseAdam, LBFGS)
_TAKE_DENSE = tuple(
    kind
    for kind in vars(torch.optim).values()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer and kind not in _TAKE_BOTH
)


def check_host(layer: nn.Module, sparse: Iterable[str]) -> None:
    """Raise InputError if ``DistributedDataParallel`` would reduce the gradients of these parameters.

    It can be detected only inside its forward pass and outside compiled code; elsewhere its own error appears.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return
    around = getattr(DistributedDataParallel, "_active_ddp_module", None)
    if around is None:
        return
    reduced = {id(each) for name, each in around.module.named_parameters() if name not in around.parameters_to_ignore}
    for name in sparse:
        parameter = layer.get_parameter(name)
        if parameter.requires_grad and id(parameter) in reduced:
            raise InputError(
                f"DistributedDataParallel does not support the sparse gradients of {type(layer).__name__}: "
                "build it with sparse=False."
            )


def _check_optimizer(optimizer: Optimizer, *_: Any) -> None:
    if not isinstance(optimizer, (*_TAKE_DENSE, *_TAKE_BOTH)):
        return
    for group in optimizer.param_groups:
        sparse = [each for each in group["params"] if each.grad is not None and each.grad.is_sparse]
        dense = isinstance(optimizer, _TAKE_DENSE) or group.get("weight_decay") or group.get("fused")
        sharded = any(hasattr(each, "to_local") for each in sparse)
        if sparse and (dense or sharded):
            options = "" if isinstance(optimizer, _TAKE_DENSE) or sharded else " with weight_decay or fused"
            of = " of classes sharded over processes" if sharded and not dense else ""
            raise InputError(
                f"{type(optimizer).__name__}{options} does not support sparse gradients{of}: build the layer with "
                "sparse=False, or step it with vastmax.optimizers.SparseAwareOptimizer."
            )


def _check_clipping(*_: Any, **__: Any) -> NoReturn:
    raise InputError(
        "torch does not clip sparse gradients: build the layer with sparse=False, or clip with "
        "vastmax.optimizers.SparseAwareOptimizer.clip."
    )


register_optimizer_step_pre_hook(_check_optimizer)
_library = torch.library.Library("aten", "IMPL")
for _name in ("linalg_vector_norm", "clamp_", "clamp_min_"):  # called by clip_grad_norm_ and clip_grad_value_
    for _key in ("SparseCPU", "SparseCUDA"):
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{_name}", _key):
            _library.impl(_name, _check_clipping, _key)
