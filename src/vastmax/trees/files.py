"""Trees on disk: one safetensors file."""

from __future__ import annotations

from os import PathLike, fspath

from vastmax.errors import FormatError, InputError
from vastmax.trees.tree import Tree

__all__ = ["load_tree", "save_tree"]

_KIND = "vastmax tree 1"
_TENSORS = ("offsets", "nodes", "signs", "words")


def save_tree(tree: Tree, path: str | PathLike[str]) -> None:
    """Write offsets, nodes, signs and words as tensors of one safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    name = fspath(path)
    tensors = {key: getattr(tree, key) for key in _TENSORS}
    try:
        save_file(tensors, name, metadata={"format": _KIND})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{name} cannot be written: {error}") from error


def load_tree(path: str | PathLike[str]) -> Tree:
    """Read a tree; FormatError where the file is missing a part or its paths make no tree."""
    from safetensors import SafetensorError, safe_open

    name = fspath(path)
    try:
        with safe_open(name, framework="numpy") as file:
            kind = (file.metadata() or {}).get("format")
            if kind != _KIND:
                raise FormatError(f"{name} is no tree of this version: its format is {kind!r}, expected {_KIND!r}.")
            tensors = {key: file.get_tensor(key) for key in _TENSORS}
    except FileNotFoundError:
        raise InputError(f"{name} does not exist.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{name} is no tree: {error}.") from error
    try:
        return Tree(**tensors)
    except InputError as error:
        raise FormatError(f"{name} is damaged: {error}") from error
