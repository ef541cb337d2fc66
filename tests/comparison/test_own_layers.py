"""User-defined layers on the command line: ``module:Class``, in a separate process like every run."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import vastmax
from tests.corpora import write_corpus
from vastmax.comparison import METHODS, Method, method_named, read_comparison
from vastmax.comparison.report import read_records
from vastmax.errors import InputError
from vastmax.language import load_language_model
from vastmax.layers import LAYERS, LayerSpec, own_layer

SMALL = ["--dim", "8", "--layers", "1", "--epochs", "1", "--threads", "1", "--held-out", "0.1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module that defines a layer and is not yet imported."""
    shutil.copy(Path(__file__).parents[1] / "toy_layer.py", tmp_path / "my_layers.py")
    write_corpus(tmp_path / "text.txt", count=300)
    monkeypatch.chdir(tmp_path)
    known = set(LAYERS)
    yield tmp_path
    for name in set(LAYERS) - known:
        del LAYERS[name]
    sys.modules.pop("my_layers", None)


def test_it_is_compared_by_its_place(place: Path) -> None:
    methods = "full,my_layers:ToySampledSoftmax"
    program = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]  # like a script: without "."
    command = [*program, "-m", "vastmax", "compare", "text.txt", "-o", "c", "--methods", methods, *SMALL]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    records = {record.label: record for record in read_records(place / "c" / "records.jsonl")}
    assert records["ToySampledSoftmax"].layer == "my_layers:ToySampledSoftmax"
    assert records["ToySampledSoftmax"].status == "done" and records["ToySampledSoftmax"].kind == "estimator"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "of an earlier call" in again.stderr


def test_a_file_gives_it_a_name_and_options(place: Path) -> None:
    (place / "c.toml").write_text('[methods.mine]\nlayer = "my_layers:ToySampledSoftmax"\nnum_samples = 3\n')
    found = read_comparison(place / "c.toml", {})
    assert found.methods == [Method("mine", "my_layers:ToySampledSoftmax", {"num_samples": 3})]
    (place / "c.toml").write_text('[methods.mine]\nlayer = "my_layers:ToySampledSoftmax"\ndepth = 3\n')
    with pytest.raises(InputError, match="ToySampledSoftmax has no option 'depth'"):
        read_comparison(place / "c.toml", {})


def test_it_trains_a_language_model_by_its_place(place: Path) -> None:
    flags = ["--output-layer", "my_layers:ToySampledSoftmax", "--option", "num_samples=3", *SMALL]
    trained = vastmax("lm", "train", "text.txt", "-o", "m", *flags)
    assert trained.code == 0, trained.err
    assert load_language_model(place / "m").layer == LayerSpec("my_layers:ToySampledSoftmax", {"num_samples": 3})
    scored = subprocess.run(
        [sys.executable, "-m", "vastmax", "lm", "score", "m", "text.txt"], capture_output=True, text=True
    )
    assert scored.returncode == 1 and "call vastmax.layers.own_layer('my_lay" in scored.stderr
    for verb in (["score", "m", "text.txt"], ["sample", "m"]):
        found = vastmax("lm", *verb, "--output-layer", "my_layers:ToySampledSoftmax")
        assert found.code == 0 and found.out, found.err
        assert vastmax("lm", *verb, "--output-layer", "full").err.endswith("give module:Class.\n")


def test_what_cannot_be_a_layer(place: Path) -> None:
    (place / "broken.py").write_text("raise ValueError('no good')\n")
    (place / "leaves.py").write_text("import sys\nsys.path.pop(0)\nsys.exit(3)\n")
    half = "\n\nclass Half(ToySampledSoftmax):\n    @abc.abstractmethod\n    def forget(self): ...\n"
    (place / "my_layers.py").write_text((place / "my_layers.py").read_text() + "\n\nimport abc" + half)
    before = list(sys.path)
    for name, sentence in {
        "nowhere:Layer": "module nowhere of the layer nowhere:Layer cannot be imported .ModuleNotFoundError",
        "broken:Layer": "cannot be imported .ValueError: no good",
        "my_layers:Nothing": "my_layers:Nothing is not an output layer: name a class that derives from",
        "my_layers:math": "is not an output layer",
        "my_layers:": "your own layer is 'my_layers:': give module:Class",
        ":Layer": "give module:Class",
        "my_layers:a.b": "give module:Class",
        "vastmax.layers:OutputLayer": "OutputLayer is abstract: define _log_prob, _target_log_prob",
        "my_layers:Half": "my_layers:Half is abstract: define forget in it, or name a class that does",
        "my_layers.ToySampledSoftmax": "method is .*, or module:Class",
        "leaves:Layer": "cannot be imported .SystemExit: 3",
    }.items():
        with pytest.raises(InputError, match=sentence):
            method_named(name)
    assert sys.path == before
    assert not [name for name in LAYERS if "Half" in name or "OutputLayer" in name]
    with pytest.raises(InputError, match=r"output layer is .my_layers\.Toy.*, or module:Class"):
        LayerSpec("my_layers.ToySampledSoftmax")
    wrong = vastmax("compare", "text.txt", "-o", "c", "--methods", "nowhere:Layer")
    assert wrong.code == 1 and "cannot be imported" in wrong.err and "Traceback" not in wrong.err


def test_two_classes_of_one_name_need_names(place: Path) -> None:
    shutil.copy("my_layers.py", "their_layers.py")
    methods = "my_layers:ToySampledSoftmax,their_layers:ToySampledSoftmax"
    outcome = vastmax("compare", "text.txt", "-o", "c", "--methods", methods, *SMALL)
    assert outcome.code == 1 and "[methods.NAME] in a --config file" in outcome.err
    sys.modules.pop("their_layers", None)


def test_what_is_loaded_imports_nothing(place: Path) -> None:
    with pytest.raises(InputError, match=r"is not loaded: call vastmax\.layers\.own_layer\('my_lay"):
        LayerSpec("my_layers:ToySampledSoftmax")
    assert "my_layers" not in sys.modules
    assert own_layer("my_layers:ToySampledSoftmax") == "my_layers:ToySampledSoftmax"
    assert not [label for label in METHODS if "Toy" in label]
    assert LayerSpec("my_layers:ToySampledSoftmax").layer.__name__ == "ToySampledSoftmax"
