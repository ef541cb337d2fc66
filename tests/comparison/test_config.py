"""A run's config through JSON and TOML, and what both refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from vastmax.comparison import METHODS, Method, RunConfig, method_named, plan_comparison, read_comparison
from vastmax.comparison.report import read_records
from vastmax.errors import FormatError, InputError
from vastmax.language import LoopOptions, ModelOptions
from vastmax.layers import LAYERS, build

WHOLE = RunConfig(method=METHODS["full"]).to_json()
FLAGS = {
    "train": list[str] | None,
    "valid": list[str] | None,
    "dim": int,
    "embedding_dim": int | None,
    "dropout": float,
    "minutes_each": float | None,
    "tie": bool,
    "model": str,
    "split": Any,
}


def read(tmp_path: Path, text: str) -> Any:
    (tmp_path / "comparison.toml").write_text(text, encoding="utf-8")
    return read_comparison(tmp_path / "comparison.toml", FLAGS)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_config_goes_through_json(method: Method) -> None:
    config = RunConfig(
        method=method,
        model=ModelOptions(model="feed-forward", dim=7, embedding_dim=3, tie=True, dropout=0.25, batching="sentence"),
        training=LoopOptions(epochs=2.5, minutes=None, schedule="halving", optimizer="sgd", learning_rate=0.5, seed=9),
        threads=1,
    )
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_method_has_training_of_its_own() -> None:
    method = Method("slow", "full", training={"learning_rate": 0.5, "epochs": 3})
    config = RunConfig(method=method, training=LoopOptions(learning_rate=1.0, seed=4))
    assert (config.loop_options.learning_rate, config.loop_options.seed, config.budget) == (0.5, 4, "3 epochs")
    assert RunConfig(method=METHODS["full"], training=LoopOptions(minutes=0.5)).budget == "0.5 minutes"
    with pytest.raises(InputError, match="method slow has the unknown training option 'rate': give one of epochs"):
        _ = RunConfig(method=Method("slow", "full", training={"rate": 1})).loop_options


OWN = [
    Method("shared", "full"),
    *(Method(name, "full", training={"optimizer": name}) for name in ("adagrad", "adam", "sgd")),
    Method("limited", "full", training={"optimizer": "adam", "max_norm": 2.0}),
    Method("rated", "full", training={"optimizer": "sgd", "learning_rate": 5.0}),
]


@pytest.mark.parametrize(
    ("shared", "norms"),
    [
        ({}, [0.0, 0.0, 0.0, 0.25, 2.0, 0.25]),
        ({"optimizer": "adam"}, [0.0, 0.0, 0.0, 0.25, 2.0, 0.25]),
        ({"optimizer": "sgd"}, [0.25, 0.0, 0.0, 0.25, 2.0, 0.25]),
        ({"optimizer": "sgd", "max_norm": 1.0}, [1.0, 1.0, 1.0, 1.0, 2.0, 1.0]),
        ({"learning_rate": 0.5}, [0.25, 0.25, 0.25, 0.25, 2.0, 0.25]),
    ],
)
def test_a_methods_own_optimizer_decides_whether_it_is_clipped(shared: dict[str, Any], norms: list[float]) -> None:
    plan = plan_comparison(own_methods=OWN, training=shared, seeds=2)
    assert [config.loop_options.largest_norm for config in plan.configs] == norms * 2
    warmups = {config.loop_options.warmup for config in plan.configs}
    assert warmups == ({None} if "learning_rate" in shared else {0.05})
    assert [config.loop_options.seed for config in plan.configs] == [1] * 6 + [2] * 6


def test_every_layer_is_a_method() -> None:
    assert set(LAYERS) <= set(METHODS)
    assert {method.layer for method in METHODS.values()} == set(LAYERS)
    assert all(label == method.label for label, method in METHODS.items())


@pytest.mark.parametrize(
    "record",
    [{}, {"method": {"label": "a", "layer": "full"}}, {"method": 3}, {**WHOLE, "model": {"depth": 2}}],
)
def test_no_config_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the config of the run is not valid"):
        RunConfig.from_json(record)


@pytest.mark.parametrize("threads", [0, -1, "2", 1.5])
def test_threads_that_cannot_be(threads: Any) -> None:
    with pytest.raises(InputError, match=r"^threads is .*: give a whole number from 1"):
        RunConfig(method=METHODS["full"], threads=threads)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Method("a", "softmax"), "output layer is 'softmax': give one of full"),
        (lambda: Method("a", ["full"]), "output layer is"),  # type: ignore[arg-type]
        (lambda: Method("a/b", "full"), "give letters, digits"),
        (lambda: Method("", "full"), "give letters, digits"),
        (lambda: Method("a", "full", training=5), "training is 5: give a table"),  # type: ignore[arg-type]
        (lambda: method_named("fast"), "method is 'fast': give one of full"),
        (lambda: method_named(["fast"]), "method is"),  # type: ignore[arg-type]
    ],
)
def test_methods_that_cannot_be(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_file_says_flags_and_methods(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        train = ["a.txt", "/there/b.txt"]
        valid = "c.txt"
        embedding-dim = 5
        minutes_each = 2
        tie = true
        [methods.full]
        [methods.hierarchical-clustered]
        epsilon = 0.1
        [methods.few]
        layer = "sampled"
        num-samples = 3
        [methods.few.training]
        learning-rate = 0.2
        """,
    )
    paths = {"train": [str(tmp_path / "a.txt"), "/there/b.txt"], "valid": [str(tmp_path / "c.txt")]}
    assert found.flags == {**paths, "embedding_dim": 5, "minutes_each": 2, "tie": True}
    assert found.methods == [
        Method("full", "full"),
        Method("hierarchical-clustered", "hierarchical", {"tree": "clustered", "epsilon": 0.1}),
        Method("few", "sampled", {"num_samples": 3}, {"learning_rate": 0.2}),
    ]


def test_a_file_may_name_methods_or_say_nothing_of_them(tmp_path: Path) -> None:
    assert read(tmp_path, 'methods = ["nce", "full"]').methods == [METHODS["nce"], METHODS["full"]]
    assert read(tmp_path, "dim = 8").methods == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dim = ", "is not TOML"),
        ("depth = 3", "has the unknown option 'depth': give one of dim, dropout"),
        ('dim = "8"', "dim is '8': give a whole number"),
        ("dim = 8.5", "dim is 8.5: give a whole number"),
        ("dim = true", "dim is True: give a whole number"),
        ('embedding_dim = "8"', "embedding_dim is '8': give a whole number"),
        ('dropout = "a"', "dropout is 'a': give a number"),
        ("tie = 1", "tie is 1: give true or false"),
        ("held-out = 1\nheld_out = 2", "held_out is given twice in one table"),
        ("model = 1", "model is 1: give text"),
        ("train = 5", "train is 5: give a list of texts, none or text"),
        ("train = [5]", r"train is \[5\]: give a list of texts, none or text"),
        ('methods = "full"', "methods is .*: give a list of names, or tables"),
        ("methods = [3]", "method is 3"),
        ('methods = ["fast"]', "method is 'fast'"),
        ("[methods]\nfull = 3", "methods is .*: give a list of names, or tables"),
        ("[methods.mine]\nnum_samples = 3", r"\[methods.mine\] has no layer"),
        ('[methods.mine]\nlayer = "x"', "output layer is 'x'"),
        ('[methods."a b"]\nlayer = "full"', "give letters, digits"),
        ("[methods.full]\ntraining = 3", "training is 3: give a table"),
        ("[methods.full]\nsince = 2020-01-01", "contains a date or a time"),
    ],
)
def test_a_file_that_says_what_cannot_be(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises((FormatError, InputError), match=sentence):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        read_comparison(tmp_path / "none.toml", FLAGS)
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="is not UTF-8"):
        read_comparison(tmp_path / "a.toml", FLAGS)


EXAMPLES = sorted(Path(__file__).parents[2].glob("studies/*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_comparison_in_the_repository_is_sound(path: Path) -> None:
    from typing import get_type_hints

    from vastmax.cli.compare import compare

    found = read_comparison(path, {**get_type_hints(compare), "split": Any})
    assert found.methods
    for method in found.methods:
        assert RunConfig(method=method).loop_options


RECORDS = sorted(Path(__file__).parents[2].glob("studies/*/records.jsonl"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_committed_records_are_of_runs_that_a_comparison_takes_as_finished(path: Path) -> None:
    from vastmax.comparison.comparing import finished

    done = [record for record in read_records(path) if record.status == "done"]
    assert done
    for record in done:
        config = RunConfig.from_json(record.config or {})
        assert finished(record, config) is record
        assert (config.method.spec.name, dict(config.method.spec.options)) == (record.layer, record.options)
        if record.tree is not None:
            found = build(record.layer, 2, [3, 2, 1]).structure_statistics([3, 2, 1])
            assert found is not None and found.keys() == record.tree.keys()
