"""Sampled softmax for two towers: items come from a network, and the batch's other items stand against each query."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from vastmax.checks import one_of, refused
from vastmax.errors import InputError
from vastmax.layers.base.sampling_layer import same_group
from vastmax.ops import Draws, sampled_loss, wide

__all__ = ["in_batch_softmax"]


def in_batch_softmax(
    queries: Tensor,
    items: Tensor,
    log_prob: Tensor,
    ids: Tensor | None = None,
    *,
    group: Tensor | None = None,
    correct_target: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Return the sampled softmax's loss of queries whose item stands in the same place, in nats.

    The other items of the batch are the samples: each is drawn as often as it is an item of the data, so popular items
    would be pushed down by their popularity, were their logits not corrected for it. For items that have vectors of
    their own, in a table, use ``SampledSoftmax(…, in_batch=True)``.

    References:
        Yi, Yang, Hong, Cheng, Heldt, Kumthekar, Zhao, Wei, Chi, *Sampling-Bias-Corrected Neural Modeling for Large
        Corpus Item Recommendations*, 2019, https://doi.org/10.1145/3298689.3346996 (with ``correct_target``).

    Args:
        queries: (N, d).
        items: (N, d), scores are the products; scale both for cosines or a temperature.
        log_prob: (N,) log Q of the items: how likely each is to be a batch's item, as of
            ``UnigramProposal(counts, power=1).log_prob(ids)``.
        ids: (N,) int64, which items they are: the same item elsewhere in the batch is then no sample of a query.
        group: (N,) whole numbers, as of users: the items of one group are no samples of one another's queries.
        correct_target: whether the logit of a query's own item is corrected as well, as in the paper; see
            SampledSoftmax.
        reduction: "mean", "sum", or "none" for (N,).

    Raises:
        InputError: where shapes do not fit.

    Example:
        >>> queries, items = torch.randn(4, 8), torch.randn(4, 8)
        >>> in_batch_softmax(queries, items, torch.full((4,), -3.0)).shape
        torch.Size([])
    """
    if queries.dim() != 2 or items.shape != queries.shape or log_prob.shape != queries.shape[:1]:
        raise InputError(
            f"queries, items and log_prob are of shapes {tuple(queries.shape)}, {tuple(items.shape)} and "
            f"{tuple(log_prob.shape)}: give (N, d), (N, d) and (N,)."
        )
    if ids is not None and ids.shape != log_prob.shape:
        raise refused("ids", ids, f"one a query, of shape {tuple(log_prob.shape)}")
    if group is not None and group.shape != log_prob.shape:
        raise refused("group", group, f"one a query, of shape {tuple(log_prob.shape)}")
    one_of("reduction", reduction, ("mean", "sum", "none"))
    places = torch.arange(len(queries), device=queries.device)
    names = places if ids is None else ids
    rows, same = (names[:, None] == names).nonzero(as_tuple=True)
    excluded = same_group(places, group)
    others = len(queries) - len(excluded[0]) / max(1, len(queries))
    expected = log_prob.double() + math.log(max(1.0, others))
    of_target = expected.to(wide(queries.dtype))
    of_samples = of_target.masked_fill(of_target == -torch.inf, torch.inf)  # not to be expected: as if it were not here
    draws = Draws(places, torch.ones_like(of_target), of_samples, of_target, (rows, same), excluded)
    kind = "softmax-target-corrected" if correct_target else "softmax"
    loss = sampled_loss(kind, queries, items, None, places, draws)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()
