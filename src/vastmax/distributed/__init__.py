"""Output layers with classes sharded over processes, and data-parallel models, on ``torch.distributed``.

A training step of a sharded layer takes three collectives, whatever V is, for one or several positives per row. The
first gathers the hidden vectors and targets of all rows on every process. In the second, layers with logits of all
classes, or of those in a row's cluster or class, return two numbers and an expected vector per row and process, and the
target vectors; layers that use few classes return the vectors of those. The third, in the backward pass, sends three
numbers per row and the gradients of replicated projections to all processes, and the gradients of the vectors that were
sent. ``cnn`` takes one more, for the gradient of its replicated network; ``partial`` one for its search; the importance
samplers two per round of draws after the first if rows share draws, one if each row draws for itself, and two if a row
takes all classes.
"""

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("vastmax.distributed needs PyTorch: pip install 'vastmax[torch]'.") from error

if not _torch.distributed.is_available():
    raise ImportError("vastmax.distributed needs torch.distributed: install a PyTorch that was built with it.")

from vastmax.distributed import (  # noqa: F401  # they register the ops of sharded tables
    chances,
    fetched,
    logits,
    softmaxes,
    whole_tables,
    word_classes,
)
from vastmax.distributed.batch import from_each
from vastmax.distributed.rows import all_rows
from vastmax.distributed.sharding import shard_classes, unshard
from vastmax.distributed.tables import own_part, spread_like
from vastmax.distributed.together import Together, whole_on_first

__all__ = [
    "Together",
    "all_rows",
    "from_each",
    "own_part",
    "shard_classes",
    "spread_like",
    "unshard",
    "whole_on_first",
]
