"""Tables of one vector a class, shared with an input embedding or not."""

from __future__ import annotations

from torch import nn

from vastmax.errors import InputError

__all__ = ["tied_table"]


def tied_table(embedding: nn.Embedding | nn.Parameter, num_classes: int, in_features: int) -> nn.Parameter:
    """Return the parameter (V, d) of an embedding; InputError where it has another shape."""
    table = embedding.weight if isinstance(embedding, nn.Embedding) else embedding
    if not isinstance(table, nn.Parameter) or table.shape != (num_classes, in_features):
        raise InputError(
            f"tie_weights needs an nn.Embedding or an nn.Parameter of shape {(num_classes, in_features)}, "
            f"got {type(table).__name__} of shape {tuple(getattr(table, 'shape', ()))}."
        )
    return table
