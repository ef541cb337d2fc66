"""The folder of a model: vectors.safetensors, vocabulary.tsv and config.json, with metrics.jsonl beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.documents import parse_json, read_json
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.tables.forms import is_compressed, read_table
from vastmax.embeddings.tables.stored import StoredRows, Table
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, is_file, member, read_members, replacing_members
from vastmax.runs import CHECKPOINT_TENSORS, map_tensors, write_tensors
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

__all__ = ["holds_embeddings", "load_folder", "save_folder"]

VECTORS, VOCABULARY, CONFIG = "vectors.safetensors", "vocabulary.tsv", "config.json"
_FORMAT, _COMPRESSED = "vastmax embeddings 1", "vastmax embeddings 2"  # the second if vectors are not float32
_NGRAMS, _BUCKETS, _SUBWORDS = "ngram_vectors", "ngram_buckets", "subwords"  # the last is a key of the config
_Found = tuple[Table, Vocabulary, NDArray[np.float32] | None, dict[str, Any], SubwordVectors | None]


def holds_embeddings(directory: str | os.PathLike[str]) -> bool:
    """Whether a folder has a config.json, as `Embeddings.save` writes it; no file is read, so it may be damaged."""
    return is_file(member(as_path(directory), CONFIG))


def save_folder(
    directory: str | os.PathLike[str],
    vectors: Table,
    vocabulary: Vocabulary,
    output_vectors: NDArray[Any] | None,
    config: Mapping[str, Any],
    subwords: SubwordVectors | None = None,
) -> None:
    """Write the three files; see `Embeddings.save`."""
    compressed = isinstance(vectors, StoredRows)
    tensors = dict(vectors.tensors()) if compressed else {"vectors": vectors}
    if output_vectors is not None:
        tensors["output_vectors"] = output_vectors
    for key, what in (("format", "the version"), (_SUBWORDS, "the rule of n-grams")):
        if key in config:
            raise InputError(f"config has the key {key!r}, which is reserved for {what}: rename it.")
    written = {"format": _COMPRESSED if compressed and is_compressed(tensors) else _FORMAT, **config}
    if subwords is not None:
        tensors |= {_NGRAMS: subwords.vectors, _BUCKETS: subwords.held}
        written[_SUBWORDS] = asdict(subwords.rule) | ({"pruned": True} if subwords.pruned else {})
    try:
        text = json.dumps(written, indent=2, ensure_ascii=False)
        parse_json(text)  # make sure that it can be read back
    except (TypeError, ValueError, RecursionError, FormatError) as error:
        raise InputError(f"config cannot be written as JSON ({error}): give only values that JSON supports.") from error
    with replacing_members(directory) as staging:
        write_tensors(staging / VECTORS, tensors)
        vocabulary.save(staging / VOCABULARY)
        (staging / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_folder(directory: str | os.PathLike[str]) -> _Found:
    """Return vectors, vocabulary, output vectors, config and vectors of n-grams; see `Embeddings.load`."""
    folder = as_path(directory)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}: give the folder of a model.")
    names = (CHECKPOINT_TENSORS, VECTORS, VOCABULARY, CONFIG)
    return read_members(folder, names, lambda: _load(folder))


def _load(folder: Path) -> _Found:
    # the checkpoint of a run can be opened while training continues
    running = is_file(member(folder, CHECKPOINT_TENSORS))
    tensors = CHECKPOINT_TENSORS if running else VECTORS
    for name in (tensors, VOCABULARY) if running else (tensors, VOCABULARY, CONFIG):
        if not is_file(member(folder, name)):
            raise FormatError(f"{folder} is not a folder of embeddings, it has no {name}: give the folder of a model.")
    config = {} if running else _read_config(member(folder, CONFIG))
    rule = config.pop(_SUBWORDS, None)
    found = _matrices(member(folder, tensors), rule is not None)
    subwords = None if rule is None else _subwords(folder, rule, found)
    vocabulary = Vocabulary.load(member(folder, VOCABULARY))
    table = read_table(found, member(folder, tensors)) if is_compressed(found) else found["vectors"]
    return table, vocabulary, found.get("output_vectors"), config, subwords


def _subwords(folder: Path, rule: Any, found: Mapping[str, NDArray[Any]]) -> SubwordVectors:
    try:
        pruned = rule.pop("pruned", False)
        return SubwordVectors(Subwords(**rule), found[_NGRAMS], found[_BUCKETS], pruned=pruned)
    except (TypeError, AttributeError, KeyError, InputError) as error:
        why = str(error).rstrip(".")
        raise FormatError(
            f"{folder} is damaged, its subwords do not match ({why}): train it again, or restore a copy."
        ) from error


def _matrices(path: Path, subwords: bool) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file: vectors, output vectors if any, and with subwords n-gram vectors, perhaps (0, d)."""
    found = map_tensors(path)
    if _NGRAMS in found and "vectors" not in found and not is_compressed(found):
        raise FormatError(
            f"{path} is a checkpoint with subwords, whose words get their vectors at the end: resume it first."
        )
    for name in (
        *["vectors"] * (not is_compressed(found)),
        *(name for name in ("output_vectors",) if name in found),
        *[_NGRAMS] * subwords,
    ):
        if name not in found or found[name].dtype != np.float32 or found[name].ndim != 2:
            raise FormatError(f"{path} has no matrix {name!r} of 32-bit floats: train it again, or restore a copy.")
    return found


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if isinstance(config, dict) and not str(config.get("format")).startswith(_FORMAT[:-1]):
        raise FormatError(
            f"{path.parent} contains {config.get('format')!r}, not embeddings: give the folder of a model."
        )
    if not isinstance(config, dict) or config.get("format") not in (_FORMAT, _COMPRESSED):
        raise FormatError(f"{path} was written by another version: give one of format {_FORMAT!r} or {_COMPRESSED!r}.")
    return {key: value for key, value in config.items() if key != "format"}
