"""Output layers whose classes are spread over processes: :func:`shard_classes` on ``torch.distributed``."""

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("vastmax.distributed needs PyTorch: pip install 'vastmax[torch]'") from error

if not _torch.distributed.is_available():
    raise ImportError("vastmax.distributed needs a PyTorch that was built with torch.distributed.")

from vastmax.distributed import chances, exact, fetched  # noqa: F401  # they register the ops of spread tables
from vastmax.distributed.rows import all_rows
from vastmax.distributed.sharding import shard_classes, unshard

__all__ = ["all_rows", "shard_classes", "unshard"]
