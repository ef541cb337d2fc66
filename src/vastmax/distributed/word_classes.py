"""Softmaxes over the words of a class, which may be on any processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from vastmax import ops
from vastmax.distributed.batch import current
from vastmax.distributed.exchange import register_share
from vastmax.distributed.softmaxes import SoftmaxShare, expects, own_part, owners_of, places_here, target_vectors
from vastmax.distributed.tables import own_rows
from vastmax.ops import Part, WordClasses

__all__: list[str] = []


def _share(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> SoftmaxShare:
    batch, part = current(), Part(hidden, weight, bias)
    mine, places = own_part(part), places_here([part], words)
    here = _classes_here(classes, *own_rows(weight))
    log_z = torch.full_like(words, -torch.inf, dtype=ops.wide(hidden.dtype))
    log_prob, expected = log_z.clone(), torch.zeros_like(hidden, dtype=log_z.dtype)
    of_rows = classes.class_of[words]
    rows = (here.sizes[of_rows] > 0).nonzero().squeeze(1)
    (seen,) = ops.matmul_operands(hidden.detach())
    with torch.autocast(hidden.device.type, enabled=False):
        groups = list(ops.group_by_class(of_rows[rows], here, hidden.shape[1]) if len(rows) else ())
        uses = [  # combined into one gradient: PyTorch cannot add sparse tensors of some dtypes
            (None,) * len(groups) if each is None else ops.sparse_uses(each, len(groups), sparse)
            for each in (mine.weight, mine.bias)
        ]
        for group, weights, of_words in zip(groups, *uses, strict=True):
            items = rows[group.items]
            vectors, biases = ops.table_rows(weights, of_words, group.words.flatten(), sparse=sparse)
            vectors = vectors.view(*group.words.shape, -1).to(log_z.dtype)
            logits = seen[items].to(log_z.dtype) @ vectors.transpose(1, 2)
            if biases is not None:
                logits = logits + biases.view(len(group.words), 1, -1)
            logits = logits.masked_fill(~group.inside[:, None], -torch.inf)
            nothing = logits.detach().amax(-1) == -torch.inf
            logits = torch.where(nothing[..., None], 0, logits)
            of_group, own = logits.logsumexp(-1), places[items]
            of_targets = logits.gather(-1, here.place[own.clamp(min=0)][..., None]).squeeze(-1) - of_group
            of_targets = torch.where((own < 0) | nothing, -torch.inf, of_targets)
            real = items[group.real]
            log_z = log_z.index_put((real,), torch.where(nothing, -torch.inf, of_group)[group.real])
            log_prob = log_prob.index_put((real,), of_targets[group.real])
            means = logits.detach().softmax(-1) @ vectors.detach()
            expected[real] = torch.where(nothing[..., None], 0, means)[group.real]
    if not len(rows):  # gradients keep their layout
        vectors, biases = ops.table_rows(mine.weight, mine.bias, rows, sparse=sparse)
        log_z = log_z + vectors.sum() + (0 if biases is None else biases.sum())
    wants = expects(batch)
    vectors = target_vectors([mine], places) if wants else ()
    owners, means = owners_of([part], words), [expected] if wants else []
    return SoftmaxShare(batch, [part], log_z, log_prob, owners, means, vectors, "log_prob")


_stretches = WeakTensorKeyDictionary()  # by class_of of all words: the last range, and its classes


def _classes_here(classes: WordClasses, first: int, stop: int) -> WordClasses:
    """Return the classes restricted to a range of words, numbered from its first."""
    known = _stretches.get(classes.class_of)
    if known is None or known[0] != (first, stop):
        _stretches[classes.class_of] = known = (first, stop), _stretch_of(classes, first, stop)
    return known[1]


def _stretch_of(classes: WordClasses, first: int, stop: int) -> WordClasses:
    class_of = classes.class_of[first:stop].clone()  # a view would keep its base alive
    sizes = torch.bincount(class_of, minlength=len(classes.sizes))
    words, starts = class_of.argsort(stable=True), sizes.cumsum(0) - sizes
    place = torch.empty_like(words)
    place[words] = torch.arange(len(words), device=words.device) - starts[class_of[words]]
    return WordClasses(class_of, place, words, starts, sizes)


register_share("class_softmax", _share)
