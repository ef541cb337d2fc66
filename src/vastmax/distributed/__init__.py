"""Output layers whose classes are spread over processes, and models that several train, on ``torch.distributed``."""

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
