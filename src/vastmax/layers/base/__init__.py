"""Code shared by all layers; the exported names are those that code wrapping a layer needs."""

from vastmax.layers.base.backward import after_backward
from vastmax.layers.base.compiled import drawing_from
from vastmax.layers.base.facts import SamplesUsed
from vastmax.layers.base.output_layer import Reduction
from vastmax.layers.base.targets import check_probabilities, excluded_ids, losses_of_probabilities

__all__ = [
    "Reduction",
    "SamplesUsed",
    "after_backward",
    "check_probabilities",
    "drawing_from",
    "excluded_ids",
    "losses_of_probabilities",
]
