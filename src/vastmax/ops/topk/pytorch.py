"""Maxima of chunks first, then only the chunks that may contain one of the largest."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 64


def topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.topk`; faster than torch's if there are many columns.

    The k largest are in the k chunks with the largest maxima: one pass for the maxima, then two small searches.
    """
    columns = values.shape[1]
    if columns < 4 * _CHUNK * k:
        return tuple(values.topk(k))  # type: ignore[return-value]
    chunked = columns // _CHUNK * _CHUNK
    chunks = values[:, :chunked].unflatten(1, (-1, _CHUNK)).amax(-1).topk(k).indices
    steps = torch.arange(columns, device=values.device)
    among = (chunks[:, :, None] * _CHUNK + steps[:_CHUNK]).flatten(1)
    among = torch.cat([among, steps[chunked:].expand(len(values), -1)], 1)
    best = values.gather(1, among).topk(k)
    return best.values, among.gather(1, best.indices)
