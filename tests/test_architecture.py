"""The import rules between packages, checked on the source.

A package imports only from packages before it in the list and from the ground modules, through their public interface
(``__init__``), never from a file inside. No import cycles. ``docs/contributing.md`` describes the packages.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vastmax import layers

PACKAGE = Path(__file__).parents[1] / "src" / "vastmax"
GROUND = [
    "sentences",
    "errors",
    "lazy",
    "checks",
    "options",
    "documents",
    "locks",
    "files",
    "machine",
    "display",
    "_core",
    "__version__",
]
PACKAGES = [
    "vocabulary",
    "text",
    "trees",
    "ops",
    "proposals",
    "layers",
    "optimizers",
    "distributed",
    "runs",
    "embeddings",
    "language",
    "comparison",
    "integrations",
    "cli",
]
"""In dependency order: each may import those before it."""
DOORS = {"comparison.report", "layers.base"}
"""Nested packages with a public interface of their own."""
FRONT_DOORS = {"__init__.py", "__main__.py"}
# Trees and proposals need only counts, so that item ids suffice without text. The CLI imports no adapter.
NOT_FROM = {("trees", "text"), ("ops", "text"), ("proposals", "text"), ("layers", "text"), ("cli", "integrations")}
# Libraries that only these packages may load.
RESERVED = {
    "torch": {
        "ops",
        "proposals",
        "layers",
        "optimizers",
        "distributed",
        "runs",
        "embeddings",
        "language",
        "comparison",
        "machine",
    },
    "matplotlib": set(),
    "plotly": {"comparison"},
    "jinja2": {"comparison"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli", "display"},
    "gensim": {"integrations"},
    "pandas": {"embeddings"},
    "polars": {"embeddings"},
    "pickle": set(),
}
TO_DO: set[str] = set()
"""Known violations, as the test reports them. The list may only shrink."""
CIRCLES_TO_DO: list[str] = []
"""Known import cycles. The list may only shrink."""
NAMED = {
    ("cli/corpus.py", "class-based"): "a kind of tree",
    ("cli/lm.py", "full"): "the default of --output-layer, in a file that does without torch",
    ("comparison/report/summary.py", "full"): "the run that others are measured against, in records alone",
    ("embeddings/formats/fasttext.py", "hierarchical"): "an objective of the compiled trainer",
    ("embeddings/formats/fasttext.py", "negative-sampling"): "an objective of the compiled trainer",
    ("embeddings/options.py", "negative-sampling"): "an objective of the compiled trainer",
    ("embeddings/predicting.py", "hierarchical"): "an objective of the compiled trainer",
    ("embeddings/training.py", "negative-sampling"): "an objective of the compiled trainer",
    ("embeddings/trainers/__init__.py", "hierarchical"): "an objective of the compiled trainer",
    ("embeddings/trainers/__init__.py", "negative-sampling"): "an objective of the compiled trainer",
    ("embeddings/trainers/compiled.py", "hierarchical"): "an objective of the compiled trainer",
    ("integrations/gensim/training.py", "hierarchical"): "an objective of the compiled trainer",
    ("integrations/gensim/training.py", "negative-sampling"): "an objective of the compiled trainer",
}
"""Allowed strings in packages above layers/ that equal a layer's name, each with its reason."""


def imports(path: Path, package: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, module, name) of every import of a file, also inside functions and by ``import_module("…")``."""
    parents = ["vastmax", *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            yield from ((node.lineno, base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value, ""


def violations(package: Path) -> list[str]:
    """Return every import that breaks the rules, as 'file:line: why'."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        here = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        if inside.name in FRONT_DOORS and len(inside.parts) == 1:
            continue
        if here not in PACKAGES and here not in GROUND:
            found.append(f"{inside}:1: {here} is no package of the list")
            continue
        for line, module, name in imports(path, package):
            where = f"{inside}:{line}: "
            top, *rest = module.split(".")
            if top == "vastmax" and not rest:
                rest = [name]
            if top in RESERVED and here not in RESERVED[top]:
                found.append(f"{where}{here} may not load {top}")
            if top != "vastmax" or not rest or rest[0] == here:
                continue
            if here in GROUND:
                if rest[0] not in GROUND[: GROUND.index(here)]:
                    found.append(f"{where}the ground imports nothing from above it, not {module}")
            elif rest[0] in GROUND:
                continue
            elif rest[0] not in PACKAGES:
                found.append(f"{where}{module} is no package of the list")
            elif PACKAGES.index(rest[0]) > PACKAGES.index(here):
                found.append(f"{where}{here} may not import {rest[0]}, which is built on it")
            elif (here, rest[0]) in NOT_FROM:
                found.append(f"{where}{here} may not import {rest[0]}, which it does without")
            elif len(rest) > 1 and ".".join(rest) not in DOORS:
                found.append(f"{where}{here} goes past a front door: import from vastmax.{rest[0]}, not from {module}")
    return sorted(set(found))


def circles(package: Path) -> list[list[str]]:
    """Return the import cycles: groups of files that all reach each other, resolving re-exports of ``__init__``."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        files[".".join(("vastmax", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    edges: dict[str, set[str]] = {}
    for module, path in files.items():
        edges[module] = set()
        for _, base, name in imports(path, package):
            target = f"{base}.{name}" if f"{base}.{name}" in files else base
            # a re-exported name counts as an import of the file that defines it, not of the ``__init__``
            if target in files and target != module:
                edges[module].add(target)
    reached = {module: _reachable(module, edges) for module in edges}
    groups = {frozenset(n for n in reached[m] if m in reached[n]) | {m} for m in edges}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for target in edges[waiting.pop()] - found:
            found.add(target)
            waiting.append(target)
    return found


def named_layers(package: Path) -> set[tuple[str, str]]:
    """Return uses of concrete layer classes, and layer names as strings, in packages built on the layers."""
    found = set()
    classes = {kind.__name__ for kind in vars(layers).values() if _is_concrete(kind)}
    for path in package.rglob("*.py"):
        inside = path.relative_to(package)
        if (inside.parts[0] if len(inside.parts) > 1 else inside.stem) not in PACKAGES[PACKAGES.index("layers") + 1 :]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in layers.LAYERS:
                found.add((str(inside), node.value))
            elif isinstance(node, ast.Attribute) and node.attr in classes:
                found.add((str(inside), node.attr))
            elif isinstance(node, ast.alias) and node.name in classes:
                found.add((str(inside), node.name))
    return found


def _is_concrete(kind: object) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, (layers.OutputLayer, layers.AdaptiveEmbedding))
        and (not inspect.isabstract(kind))
    )


def test_nobody_above_the_layers_names_one() -> None:
    assert named_layers(PACKAGE) == NAMED.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from vastmax.layers import OutputLayer, build", None),
        ("from vastmax.layers import HierarchicalSoftmax", "HierarchicalSoftmax"),
        ("from vastmax import layers\nlayers.PartialSoftmax", "PartialSoftmax"),
        ("from vastmax.layers import AdaptiveEmbedding as Short", "AdaptiveEmbedding"),
        ("def f(name):\n    return name == 'adaptive-importance'", "adaptive-importance"),
        ("NARROW = {'cnn': 2}", "cnn"),
        ("text = 'in full'", None),
    ],
)
def test_a_layer_that_is_named_is_found(tmp_path: Path, source: str, found: str | None) -> None:
    (tmp_path / "language").mkdir()
    (tmp_path / "layers").mkdir()
    for package in ("language", "layers"):  # only layers/ may name it
        (tmp_path / package / "file.py").write_text(source)
    assert named_layers(tmp_path) == ({("language/file.py", found)} if found else set())


def test_packages_import_only_from_below() -> None:
    assert {re.sub(":\\d+:", ":", each) for each in violations(PACKAGE)} == TO_DO


def test_no_circle_of_files() -> None:
    assert [",".join(files) for files in circles(PACKAGE)] == CIRCLES_TO_DO


def test_every_folder_is_a_package_of_the_list() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert there - {"__init__", "__main__"} == {*PACKAGES, *GROUND} - {"_core", "__version__"}


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("vocabulary/vocabulary.py", "from vastmax.text import scan", "vocabulary may not import text"),
        ("text/encoding.py", "import vastmax.embeddings", "text may not import embeddings"),
        ("text/encoding.py", "from vastmax import cli", "text may not import cli"),
        ("runs/run.py", "def f():\n    from vastmax.language import perplexity", "runs may not import language"),
        ("embeddings/train.py", "from ..cli import main", "embeddings may not import cli"),
        ("embeddings/train.py", "from .. import comparison", "embeddings may not import comparison"),
        ("embeddings/train.py", "from importlib import import_module\nimport_module('vastmax.cli')", "not import cli"),
        ("embeddings/train.py", "from vastmax.text.corpus import EncodedCorpus", "goes past a front door"),
        ("trees/huffman.py", "from vastmax.text import encode_corpus", "trees may not import text, which it does with"),
        ("errors.py", "from vastmax.text import encode_corpus", "the ground imports nothing from above"),
        ("checks.py", "from vastmax.files import member", "the ground imports nothing from above"),
        ("text/encoding.py", "import torch.nn", "text may not load torch"),
        ("runs/run.py", "import pickle", "runs may not load pickle"),
        ("embeddings/train.py", "from rich.progress import Progress", "embeddings may not load rich"),
        ("attic/old.py", "", "attic is no package"),
        ("text/encoding.py", "import vastmax.attic", "no package of the list"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:")
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", "from vastmax.embeddings import train"),
        ("embeddings/train.py", "from vastmax.text import encode_corpus\nfrom .options import EmbeddingOptions"),
        ("text/encoding.py", "from vastmax.text.scan import scan\nfrom vastmax.errors import InputError"),
        ("text/encoding.py", "from vastmax._core import Scanner\nfrom vastmax import _core"),
        ("cli/main.py", "import typer\nimport rich\nfrom vastmax.comparison.report import write_report"),
    ],
)
def test_allowed(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a.py": "import vastmax.text.b", "b.py": "def f():\n    from vastmax.text.a import x"}, 2),
        ({"a.py": "from vastmax.text.b import y", "b.py": "from . import c", "c.py": "from .a import x"}, 3),
        ({"__init__.py": "from vastmax.text.a import x", "a.py": "from vastmax.text import y"}, 2),
        ({"__init__.py": "from vastmax.text.a import x", "a.py": "from vastmax.text.b import y", "b.py": ""}, 0),
    ],
)
def test_a_circle_is_found(tmp_path: Path, sources: dict[str, str], found: int) -> None:
    (tmp_path / "text").mkdir()
    for name, source in sources.items():
        (tmp_path / "text" / name).write_text(source)
    assert [len(each) for each in circles(tmp_path)] == ([found] if found else [])
