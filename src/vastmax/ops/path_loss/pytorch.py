"""All decisions of a batch as one ragged gather, without padding to the longest path."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.gathered_logits import ragged_logits
from vastmax.ops.tensors import ragged_range
from vastmax.ops.values import Paths


def path_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    paths: Paths,
    leaves: Tensor,
    rows: Tensor,
    *,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.path_loss`."""
    start = paths.offsets[leaves]
    places, ends, _ = ragged_range(start, paths.offsets[leaves + 1] - start)
    logits = ragged_logits(hidden, weight, bias, paths.nodes[places].long(), rows[ends], sparse=sparse)
    decisions = F.logsigmoid(logits * paths.signs[places])
    return decisions.new_zeros(len(leaves)).index_add(0, ends, decisions, alpha=-1)
