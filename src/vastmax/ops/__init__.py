"""Functional operations: tensors in, tensors out, independent of modules and methods.

An op with several backends is one function: :func:`backend_of` returns the backend that computes it, and :func:`using`
selects one. The "reference" backend is the formula in plain PyTorch; in float64 it is the standard for the others.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.ops needs PyTorch: pip install 'vastmax[torch]'.") from error

from vastmax.ops.adagrad_rows import adagrad_rows
from vastmax.ops.adam_rows import adam_rows
from vastmax.ops.alias import (
    ALIAS_BITS,
    AliasTables,
    alias_choice,
    alias_draws,
    alias_entries,
    alias_masses,
    alias_tables,
)
from vastmax.ops.bigrams import adapt_bigrams, bigram_probabilities, draw_bigrams, unigram_share
from vastmax.ops.class_softmax import class_softmax
from vastmax.ops.class_softmax.pytorch import group_by_class, grouped_log_softmax
from vastmax.ops.coalesced import coalesced
from vastmax.ops.derived import Derived
from vastmax.ops.dispatch import (
    backend_of,
    for_table,
    in_pytorch,
    is_batched,
    noting_backends,
    outside_transforms,
    plain,
    register_for_tables,
    under_transform,
    using,
)
from vastmax.ops.gathered_logits import gathered_logits, ragged_logits
from vastmax.ops.guarded_draws import guarded_draws
from vastmax.ops.linear_cross_entropy import (
    linear_cross_entropy,
    linear_log_partition,
    linear_log_softmax,
    linear_logits,
    linear_topk,
)
from vastmax.ops.linear_cross_entropy.pytorch import partial_cross_entropy
from vastmax.ops.log_sums import log_sums
from vastmax.ops.path_loss import path_loss
from vastmax.ops.row_estimates import row_estimates
from vastmax.ops.sampled_loss import SampledLoss, sampled_loss
from vastmax.ops.sum_tree import add_up, range_sums, tree_draws, tree_update
from vastmax.ops.table_rows import by_rows, table_rows, table_sum
from vastmax.ops.tensors import (
    differentiable_gradients,
    matmul_operands,
    ragged_range,
    row_gradient,
    segment_logsumexp,
    sparse_uses,
    wide,
    wide_linear,
)
from vastmax.ops.together import Together, together
from vastmax.ops.topk import topk
from vastmax.ops.tree_leaves import TreeScores, TreeSweep, beam_leaves, leaves_above
from vastmax.ops.tree_paths import climbed_paths
from vastmax.ops.values import BigramTables, Draws, GuardedDraws, Part, Paths, WordClasses

__all__ = [
    "ALIAS_BITS",
    "AliasTables",
    "BigramTables",
    "Derived",
    "Draws",
    "GuardedDraws",
    "Part",
    "Paths",
    "SampledLoss",
    "Together",
    "TreeScores",
    "TreeSweep",
    "WordClasses",
    "adagrad_rows",
    "adam_rows",
    "adapt_bigrams",
    "add_up",
    "alias_choice",
    "alias_draws",
    "alias_entries",
    "alias_masses",
    "alias_tables",
    "backend_of",
    "beam_leaves",
    "bigram_probabilities",
    "by_rows",
    "class_softmax",
    "climbed_paths",
    "coalesced",
    "differentiable_gradients",
    "draw_bigrams",
    "for_table",
    "gathered_logits",
    "group_by_class",
    "grouped_log_softmax",
    "guarded_draws",
    "in_pytorch",
    "is_batched",
    "leaves_above",
    "linear_cross_entropy",
    "linear_log_partition",
    "linear_log_softmax",
    "linear_logits",
    "linear_topk",
    "log_sums",
    "matmul_operands",
    "noting_backends",
    "outside_transforms",
    "partial_cross_entropy",
    "path_loss",
    "plain",
    "ragged_logits",
    "ragged_range",
    "range_sums",
    "register_for_tables",
    "row_estimates",
    "row_gradient",
    "sampled_loss",
    "segment_logsumexp",
    "sparse_uses",
    "table_rows",
    "table_sum",
    "together",
    "topk",
    "tree_draws",
    "tree_update",
    "under_transform",
    "unigram_share",
    "using",
    "wide",
    "wide_linear",
]
