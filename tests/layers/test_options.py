"""Error messages for unknown options and invalid values, and options given as text."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from vastmax.errors import InputError
from vastmax.layers import LAYERS, LayerSpec, SampledSoftmax, TrainingText, WithoutClasses, build, parse_options
from vastmax.layers.registry import _options_of
from vastmax.proposals import PROPOSALS
from vastmax.trees import TREES
from vastmax.vocabulary import Vocabulary

D = 8
WORDS = Vocabulary(["one", "two", "three", "four", "five", "six"], [9, 7, 5, 3, 2, 1])
TEXT = TrainingText(WORDS, [0, 1, 2, 0, 3, 4, 5], lambda name: np.random.default_rng(0).normal(size=(6, 3)))
every_layer = pytest.mark.parametrize("name", LAYERS)

# for every option that can be given as text, an example and its parsed value
TEXTS: dict[str, tuple[str, Any]] = {
    "adaptation_rate": ("0.5", 0.5),
    "bias": ("true", True),
    "block_size": ("3", 3),
    "char_dim": ("2", 2),
    "classes": ("2", 2),
    "common": ("[1, 2]", [1, 2]),
    "correct_inclusion": ("false", False),
    "correct_target": ("true", True),
    "correction_dim": ("3", 3),
    "cost": ("none", None),
    "cutoffs": ("[2, 4]", [2, 4]),
    "device": ("cpu", "cpu"),
    "div_value": ("2", 2),
    "dtype": ("none", None),
    "effective_samples": ("1e1", 10.0),
    "epsilon": ("0.3", 0.3),
    "filters": ("[1, 2,3,4,5]", [1, 2, 3, 4, 5]),
    "fraction": ("0.25", 0.25),
    "likelihood": ("true", True),
    "head": ("2", 2),
    "head_bias": ("false", False),
    "head_share": ("0.5", 0.5),
    "highway_layers": ("0", 0),
    "in_batch": ("false", False),
    "index": ("false", False),
    "initial_bias": ("-1.5", -1.5),
    "keep_hits": ("true", True),
    "max_length": ("5", 5),
    "max_samples": ("2000", 2000),
    "mixture_rate": ("0.5", 0.5),
    "num_common": ("2", 2),
    "num_samples": ("7", 7),
    "penalty": ("0.5", 0.5),
    "power": ("0.5", 0.5),
    "proposal": ("uniform", "uniform"),
    "replacement": ("true", True),
    "rows": ("64", 64),
    "rule": ("adaptive", "adaptive"),
    "shared": ("false", False),
    "smoothing": ("0.25", 0.25),
    "sparse": ("false", False),
    "tail": ("3", 3),
    "tail_bias": ("false", False),
    "tokens": ("[0, 1, 2]", [0, 1, 2]),
    "tree": ("balanced", "balanced"),
    "trees": ("2", 2),
    "variant": ("projections", "projections"),
    "vectors": ("full", "full"),
    "widths": ("[3,2,1,1,1]", [3, 2, 1, 1, 1]),
    "without": ("[5]", [5]),
    "wordnet": ("none", None),
}
TOGETHER = {
    ("differentiated", "widths"): {"widths": "[5,2,1]", "cutoffs": "[2, 4]"},
    **{("hierarchical", name): {name: TEXTS[name][0], "tree": "clustered"} for name in ("rule", "epsilon", "trees")},
    ("hierarchical", "vectors"): {"vectors": "full", "tree": "clustered"},
}


OPTIONS = [(name, option) for name in LAYERS for option in sorted(_options_of(LAYERS[name], "from_corpus"))]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_can_be_given_as_text(name: str, option: str) -> None:
    text, value = TEXTS[option]
    assert parse_options(name, {option: text}) == {option: value}
    found = parse_options(name, TOGETHER.get((name, option), {option: text}))
    assert json.loads(json.dumps(found)) == found
    built = LayerSpec(name, found).build_for(D, TEXT)
    assert isinstance(built.layer if isinstance(built, WithoutClasses) else built, LAYERS[name])


def test_names_of_proposals_and_trees_are_text() -> None:
    assert all(parse_options("sampled", {"proposal": each}) == {"proposal": each} for each in PROPOSALS)
    assert all(parse_options("hierarchical", {"tree": each}) == {"tree": each} for each in TREES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("none", None),
        ("None", None),
        ("1_000", 1000),
        ("'64'", "64"),
        ("2020-01-01", "2020-01-01"),
        ("1\nother = 2", "1\nother = 2"),
        ("1000,4000", "1000,4000"),
        ("", ""),
        ("a b", "a b"),
    ],
)
def test_a_value_is_toml_or_else_text(text: str, value: Any) -> None:
    assert parse_options("sampled", {"power": text}) == {"power": value}


@every_layer
def test_unknown_options_are_answered_with_the_known(name: str) -> None:
    known = ", ".join(sorted(_options_of(LAYERS[name], "from_corpus")))
    message = f"^{LAYERS[name].__name__} has no option 'nonsense': give one of {known}.$"
    with pytest.raises(InputError, match=message):
        LayerSpec(name, {"nonsense": 1})
    with pytest.raises(InputError, match=message):
        parse_options(name, {"nonsense": "1"})
    with pytest.raises(InputError, match="has no option 'nonsense'"):
        build(name, D, WORDS, nonsense=1)
    for other in ("vocabulary", "in_features", "num_classes", "self", "options", "order", "counts", "corpus"):
        with pytest.raises(InputError, match=f"has no option '{other}'"):
            LayerSpec(name, {other: 1})


# values that no option accepts; None and text of numbers are absent because some options accept them
ODD = [
    b"no",
    object(),
    3 + 4j,
    {},
    torch.int64,
    float("nan"),
    True,
    None,
    "",
    "nonsense",
    2.5,
    -1,
    [2.5],
    ["x"],
    [[1], [1, 2]],
    "2,x",
    {"a": 1},
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_odd_values_are_refused_in_a_sentence_or_taken(name: str, option: str) -> None:
    tree = {"tree": "clustered"} if option in ("rule", "epsilon", "trees", "vectors") else {}
    tree = {"tree": "wordnet"} if option == "wordnet" else tree
    refused = 0
    for value in ODD:
        try:
            LayerSpec(name, {**tree, option: value}).build_for(D, TEXT)
        except InputError as error:
            refused += 1
            assert str(error).endswith(".") and "\n" not in str(error)
    assert refused >= len(ODD) - 5, option


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sampled", {"num_samples": "ten"}, "num_samples is 'ten': give a whole number"),
        ("sampled", {"num_samples": 2.0}, "num_samples is 2.0: give a whole number"),
        ("sampled", {"num_samples": True}, "num_samples is True: give a whole number"),
        ("sampled", {"replacement": "maybe"}, "replacement is 'maybe': give true or false"),
        ("sampled", {"proposal": 3}, "proposal is 3: give one of"),
        ("sampled", {"proposal": "oak"}, f"proposal is 'oak': give one of {', '.join(PROPOSALS)}"),
        ("sampled", {"initial_bias": None}, "initial_bias is None: give a number"),
        ("hierarchical", {"tree": 3}, "tree is 3: give a vastmax.trees.Tree"),
        (
            "hierarchical",
            {"tree": "oak"},
            "tree is 'oak': give 'huffman', 'balanced', 'balanced-rank', 'balanced-random', 'clustered' or 'wordnet'",
        ),
        ("hierarchical", {"rule": "adaptive"}, "rule needs a tree that is grown: give tree clustered or wordnet"),
        (
            "hierarchical",
            {"tree": "clustered", "wordnet": "x"},
            "tree 'clustered' has the unknown option 'wordnet': give one of",
        ),
        ("hierarchical", {"tree": "clustered", "trees": "many"}, "trees is 'many': give a whole number"),
        ("class-based", {"classes": "2"}, "classes is '2': give a whole number from 1 to 6, or Classes, or None"),
        ("adaptive", {"cutoffs": "2,4"}, "cutoffs is '2,4': give rising ranks such as"),
        ("adaptive", {"cutoffs": [2.5]}, "cutoffs is [2.5]: give strictly rising whole numbers from 1 to 5"),
        ("adaptive", {"div_value": 0}, "div_value is 0: give a number of 1 or more"),
        ("differentiated", {"variant": 1}, "variant is 1: give 'slices' or 'projections'"),
        ("partial", {"index": "maybe"}, "index is 'maybe': give true, false or a ClassIndex"),
        ("full", {"device": "toaster"}, "device is 'toaster': give a device that torch finds here"),
        ("full", {"dtype": torch.int64}, "dtype is torch.int64: give a floating-point torch dtype"),
        ("full", {"dtype": "float64"}, "dtype is 'float64': give a floating-point torch dtype"),
        ("target-sampling", {"common": "x"}, "common is 'x': give class ids, an array of whole numbers"),
    ],
)
def test_wrong_values_are_told_clearly(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as told:
        LayerSpec(name, options).build_for(D, TEXT)
    assert str(told.value).startswith(message)


def test_a_tree_that_is_grown_needs_a_text() -> None:
    with pytest.raises(InputError, match="tree is 'clustered': give one of huffman"):
        build("hierarchical", D, WORDS, tree="clustered")
    with pytest.raises(InputError, match="has no option 'rule'"):
        build("hierarchical", D, WORDS, rule="adaptive")


@pytest.mark.parametrize("name", ["fuller", ["full"], None])
def test_unknown_layer(name: Any) -> None:
    with pytest.raises(InputError, match=r"output layer is .*: give one of full"):
        parse_options(name, {})
    with pytest.raises(InputError, match="options is 3: give a table"):
        LayerSpec("full", 3)  # type: ignore[arg-type]


def test_numbers_of_other_libraries_are_taken() -> None:
    layer = build("sampled", D, WORDS, num_samples=np.int32(4), initial_bias=np.float32(1))
    assert isinstance(layer, SampledSoftmax)
    assert layer.num_samples == 4
    assert build("adaptive", D, WORDS, cutoffs=np.array([2, 4])).extra_repr().count("[2, 4]") == 1
    assert build("target-sampling", D, WORDS, common=torch.tensor([1])).extra_repr().endswith("common=1")
    with pytest.raises(InputError, match="cutoffs is 2: give strictly rising whole numbers"):
        LAYERS["adaptive"].from_vocabulary(D, WORDS, 2)  # type: ignore[call-arg]
