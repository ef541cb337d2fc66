"""Output layers for PyTorch: a hidden vector and a target in; loss, log-probabilities and the best classes out."""

from collections.abc import Mapping
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
from vastmax.layers.base.output_layer import Kind, OutputLayer, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
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
from vastmax.layers.options import parse_layer_options
from vastmax.layers.partial import PartialSoftmax
from vastmax.layers.sampled import SampledSoftmax
from vastmax.layers.self_normalized import SelfNormalizedSoftmax
from vastmax.layers.target_partitions import Partition, partitions
from vastmax.layers.target_sampled import TargetSampledSoftmax
from vastmax.vocabulary import Vocabulary

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
    "parse_options",
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
        InputError: where no layer has this name, the layer has no such option, or it refuses a value.

    Example:
        >>> build("full", 8, [5, 3, 1])
        FullSoftmax(in_features=8, num_classes=3)
    """
    return _layer(name).from_vocabulary(in_features, vocabulary, **options)


def parse_options(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return options for :func:`build` from text, as the command line's ``--option name=value`` gives them.

    Args:
        name: a key of ``LAYERS``.
        texts: of each option its value: ``true`` or ``false``, numbers, ``none``, names of trees and proposals,
            and sequences with commas between.

    Returns:
        Options of JSON's types, so that a record can hold them.

    Raises:
        InputError: where no layer has this name, the layer has no such option, or the text is no value of it.

    Example:
        >>> parse_options("sampled", {"num_samples": "64", "proposal": "log-uniform", "shared": "false"})
        {'num_samples': 64, 'proposal': 'log-uniform', 'shared': False}
        >>> parse_options("differentiated", {"cutoffs": "1000,4000", "block_size": "none"})
        {'cutoffs': [1000, 4000], 'block_size': None}
    """
    return parse_layer_options(_layer(name), texts)


def _layer(name: str) -> type[OutputLayer]:
    if name not in LAYERS:
        raise InputError(f"there is no output layer {name!r}: choose one of {', '.join(LAYERS)}.")
    return LAYERS[name]
