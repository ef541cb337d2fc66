"""Trees and classes on disk: one safetensors file each."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from vastmax.errors import FormatError, InputError
from vastmax.trees.tree import Tree

if TYPE_CHECKING:
    from vastmax.trees.classes import Classes

__all__ = ["load_classes", "load_tree", "save_classes", "save_tree"]

Path = str | PathLike[str]
_TREE = ("offsets", "nodes", "signs", "words")
_CLASSES = ("class_of",)


def save_tree(tree: Tree, path: Path) -> None:
    """Write offsets, nodes, signs and words as tensors of one safetensors file."""
    _save("tree", {key: getattr(tree, key) for key in _TREE}, path)


def load_tree(path: Path) -> Tree:
    """Read a tree; FormatError where the file is missing a part or its paths make no tree."""
    tensors = _load("tree", _TREE, path)
    try:
        return Tree(tensors["offsets"], tensors["nodes"], tensors["signs"], tensors["words"])
    except InputError as error:
        raise FormatError(f"{fspath(path)} is damaged: {error}") from error


def save_classes(classes: Classes, path: Path) -> None:
    """Write the class of each word as the tensor of a safetensors file."""
    _save("classes", {key: getattr(classes, key) for key in _CLASSES}, path)


def load_classes(path: Path) -> Classes:
    """Read classes; FormatError where the file holds none."""
    from vastmax.trees.classes import Classes

    tensors = _load("classes", _CLASSES, path)
    try:
        return Classes(tensors["class_of"])
    except InputError as error:
        raise FormatError(f"{fspath(path)} is damaged: {error}") from error


def _format(kind: str) -> str:
    return f"vastmax {kind} 1"


def _save(kind: str, tensors: dict[str, NDArray], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(tensors, fspath(path), metadata={"format": _format(kind)})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{fspath(path)} cannot be written: {error}") from error


def _load(kind: str, names: tuple[str, ...], path: Path) -> dict[str, NDArray]:
    from safetensors import SafetensorError, safe_open

    name, what = fspath(path), {"tree": "no tree", "classes": "no classes"}[kind]
    try:
        with safe_open(name, framework="numpy") as file:
            found = (file.metadata() or {}).get("format")
            if found != _format(kind):
                raise FormatError(
                    f"{name} is {what} of this version: its format is {found!r}, expected {_format(kind)!r}."
                )
            return {key: file.get_tensor(key) for key in names}
    except FileNotFoundError:
        raise InputError(f"{name} does not exist.") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last two: no numpy type
        raise FormatError(f"{name} is {what}: {error}.") from error
