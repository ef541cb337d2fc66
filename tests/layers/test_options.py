"""What layers say to options that they do not have, or of a type that they do not take; and options as text."""

import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.errors import InputError
from vastmax.layers import LAYERS, FullSoftmax, OutputLayer, SampledSoftmax, build, parse_options
from vastmax.layers.options import options_of
from vastmax.proposals import PROPOSALS
from vastmax.trees import TREES
from vastmax.vocabulary import Vocabulary

D = 8
WORDS = Vocabulary(["one", "two", "three", "four", "five", "six"], [9, 7, 5, 3, 2, 1])
every_layer = pytest.mark.parametrize("name", LAYERS)

# texts of every option that text can give, and what they come to
TEXTS: dict[str, dict[str, Any]] = {
    "adaptation_rate": {"0.5": 0.5, "0": 0.0},
    "bias": {"true": True, "no": False},
    "block_size": {"3": 3},
    "char_dim": {"2": 2},
    "classes": {"2": 2, "none": None},
    "correct_target": {"TRUE": True},
    "correction_dim": {"3": 3},
    "cutoffs": {"2,4": [2, 4], "2": [2]},
    "device": {"cpu": "cpu", "none": None},
    "dtype": {"none": None},
    "div_value": {"2": 2.0},
    "effective_samples": {"1e1": 10.0},
    "filters": {"1, 2,3,4,5": [1, 2, 3, 4, 5]},
    "fraction": {"0.25": 0.25},
    "head": {"2": 2},
    "head_bias": {"yes": True},
    "head_share": {"0.5": 0.5},
    "highway_layers": {"0": 0},
    "in_batch": {"false": False},
    "index": {"false": False},
    "initial_bias": {"-1.5": -1.5},
    "keep_hits": {"true": True},
    "max_length": {"5": 5},
    "max_samples": {"2000": 2000, "none": None},
    "mixture_rate": {"0.5": 0.5},
    "num_common": {"2": 2},
    "num_samples": {"7": 7},
    "penalty": {"0.5": 0.5},
    "power": {"0.5": 0.5, "none": None},
    "proposal": {name: name for name in PROPOSALS},
    "replacement": {"true": True},
    "rows": {"64": 64},
    "shared": {"false": False},
    "smoothing": {"0.25": 0.25},
    "sparse": {"false": False},
    "tail": {"3": 3},
    "tail_bias": {"false": False},
    "tree": {name: name for name in TREES},
    "variant": {"projections": "projections"},
    "widths": {"3,2,1,1,1": [3, 2, 1, 1, 1]},
    "common": {"none": None},
    "cost": {"none": None},
    "tokens": {"none": None},
}
TOGETHER = {
    ("differentiated", "widths"): {"widths": "5,2,1", "cutoffs": "2,4"},
}


@every_layer
def test_every_option_can_be_given_as_text(name: str) -> None:
    for option in options_of(LAYERS[name]):
        for text, value in TEXTS[option].items():
            texts = TOGETHER.get((name, option), {option: text})
            options = parse_options(name, texts)
            if texts == {option: text}:
                assert options == {option: value}
                assert type(options[option]) is type(value)
            assert json.loads(json.dumps(options)) == options
            layer = build(name, D, WORDS, **options)
            assert isinstance(layer, LAYERS[name])


@every_layer
def test_defaults_are_of_the_types_that_are_taken(name: str) -> None:
    kinds = [kind for kind in LAYERS[name].__mro__ if issubclass(kind, OutputLayer)]
    methods = [getattr(kind, method) for kind in kinds for method in ("from_vocabulary", "__init__")]
    signatures = [inspect.signature(method).parameters for method in methods]
    for option in options_of(LAYERS[name]):
        parameter = next(parameters[option] for parameters in signatures if option in parameters)
        assert parameter.default is not parameter.empty
        build(name, D, WORDS, **{option: parameter.default})


@every_layer
def test_unknown_options_are_answered_with_the_known(name: str) -> None:
    known = ", ".join(sorted(options_of(LAYERS[name])))
    message = f"^{LAYERS[name].__name__} has no option 'nonsense': choose from {known}.$"
    with pytest.raises(InputError, match=message):
        build(name, D, WORDS, nonsense=1)
    with pytest.raises(InputError, match=message):
        LAYERS[name].from_vocabulary(D, WORDS, nonsense=1)
    with pytest.raises(InputError, match=message):
        parse_options(name, {"nonsense": "1"})
    for other in ("vocabulary", "num_classes", "self", "options"):
        with pytest.raises(InputError, match=f"has no option '{other}'"):
            parse_options(name, {other: "1"})


# of these no option takes any; what stands for nothing, or for a number in text, may be taken
ODD = [b"no", object(), 3 + 4j, {}, torch.int64, float("nan"), True, None, "", "nonsense", 2.5, -1, [2.5], ["x"], "2,x"]


@every_layer
def test_odd_values_are_refused_in_a_sentence_or_taken(name: str) -> None:
    for option in options_of(LAYERS[name]):
        refused = 0
        for value in ODD:
            try:
                build(name, D, WORDS, **{option: value})
            except InputError as error:
                refused += 1
                assert str(error).endswith(".")
        assert refused >= len(ODD) - 5, option


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sampled", {"num_samples": "ten"}, "num_samples is 'ten': give a whole number."),
        ("sampled", {"num_samples": 2.0}, "num_samples is 2.0: give a whole number."),
        ("sampled", {"num_samples": True}, "num_samples is True: give a whole number."),
        ("sampled", {"replacement": "maybe"}, "replacement is 'maybe': give true or false."),
        ("sampled", {"proposal": 3}, "proposal is 3: give a string or a Proposal."),
        ("sampled", {"initial_bias": None}, "initial_bias is None: give a number."),
        ("hierarchical", {"tree": 3}, "tree is 3: give a string or a Tree."),
        ("hierarchical", {"counts": [1] * 6}, "counts are the vocabulary's."),
        ("class-based", {"classes": "2"}, "classes is '2': give a whole number, a Classes or none."),
        ("adaptive", {"cutoffs": "2,4"}, "cutoffs is '2,4': give whole numbers such as 1000,4000 or 'auto'."),
        ("adaptive", {"cutoffs": [2.5]}, "cutoffs is [2.5]: give whole numbers such as 1000,4000 or 'auto'."),
        ("adaptive", {"div_value": 0}, "div_value is 0: give a number of 1 or more."),
        ("adaptive", {"order": range(6)}, "order is that of the vocabulary's counts."),
        ("differentiated", {"variant": 1}, "variant is 1: give 'slices' or 'projections'."),
        ("partial", {"index": "maybe"}, "index is 'maybe': give a ClassIndex or true or false."),
        ("full", {"device": "toaster"}, "device is 'toaster': give a device such as cpu or none."),
        ("full", {"dtype": torch.int64}, "dtype is torch.int64: give a dtype of real numbers such as float32 or none."),
        ("target-sampling", {"common": "x" * 99}, "common is a str: give an array, a Tensor or none."),
        ("adaptive-importance", {"power": 0.5}, "power is 1 here: the proposal is made of the counts as they are."),
    ],
)
def test_wrong_types_are_told_clearly(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as told:
        build(name, D, WORDS, **options)
    assert str(told.value) == message


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("sampled", {"num_samples": "ten"}, "num_samples is 'ten': give a whole number."),
        ("sampled", {"num_samples": "none"}, "num_samples is 'none': give a whole number."),
        ("sampled", {"initial_bias": "nan"}, "initial_bias is 'nan': give a number."),
        ("sampled", {"shared": "maybe"}, "shared is 'maybe': give true or false."),
        ("class-based", {"classes": "x"}, "classes is 'x': give a whole number or none; anything else takes Python."),
        ("differentiated", {"cutoffs": "1;2"}, "cutoffs is '1;2': give whole numbers such as 1000,4000 or none."),
        ("full", {"dtype": "float64"}, "dtype is 'float64': give none; anything else takes Python."),
        ("full", {"device": "toaster"}, "device is 'toaster': give a device such as cpu or none."),
        ("adaptive", {"cost": "low"}, "cost is 'low': give none; anything else takes Python."),
        ("hierarchical", {"tree": "oak"}, f"there is no tree 'oak': choose one of {', '.join(TREES)}."),
        ("sampled", {"proposal": "oak"}, f"there is no proposal 'oak': choose one of {', '.join(PROPOSALS)}."),
        (
            "adaptive-importance",
            {"shared": "true"},
            "shared has no meaning here: every row draws for itself, with",
        ),
    ],
)
def test_texts_that_stand_for_nothing(name: str, texts: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as told:
        parse_options(name, texts)
    assert str(told.value).startswith(message)


def test_unknown_layer() -> None:
    with pytest.raises(InputError, match="no output layer 'fuller': choose one of full"):
        parse_options("fuller", {})


def test_numbers_of_other_libraries_are_taken() -> None:
    layer = build("sampled", D, WORDS, num_samples=np.int32(4), initial_bias=np.float32(1), shared=bool(np.True_))
    assert isinstance(layer, SampledSoftmax)
    assert layer.num_samples == 4
    assert build("adaptive", D, WORDS, cutoffs=np.array([2, 4])).extra_repr().count("[2, 4]") == 1
    assert build("target-sampling", D, WORDS, common=torch.tensor([1])).extra_repr().endswith("common=1")
    LAYERS["adaptive"].from_vocabulary(D, WORDS, [2, 4])
    with pytest.raises(InputError, match="cutoffs is 2: give whole numbers"):
        LAYERS["adaptive"].from_vocabulary(D, WORDS, 2)  # type: ignore[call-arg]


class Scaled(FullSoftmax):
    """A layer of a user: an option without a keyword, one with a type that is not there, and the rest handed on."""

    def __init__(self, in_features: int, num_classes: int, scale: float = 1.0, **options: Any) -> None:
        super().__init__(in_features, num_classes, **options)
        self.scale = scale

    @classmethod
    def from_vocabulary(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, *, extra: Any = None, **options: Any
    ) -> Self:
        return super().from_vocabulary(in_features, vocabulary, **options)

    vars()["from_vocabulary"].__func__.__annotations__["extra"] = "NotThere"  # as under TYPE_CHECKING

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return nn.functional.log_softmax(self.scale * hidden @ self.weight.t(), -1)


def test_layers_of_others_are_understood() -> None:
    assert set(options_of(Scaled)) == {"extra", "scale", "bias", "block_size", "device", "dtype"}
    assert options_of(Scaled)["extra"] is Any
    assert Scaled.from_vocabulary(D, WORDS, scale=2.0, extra=object(), bias=False).scale == 2.0
    with pytest.raises(InputError, match="scale is 'x': give a number"):
        Scaled.from_vocabulary(D, WORDS, scale="x")
    with pytest.raises(InputError, match="Scaled has no option 'size'"):
        Scaled.from_vocabulary(D, WORDS, size=2)
