"""Output layers whose classes are spread over processes: :func:`shard_classes` on ``torch.distributed``."""

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("vastmax.distributed needs PyTorch: pip install 'vastmax[torch]'") from error

if not _torch.distributed.is_available():
    raise ImportError("vastmax.distributed needs a PyTorch that was built with torch.distributed.")

from vastmax.distributed import fetched, logits, softmaxes, whole_tables, word_classes  # noqa: F401  # they register ops
from vastmax.distributed.sharding import shard_classes, unshard

__all__ = ["shard_classes", "unshard"]
