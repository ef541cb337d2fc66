"""``import vastmax`` is fast and loads no heavy dependency."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["torch", "matplotlib", "typer", "click", "rich", "gensim", "scipy", "pandas", "polars"]
MEASURE = """
import json, sys, time
start = time.perf_counter()
import vastmax
print(json.dumps({"seconds": time.perf_counter() - start, "loaded": sorted(sys.modules)}))
"""


def run(program: str) -> dict:
    return json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


def test_import_takes_less_than_a_third_of_a_second() -> None:
    runs = [run(MEASURE) for _ in range(5)]
    assert statistics.median(run["seconds"] for run in runs) < 0.3
    assert [name for name in HEAVY if name in runs[0]["loaded"]] == []


def test_public_names_load_nothing_heavy() -> None:
    program = """
import json, sys, vastmax
names = [name for name in vastmax.__all__ if getattr(vastmax, name) is None]
print(json.dumps({"missing": names, "loaded": sorted(sys.modules)}))
"""
    outcome = run(program)
    assert outcome["missing"] == []
    assert [name for name in HEAVY if name in outcome["loaded"]] == []


def test_the_compiled_engine_loads_no_torch() -> None:
    program = """
import json, sys
from vastmax.cli.app import run
import tempfile
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/text.txt", "w") as text:
        text.write("some words and some more words\\n" * 20)
    code = run(["train", f"{folder}/text.txt", "-o", f"{folder}/model", "--dim", "4", "--threads", "1"])
print(json.dumps({"code": code, "torch": "torch" in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "torch": False}


def test_public_names_are_listed() -> None:
    import vastmax

    assert set(vastmax.__all__) <= set(dir(vastmax))


LAZY = ["vastmax.trees", "vastmax.embeddings", "vastmax.language", "vastmax.comparison"]


@pytest.mark.parametrize("package", LAZY)
def test_public_names_are_what_they_are_in_every_order(package: str) -> None:
    program = f"""
import importlib, json, pkgutil, types, {package} as package
shown = sorted(set(package.__all__) - set(dir(package)))
files = [each.name for each in pkgutil.walk_packages(package.__path__, "{package}.") if "worker" not in each.name]
for name in files:
    importlib.import_module(name)
modules = [name for name in package.__all__ if isinstance(getattr(package, name), types.ModuleType)]
print(json.dumps({{"shown": shown, "modules": modules, "lacks": hasattr(package, "no_such_name")}}))
"""
    assert run(program) == {"shown": [], "modules": [], "lacks": False}


@pytest.mark.parametrize("package", ["vastmax.language", "vastmax.comparison", "vastmax.layers", "vastmax.optimizers"])
def test_without_torch_the_package_says_what_to_install(package: str) -> None:
    program = f"""
import importlib, json, sys
sys.modules["torch"] = None
try:
    package = importlib.import_module("{package}")
    assert not hasattr(package, "no_such_name")
    getattr(package, package.__all__[0])
except ImportError as error:
    print(json.dumps({{"said": str(error)}}))
"""
    assert "needs PyTorch: pip install 'vastmax[torch]'" in run(program)["said"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["lm", "train", "text.txt", "-o", "m"],
        ["lm", "score", "model", "text.txt"],
        ["lm", "sample", "model"],
        ["compare", "text.txt", "-o", "c"],
        ["compare", "--list-methods"],
        ["train", "text.txt", "-o", "m", "--engine", "torch"],
    ],
    ids=" ".join,
)
def test_without_torch_commands_say_what_to_install(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a word\n" * 9, encoding="utf-8")
    hidden = "import sys; sys.modules['torch'] = None\nfrom vastmax.cli.app import run\nsys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", hidden, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "PyTorch" in done.stderr and "pip install 'vastmax[" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
