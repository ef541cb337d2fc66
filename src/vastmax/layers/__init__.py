"""Output layers for PyTorch: training loss, exact log-probabilities and top-k from hidden vectors and targets."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.layers needs PyTorch: pip install 'vastmax[torch]'.") from error

from vastmax.layers.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from vastmax.layers.adaptive_importance import AdaptiveImportanceSampledSoftmax
from vastmax.layers.base.facts import Kind, Reference, SamplesUsed, ShardPlan, TrainingText
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.layers.base.table_layer import TableLayer
from vastmax.layers.blackout import BlackOut
from vastmax.layers.class_based import ClassBasedSoftmax
from vastmax.layers.cnn import CharCNNSoftmax
from vastmax.layers.diagnostics import Diagnostics, diagnose
from vastmax.layers.differentiated import DifferentiatedSoftmax
from vastmax.layers.full import FullSoftmax
from vastmax.layers.hierarchical import HierarchicalSoftmax
from vastmax.layers.importance import ImportanceSampledSoftmax
from vastmax.layers.infrequently_normalized import InfrequentlyNormalizedSoftmax
from vastmax.layers.nce import NoiseContrastiveEstimation
from vastmax.layers.negative_sampling import NegativeSampling
from vastmax.layers.partial import ClassIndex, PartialSoftmax
from vastmax.layers.registry import LAYERS, LayerSpec, build, own_layer, parse_options
from vastmax.layers.sampled import SampledSoftmax, in_batch_softmax
from vastmax.layers.self_normalized import SelfNormalizedSoftmax
from vastmax.layers.target_partitions import Partition, inclusion, partitions
from vastmax.layers.target_sampled import TargetSampledSoftmax
from vastmax.layers.without_classes import WithoutClasses

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
    "LayerSpec",
    "NegativeSampling",
    "NoiseContrastiveEstimation",
    "OutputLayer",
    "PartialSoftmax",
    "Partition",
    "Reference",
    "SampledSoftmax",
    "SamplesUsed",
    "SamplingLayer",
    "SelfNormalizedSoftmax",
    "ShardPlan",
    "TableLayer",
    "TargetSampledSoftmax",
    "TrainingText",
    "WithoutClasses",
    "build",
    "diagnose",
    "in_batch_softmax",
    "inclusion",
    "own_layer",
    "parse_options",
    "partitions",
]
