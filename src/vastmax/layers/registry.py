"""Layers by name: the only place where a string selects a class and option names are checked."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from vastmax.checks import refused
from vastmax.documents import parse_toml
from vastmax.errors import FormatError, InputError
from vastmax.layers.adaptive import AdaptiveSoftmax
from vastmax.layers.adaptive_importance import AdaptiveImportanceSampledSoftmax
from vastmax.layers.base.arguments import as_vocabulary
from vastmax.layers.base.classes_left import ClassesLeft
from vastmax.layers.base.facts import TrainingText
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.layers.blackout import BlackOut
from vastmax.layers.class_based import ClassBasedSoftmax
from vastmax.layers.cnn import CharCNNSoftmax
from vastmax.layers.differentiated import DifferentiatedSoftmax
from vastmax.layers.full import FullSoftmax
from vastmax.layers.hierarchical import HierarchicalSoftmax
from vastmax.layers.importance import ImportanceSampledSoftmax
from vastmax.layers.infrequently_normalized import InfrequentlyNormalizedSoftmax
from vastmax.layers.nce import NoiseContrastiveEstimation
from vastmax.layers.negative_sampling import NegativeSampling
from vastmax.layers.partial import PartialSoftmax
from vastmax.layers.sampled import SampledSoftmax
from vastmax.layers.self_normalized import SelfNormalizedSoftmax
from vastmax.layers.target_sampled import TargetSampledSoftmax
from vastmax.layers.without_classes import WithoutClasses
from vastmax.vocabulary import Vocabulary

__all__ = ["LAYERS", "LayerSpec", "build", "own_layer", "parse_options"]

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
"""All layers by their command-line names. Layers added here are known to every trainer and command of the process."""

_WITHOUT = "without"  # an option of every layer: ids of classes to remove


@dataclass(frozen=True)
class LayerSpec:
    """A layer's name and options, as stored in a saved model.

    Args:
        name: a key of ``LAYERS``.
        options: options of the layer's ``from_corpus`` or ``from_vocabulary``, of JSON types. Every layer also has
            ``without``, (E,) ids of classes to remove with :class:`WithoutClasses`.

    Raises:
        InputError: if no layer has this name, or the layer has no such option.

    Example:
        >>> spec = LayerSpec("hierarchical", {"tree": "balanced"})
        >>> layer = spec.build(8, [5, 3, 1])
        >>> again = spec.rebuild(8, [5, 3, 1], layer.state_dict())
        >>> again.load_state_dict(layer.state_dict())
        <All keys matched successfully>
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping):
            raise refused("options", self.options, f"a table of options of the layer {self.name!r}")
        _check_options(self.layer, self.options, "from_corpus")

    @property
    def layer(self) -> type[OutputLayer]:
        """The layer's class."""
        return _layer(self.name)

    def build(self, in_features: int, vocabulary: Vocabulary | ArrayLike) -> OutputLayer:
        """Return the layer for a vocabulary, or for counts (V,).

        InputError if an option is invalid, or can be used only by :meth:`build_for`.
        """
        _check_options(self.layer, self.options, "from_vocabulary")
        own, left = self._without(vocabulary)
        if left is None:
            return self.layer.from_vocabulary(in_features, vocabulary, **own)
        part = left.vocabulary(as_vocabulary(vocabulary))
        return WithoutClasses(self.layer.from_vocabulary(in_features, part, **own), left.without)

    def build_for(self, in_features: int, corpus: TrainingText) -> OutputLayer:
        """Return the layer for a training text, of which it may use more than counts; InputError as :meth:`build`."""
        own, left = self._without(corpus.vocabulary)
        if left is None:
            return self.layer.from_corpus(in_features, corpus, **own)
        return WithoutClasses(self.layer.from_corpus(in_features, left.text(corpus), **own), left.without)

    def rebuild(self, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor]) -> OutputLayer:
        """Return a layer whose tensors have the shapes of a saved state, whatever the saved layer was built from.

        ``vocabulary`` may be counts (V,). ``state`` maps names to tensors, as ``state_dict()``; it also determines
        learned structure, see :meth:`OutputLayer.rebuild`. InputError if it is not the state of such a layer.
        """
        own, left = self._without(vocabulary)
        if left is None:
            return self.layer.rebuild(in_features, vocabulary, state, **own)
        part = left.vocabulary(as_vocabulary(vocabulary))
        return WithoutClasses(self.layer.rebuild(in_features, part, left.state(state), **own), left.without)

    def _without(self, vocabulary: Vocabulary | ArrayLike) -> tuple[dict[str, Any], ClassesLeft | None]:
        """Return the layer's own options, and the remaining classes if some are removed, else None."""
        own = {name: value for name, value in self.options.items() if name != _WITHOUT}
        if self.options.get(_WITHOUT) is None:
            return own, None
        left = ClassesLeft.of(len(as_vocabulary(vocabulary)), self.options[_WITHOUT])
        return own, left if len(left.without) else None

    @property
    def missing(self) -> str | None:
        """The requirement of the layer that this machine does not meet, as a clause; None if it meets all."""
        return self.layer.missing(**{name: value for name, value in self.options.items() if name != _WITHOUT})


def build(name: str, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> OutputLayer:
    """Return the layer of a name for a vocabulary.

    Args:
        name: a key of ``LAYERS``.
        in_features: d, the width of the hidden vectors.
        vocabulary: a Vocabulary, or counts (V,) of unnamed classes.
        options: options of the layer's ``from_vocabulary``. Every layer also has ``without``, (E,) ids of classes to
            remove from the distribution, such as padding; options about classes, such as a tree, then refer to the
            remaining ones.

    Raises:
        InputError: if no layer has this name, the layer has no such option, or a value is invalid.

    Example:
        >>> build("full", 8, [5, 3, 1])
        FullSoftmax(in_features=8, num_classes=3)
    """
    return LayerSpec(name, options).build(in_features, vocabulary)


def own_layer(place: str) -> str:
    """Import a custom layer, add it to ``LAYERS`` under the name ``place``, and return that name.

    Args:
        place: ``module:Class``, with the module's import name; the working directory is searched too. Importing runs
            the module: name only code you trust. Loading a saved model never imports a module by itself.

    Raises:
        InputError: if the module or class does not exist, the class is not an output layer, or it is abstract.
    """
    module, _, name = place.partition(":")
    if not module or not name.isidentifier():
        raise refused("your own layer", place, "module:Class")
    sys.path.insert(0, here := os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # a module may raise anything
        why = f"{type(error).__name__}: {error}"
        raise InputError(
            f"module {module} of the layer {place} cannot be imported ({why}): correct it, or name another."
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed sys.path
            sys.path.remove(here)
    if not (isinstance(found, type) and issubclass(found, OutputLayer)):
        raise InputError(f"{place} is not an output layer: name a class that derives from vastmax.layers.OutputLayer.")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise InputError(f"{place} is abstract: define {missing} in it, or name a class that does.")
    LAYERS[place] = found
    return place


def parse_options(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Parse a layer's options from text, as given by the command line's ``--option name=value``.

    Args:
        name: a key of ``LAYERS``.
        texts: the value of each option, as in TOML: ``true``, ``64``, ``0.5``, ``[1000, 4000]``. A bare word is a
            string, and ``none`` is None.

    Returns:
        Options of JSON types, so that a record can hold them.

    Raises:
        InputError: if no layer has this name, or the layer has no such option.

    Example:
        >>> parse_options("sampled", {"num_samples": "64", "proposal": "log-uniform", "shared": "false"})
        {'num_samples': 64, 'proposal': 'log-uniform', 'shared': False}
        >>> parse_options("differentiated", {"cutoffs": "[1000, 4000]", "block_size": "none"})
        {'cutoffs': [1000, 4000], 'block_size': None}
    """
    _check_options(_layer(name), texts, "from_corpus")
    return {option: _value(text.strip()) for option, text in texts.items()}


def _value(text: str) -> Any:
    """Return the TOML value of a text; the text itself if it is not TOML, or not of a JSON type."""
    if text.lower() == "none":
        return None
    try:
        found = parse_toml(f"value = {text}")
        json.dumps(found)
    except (FormatError, TypeError):
        return text
    return found["value"] if len(found) == 1 else text


def _layer(name: str) -> type[OutputLayer]:
    if isinstance(name, str) and ":" in name and name not in LAYERS:
        raise InputError(
            f"layer {name!r} is not loaded: call vastmax.layers.own_layer({name!r}) first, or give `vastmax lm` "
            "--output-layer."
        )
    if not isinstance(name, str) or name not in LAYERS:
        raise InputError(f"output layer is {name!r}: give one of {', '.join(LAYERS)}, or module:Class.")
    return LAYERS[name]


def _check_options(layer: type[OutputLayer], options: Iterable[str], made_by: str) -> None:
    """Raise InputError if the layer's method ``made_by`` does not take one of the options."""
    known = _options_of(layer, made_by)
    for name in options:
        if name not in known:
            raise InputError(f"{layer.__name__} has no option {name!r}: give one of {', '.join(sorted(known))}.")


def _options_of(layer: type[OutputLayer], made_by: str) -> set[str]:
    """Return the arguments with defaults of a method that makes the layer, and of those to which it passes the rest."""
    chain = ("from_corpus", "from_vocabulary", "__init__")
    known: set[str] = set()
    for method in chain[chain.index(made_by) :]:
        for function in (vars(kind)[method] for kind in layer.__mro__ if method in vars(kind)):
            parameters = inspect.signature(getattr(function, "__func__", function)).parameters.values()
            known |= {each.name for each in parameters if each.default is not each.empty}
            if not any(each.kind is each.VAR_KEYWORD for each in parameters):
                break
    return (known - layer.not_options) | {_WITHOUT}
