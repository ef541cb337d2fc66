"""The folder of a model: vectors.safetensors, vocabulary.tsv, config.json, and metrics.jsonl beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.formats.tensors import map_tensors, read_state, write_state, write_tensors
from vastmax.errors import FormatError, InputError
from vastmax.files import member, replacing_members
from vastmax.vocabulary import Vocabulary

__all__ = ["holds_embeddings", "load_extra", "load_folder", "save_folder"]

VECTORS, VOCABULARY, CONFIG, EXTRA = "vectors.safetensors", "vocabulary.tsv", "config.json", "state.safetensors"
_FORMAT = "vastmax embeddings 1"


def holds_embeddings(directory: str | os.PathLike[str]) -> bool:
    """Whether a folder holds what `Embeddings.save` wrote, whole or damaged; nothing is read."""
    return member(Path(directory), CONFIG).is_file()


def save_folder(
    directory: str | os.PathLike[str],
    vectors: NDArray[Any],
    vocabulary: Vocabulary,
    output_vectors: NDArray[Any] | None,
    config: Mapping[str, Any],
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the three files; see `Embeddings.save`. Tensors that are no embeddings go into a fourth, if there are."""
    tensors = {"vectors": vectors}
    if output_vectors is not None:
        tensors["output_vectors"] = output_vectors
    try:
        text = json.dumps({"format": _FORMAT, **config}, indent=2, ensure_ascii=False)
    except TypeError as error:
        raise InputError(f"the config of these embeddings does not fit JSON: {error}.") from error
    with replacing_members(directory) as staging:
        write_tensors(staging / VECTORS, tensors)
        vocabulary.save(staging / VOCABULARY)
        (staging / CONFIG).write_text(text + "\n", encoding="utf-8")
        if extra:
            write_state(staging / EXTRA, extra)


def load_folder(
    directory: str | os.PathLike[str],
) -> tuple[NDArray[np.float32], Vocabulary, NDArray[np.float32] | None, dict[str, Any]]:
    """Return vectors, vocabulary, output vectors and config; see `Embeddings.load`."""
    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder of embeddings: {'it is a file' if folder.exists() else 'nothing there'}."
        )
    for name in (VECTORS, VOCABULARY, CONFIG):
        if not member(folder, name).is_file():
            raise FormatError(f"{folder} is no folder of embeddings: it has no {name}.")
    config = _read_config(member(folder, CONFIG))
    tensors = map_tensors(member(folder, VECTORS), required=("vectors",), optional=("output_vectors",))
    vocabulary = Vocabulary.load(member(folder, VOCABULARY))
    return tensors["vectors"], vocabulary, tensors.get("output_vectors"), config


def load_extra(directory: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the tensors that :func:`save_folder` put beside the embeddings; none where there were none."""
    path = member(Path(directory), EXTRA)
    return read_state(path) if path.is_file() else {}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise FormatError(f"{path} is of another version: its format must be {_FORMAT!r}.")
    return {key: value for key, value in config.items() if key != "format"}
