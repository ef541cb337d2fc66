"""The folder of a model: vectors.safetensors, vocabulary.tsv, config.json, and metrics.jsonl beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vastmax.embeddings.tensors import map_tensors, read_state, write_state, write_tensors
from vastmax.errors import FormatError, InputError
from vastmax.files import member, replacing_members
from vastmax.text import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vastmax.embeddings.embeddings import Embeddings

__all__ = ["holds_embeddings", "load_folder", "load_state", "save_folder"]

VECTORS, VOCABULARY, CONFIG, STATE = "vectors.safetensors", "vocabulary.tsv", "config.json", "state.safetensors"
_FORMAT = "vastmax embeddings 1"


def holds_embeddings(directory: str | os.PathLike[str]) -> bool:
    """Whether a folder holds what `Embeddings.save` wrote, whole or damaged; nothing is read."""
    return member(Path(directory), CONFIG).is_file()


def save_folder(
    embeddings: Embeddings, directory: str | os.PathLike[str], state: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Write the three files; see `Embeddings.save`. Tensors that are no embeddings go into a fourth, if there are."""
    tensors = {"vectors": embeddings.vectors}
    if embeddings.output_vectors is not None:
        tensors["output_vectors"] = embeddings.output_vectors
    try:
        config = json.dumps({"format": _FORMAT, **embeddings.config}, indent=2, ensure_ascii=False)
    except TypeError as error:
        raise InputError(f"the config of these embeddings does not fit JSON: {error}.") from error
    with replacing_members(directory) as staging:
        write_tensors(staging / VECTORS, tensors)
        embeddings.vocabulary.save(staging / VOCABULARY)
        (staging / CONFIG).write_text(config + "\n", encoding="utf-8")
        if state:
            write_state(staging / STATE, state)


def load_folder(directory: str | os.PathLike[str]) -> Embeddings:
    """Read the three files; see `Embeddings.load`."""
    from vastmax.embeddings.embeddings import Embeddings

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
    try:
        return Embeddings(tensors["vectors"], vocabulary, tensors.get("output_vectors"), config)
    except InputError as error:
        raise FormatError(f"{folder} is damaged: {error}") from error


def load_state(directory: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the tensors that :func:`save_folder` put beside the embeddings; none where there were none."""
    path = member(Path(directory), STATE)
    return read_state(path) if path.is_file() else {}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise FormatError(f"{path} is of another version: its format must be {_FORMAT!r}.")
    return {key: value for key, value in config.items() if key != "format"}
