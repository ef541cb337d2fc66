"""Output layers for PyTorch: a hidden vector and a target in; loss, log-probabilities and the best classes out."""

from typing import Any

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.layers needs PyTorch: pip install 'vastmax[torch]'") from error

from numpy.typing import ArrayLike

from vastmax.errors import InputError
from vastmax.layers.adaptive import AdaptiveSoftmax
from vastmax.layers.adaptive_embedding import AdaptiveEmbedding
from vastmax.layers.adaptive_importance import AdaptiveImportanceSampledSoftmax
from vastmax.layers.blackout import BlackOut
from vastmax.layers.class_based import ClassBasedSoftmax
from vastmax.layers.class_index import ClassIndex
from vastmax.layers.cnn import CharCNNSoftmax
from vastmax.layers.diagnostics import Diagnostics
from vastmax.layers.differentiated import DifferentiatedSoftmax
from vastmax.layers.full import FullSoftmax
from vastmax.layers.hierarchical import HierarchicalSoftmax
from vastmax.layers.importance import ImportanceSampledSoftmax
from vastmax.layers.in_batch import in_batch_softmax
from vastmax.layers.infrequently_normalized import InfrequentlyNormalizedSoftmax
from vastmax.layers.nce import NoiseContrastiveEstimation
from vastmax.layers.negative_sampling import NegativeSampling
from vastmax.layers.output_layer import Kind, OutputLayer, Reference
from vastmax.layers.partial import PartialSoftmax
from vastmax.layers.sampled import SampledSoftmax
from vastmax.layers.sampling import SamplingLayer
from vastmax.layers.self_normalized import SelfNormalizedSoftmax
from vastmax.layers.target_partitions import Partition, partitions
from vastmax.layers.target_sampled import TargetSampledSoftmax
from vastmax.text import Vocabulary

__all__ = [
    "LAYERS",
    "AdaptiveEmbedding",
    "AdaptiveImportanceSampledSoftmax",
    "AdaptiveSoftmax",
    "BlackOut",
    "CharCNNSoftmax",
    "ClassBasedSoftmax",
    "ClassIndex",
    "Diagnostics",
    "DifferentiatedSoftmax",
    "FullSoftmax",
    "HierarchicalSoftmax",
    "ImportanceSampledSoftmax",
    "InfrequentlyNormalizedSoftmax",
    "Kind",
    "NegativeSampling",
    "NoiseContrastiveEstimation",
    "OutputLayer",
    "PartialSoftmax",
    "Partition",
    "Reference",
    "SampledSoftmax",
    "SamplingLayer",
    "SelfNormalizedSoftmax",
    "TargetSampledSoftmax",
    "build",
    "in_batch_softmax",
    "partitions",
]

LAYERS: dict[str, type[OutputLayer]] = {
    "full": FullSoftmax,
    "partial": PartialSoftmax,
    "hierarchical": HierarchicalSoftmax,
    "class-based": ClassBasedSoftmax,
    "adaptive": AdaptiveSoftmax,
    "differentiated": DifferentiatedSoftmax,
    "cnn": CharCNNSoftmax,
    "self-normalized": SelfNormalizedSoftmax,
    "infrequent-normalized": InfrequentlyNormalizedSoftmax,
    "target-sampling": TargetSampledSoftmax,
    "sampled": SampledSoftmax,
    "nce": NoiseContrastiveEstimation,
    "negative-sampling": NegativeSampling,
    "blackout": BlackOut,
    "importance": ImportanceSampledSoftmax,
    "adaptive-importance": AdaptiveImportanceSampledSoftmax,
}
"""Every layer by the command line's name."""


def build(name: str, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> OutputLayer:
    """Return the layer of a name for a vocabulary: the one place where a string picks a class.

    Args:
        name: a key of ``LAYERS``.
        in_features: d, the width of the hidden vectors.
        vocabulary: a Vocabulary, or the counts (V,) of classes without names.
        options: what the layer's ``from_vocabulary`` takes.

    Raises:
        InputError: where no layer has this name, or the layer refuses its arguments.

    Example:
        >>> build("full", 8, [5, 3, 1])
        FullSoftmax(in_features=8, num_classes=3)
    """
    if name not in LAYERS:
        raise InputError(f"there is no output layer {name!r}: choose one of {', '.join(LAYERS)}.")
    return LAYERS[name].from_vocabulary(in_features, vocabulary, **options)
