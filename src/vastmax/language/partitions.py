"""Target sampling over a run: before each batch, the candidates of the partition that the batch begins in."""

from __future__ import annotations

from collections.abc import Iterator

from vastmax.language.batches import Batches
from vastmax.layers import OutputLayer, TargetSampledSoftmax, partitions

__all__ = ["follow_partitions"]


def follow_partitions(
    layer: OutputLayer, batches: Batches, num_candidates: int, epoch: int, number: int
) -> Iterator[None]:
    """Yield before each batch from this one on, with the layer's candidates set; of other layers nothing is changed.

    The training text is cut anew for every epoch, in the order of its batches; a batch that reaches over a cut is
    trained on with the candidates of the partition it begins in, and its own targets.

    Args:
        layer: of the model that is trained.
        batches: of the training text.
        num_candidates: tau, distinct targets a partition.
        epoch: of the first batch.
        number: of the first batch in its epoch; those before it are passed over.
    """
    while not isinstance(layer, TargetSampledSoftmax):
        yield
    while True:
        cut = partitions((batches.batch(epoch, i).target.numpy() for i in range(len(batches))), num_candidates)
        partition, place = next(cut), 0
        layer.set_candidates(partition.candidates)
        for i in range(len(batches)):
            if place >= partition.stop:
                partition = next(each for each in cut if each.stop > place)
                layer.set_candidates(partition.candidates)
            place += batches.batch(epoch, i).target.numel()
            if i >= number:
                yield
        epoch, number = epoch + 1, 0
