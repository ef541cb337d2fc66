"""The rooms of the house: what imports what, read from the source.

A room imports only from rooms to its left and from the leaves; from another room it takes what stands in that room's
front door (its ``__init__``), never a file behind it. ``docs/contributing.md`` draws the rooms.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "vastmax"
ROOMS = [
    "text",
    "trees",
    "proposals",
    "layers",
    "models",
    "embeddings",
    "training",
    "evaluation",
    "reporting",
    "experiments",
    "cli",
]
LEAVES = {"checks", "errors", "files", "threads", "_core", "__version__"}
FRONT_DOORS = {"__init__.py", "__main__.py"}
# Counts are enough for these: users with item ids and no text need no text room.
NOT_FROM = {("trees", "text"), ("proposals", "text")}
# Libraries that only these rooms may load; everybody else stays light.
RESERVED = {
    "torch": {"layers", "models", "training", "evaluation", "proposals", "experiments"},
    "matplotlib": {"reporting"},
    "plotly": {"reporting"},
    "jinja2": {"reporting"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "pickle": set(),
}


def imports(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of everything a file imports, also inside functions and by ``import_module("…")``."""
    parents = ["vastmax", *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            # `from vastmax import text` names a room as well as `from vastmax.text import …`
            yield from ((node.lineno, f"{base}.{alias.name}" if base == "vastmax" else base) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def violations(package: Path) -> list[str]:
    """Every import that breaks the rule, as 'file:line: why'."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        room = inside.parts[0] if len(inside.parts) > 1 else None
        if room is not None and room not in ROOMS:
            found.append(f"{inside}:1: {room} is no room of the house")
            continue
        for line, module in imports(path, package):
            where = f"{inside}:{line}: "
            top, *rest = module.split(".")
            if top in RESERVED and room not in RESERVED[top]:
                found.append(f"{where}{room or inside.stem} may not load {top}")
            if top != "vastmax" or not rest or rest[0] in LEAVES or rest[0] == room:
                continue
            if room is None:
                if inside.name not in FRONT_DOORS:
                    found.append(f"{where}a leaf imports nothing of the house, not {module}")
                continue
            if rest[0] not in ROOMS:
                found.append(f"{where}{module} is neither a room nor a leaf")
            elif ROOMS.index(rest[0]) > ROOMS.index(room):
                found.append(f"{where}{room} may not import {rest[0]}, which stands to its right")
            elif (room, rest[0]) in NOT_FROM:
                found.append(f"{where}{room} takes counts and may not import {rest[0]}")
            elif len(rest) > 1:
                found.append(f"{where}{room} goes through a wall: import from vastmax.{rest[0]}, not from {module}")
    return sorted(set(found))


def test_house_stands() -> None:
    assert violations(PACKAGE) == []


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(ROOMS)
    assert {"text", "trees", "embeddings", "training", "evaluation", "reporting", "cli"} <= folders


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("text/vocabulary.py", "from vastmax.training import train", "text may not import training"),
        ("text/vocabulary.py", "import vastmax.embeddings", "text may not import embeddings"),
        ("text/vocabulary.py", "from vastmax import cli", "text may not import cli"),
        (
            "training/driver.py",
            "def f():\n    from vastmax.evaluation import evaluate_analogies",
            "may not import evaluation",
        ),
        ("training/driver.py", "from ..cli import main", "training may not import cli"),
        ("training/driver.py", "from .. import reporting", "training may not import reporting"),
        (
            "training/driver.py",
            "from importlib import import_module\nimport_module('vastmax.cli')",
            "may not import cli",
        ),
        ("training/driver.py", "from vastmax.text.vocabulary import Vocabulary", "goes through a wall"),
        ("trees/huffman.py", "from vastmax.text import Vocabulary", "takes counts"),
        ("errors.py", "from vastmax.text import Vocabulary", "a leaf imports nothing"),
        ("text/vocabulary.py", "import torch.nn", "text may not load torch"),
        ("training/checkpoint.py", "import pickle", "training may not load pickle"),
        ("training/driver.py", "from rich.progress import Progress", "training may not load rich"),
        ("attic/old.py", "", "attic is no room"),
        ("text/vocabulary.py", "import vastmax.attic", "neither a room nor a leaf"),
    ],
)
def test_can_fail(tmp_path: Path, file: str, source: str, complaint: str) -> None:
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
        ("__init__.py", "from vastmax.training import train"),
        (
            "training/driver.py",
            "from vastmax.text import encode_corpus\nfrom .options import EmbeddingOptions\nimport torch",
        ),
        (
            "text/vocabulary.py",
            "from vastmax.text.reader import read\nfrom vastmax.errors import InputError\nfrom vastmax import _core",
        ),
        ("cli/main.py", "import typer\nimport rich\nfrom vastmax.evaluation import evaluate_analogies"),
    ],
)
def test_allowed(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    assert violations(tmp_path) == []
