"""Optimisers for models with large tables: rows without a gradient cost a step nothing."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.optimizers needs PyTorch: pip install 'vastmax[torch]'.") from error

from vastmax.optimizers.sparse_aware import OPTIMIZERS, SparseAwareOptimizer, sparse_parameters

__all__ = ["OPTIMIZERS", "SparseAwareOptimizer", "sparse_parameters"]
