"""Save and load a model as one file of tensors, words and a JSON document, which contains no code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import conforms, described, shown
from vastmax.documents import parse_json
from vastmax.errors import FormatError
from vastmax.files import as_path, reading, replacing
from vastmax.runs import map_tensors, plain, write_tensors
from vastmax.vocabulary import join_words

__all__ = ["checked", "matrix", "read_model", "words_in", "write_model"]

_DOCUMENT, _WORDS = "document", "words"


def write_model(
    path: str | os.PathLike[str], kind: str, document: Mapping[str, Any], words: Sequence[str], tensors: Any
) -> None:
    """Write a safetensors file that has words and document as byte tensors; atomic: a kill leaves the old file.

    Args:
        path: the file.
        kind: name of the model's class.
        document: JSON values.
        words: the words.
        tensors: arrays by name.

    Raises:
        InputError: a file that cannot be written, or a word with U+001F or an unpaired surrogate.
    """
    text = json.dumps({"format": _format(kind), **plain(dict(document))}, ensure_ascii=False)
    parts = {_DOCUMENT: text.encode(), _WORDS: join_words(words)}
    content = {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}
    with replacing(path) as temporary:
        write_tensors(temporary, {**tensors, **content})


def read_model(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the document and the tensors, including `_WORDS`, of a file that `write_model` wrote.

    Raises:
        InputError: a file that cannot be read.
        FormatError: a file of another kind, or a damaged one.
    """
    source = as_path(path)
    with reading(source):
        with source.open("rb") as file:
            head = file.read(9)
        if head[:1] == b"\x80" and head[8:] != b"{":  # a safetensors file starts with a length of 8 bytes and a brace
            raise FormatError(
                f"{source} is a pickle, as gensim saves its models, which can run any program and is not opened: load "
                f"it with gensim and continue with {kind}.adopt(model)."
            )
        tensors = map_tensors(source)
    try:
        document = parse_json(bytes(tensors.pop(_DOCUMENT)))
        found = document.pop("format")
    except (KeyError, AttributeError, FormatError):
        raise FormatError(f"{source} is not a model that {kind}.save wrote: give one.") from None
    if found != _format(kind):
        raise FormatError(f"{source} contains {shown(found)}: give {kind}.load a file of {_format(kind)!r}.")
    return document, tensors


def _format(kind: str) -> str:
    return f"vastmax gensim {kind} 1"


def words_in(path: Any, tensors: Mapping[str, NDArray[Any]], count: int) -> list[str]:
    """Return the words of a file; FormatError unless they are ``count`` distinct words."""
    try:
        words = bytes(tensors[_WORDS]).decode().split("\x1f") if count else []
    except (KeyError, UnicodeDecodeError):
        words = []
    if len(words) != count or len(set(words)) < count:
        raise FormatError(f"{path} is damaged, it does not contain {count} different words: save it again.")
    return words


def matrix(
    path: Any, tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...], dtype: Any = np.float32
) -> NDArray[Any]:
    """Return a copy of a tensor; FormatError if it is missing, or of another dtype or shape (None: any length)."""
    found = tensors.get(name)
    if (
        found is None
        or found.dtype != dtype
        or found.ndim != len(shape)
        or any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True))
    ):
        wanted = " by ".join("n" if size is None else str(size) for size in shape)
        raise FormatError(
            f"{path} is damaged, {name!r} is not {wanted} numbers of type {np.dtype(dtype)}: save it again."
        )
    return np.array(found)


def checked(path: Any, document: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's values of these names; FormatError if one is missing or of another type."""
    for name, hint in hints.items():
        if name not in document or not conforms(document[name], hint):
            raise FormatError(
                f"{path} is damaged, {name} is {shown(document.get(name))}, not {described(hint)}: save it again."
            )
    return {name: document[name] for name in hints}
