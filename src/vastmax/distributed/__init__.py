"""Output layers whose classes are spread over processes, and models that several train, on ``torch.distributed``.

A training step of a spread layer takes three collectives, whatever V is, for one or several positives a row. The hidden
vectors and targets of all rows go to every process. Layers with logits of all their classes, or of a row's cluster or
class, return two numbers and an expected vector a row and process, and the targets' vectors; layers that look at few
classes return the vectors of those. On the way back three numbers a row and the gradients of projections that all
processes have go to everyone, with the gradients of vectors that were sent. ``cnn`` takes one more, for the gradient of
its network, which all have; ``partial`` one for its search; the importance samplers two for each round of draws after
the first where rows share them, one where each draws for itself, and two where a row takes all classes.
"""

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("vastmax.distributed needs PyTorch: pip install 'vastmax[torch]'.") from error

if not _torch.distributed.is_available():
    raise ImportError("vastmax.distributed needs torch.distributed: install a PyTorch that was built with it.")

from vastmax.distributed import (  # noqa: F401  # they register the ops of spread tables
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
