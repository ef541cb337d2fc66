"""Operations: tensors in, tensors out; no module, no method."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.ops needs PyTorch: pip install 'vastmax[torch]'") from error

from vastmax.ops.class_softmax import Group, group_by_class, grouped_log_softmax, log_prob_within_class
from vastmax.ops.dtypes import matmul_operands, wide
from vastmax.ops.gathered_logits import Steps, ragged_range, segment_logsumexp, step_logits, target_logits
from vastmax.ops.known_gradient import with_known_gradient
from vastmax.ops.linear_cross_entropy import (
    Part,
    parts_cross_entropy,
    parts_largest,
    parts_log_partition,
    parts_log_softmax,
    parts_topk,
    softmax_,
)
from vastmax.ops.logistic import logistic_loss_
from vastmax.ops.sampled_logits import shared_logits
from vastmax.ops.sparse_gradient import row_gradient, sparse_uses
from vastmax.ops.topk import largest
from vastmax.ops.tree_search import TreeScores, beam_leaves, leaves_above
from vastmax.ops.tree_sweep import TreeSweep

__all__ = [
    "Group",
    "Part",
    "Steps",
    "TreeScores",
    "TreeSweep",
    "beam_leaves",
    "group_by_class",
    "grouped_log_softmax",
    "largest",
    "leaves_above",
    "log_prob_within_class",
    "logistic_loss_",
    "matmul_operands",
    "parts_cross_entropy",
    "parts_largest",
    "parts_log_partition",
    "parts_log_softmax",
    "parts_topk",
    "ragged_range",
    "row_gradient",
    "segment_logsumexp",
    "shared_logits",
    "softmax_",
    "sparse_uses",
    "step_logits",
    "target_logits",
    "wide",
    "with_known_gradient",
]
