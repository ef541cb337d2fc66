"""Vectors for other programs, the format told by the file's ending."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.word2vec import read_word2vec, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.files import replacing
from vastmax.vocabulary import Vocabulary

__all__ = ["export", "import_vectors"]

_TEXT = (".txt", ".vec")


def export(embeddings: Embeddings, path: str | os.PathLike[str]) -> None:
    """Write vectors as the ending says: .txt or .vec word2vec text, .bin word2vec binary, .npy numpy with a .tsv.

    ``name.npy`` holds the vectors (V, d) float32, and ``name.tsv`` beside it the vocabulary, "word<TAB>count" a line.

    Raises:
        InputError: for another ending, or where the file cannot be written.
    """
    target = Path(path)
    if target.suffix == ".npy":
        with replacing(target.with_suffix(".tsv")) as names, replacing(target) as temporary:
            embeddings.vocabulary.save(names)
            with temporary.open("wb") as file:
                np.save(file, embeddings.vectors, allow_pickle=False)
    elif target.suffix in (*_TEXT, ".bin"):
        write_word2vec(embeddings, target, binary=target.suffix == ".bin")
    else:
        raise InputError(f"cannot export to {target}: end its name in .txt, .vec, .bin or .npy.")


def import_vectors(path: str | os.PathLike[str]) -> Embeddings:
    """Read what `export` writes, also packed (.txt.gz, .vec.gz, .bin.gz), and folders of embeddings.

    Raises:
        InputError: for another ending, or a file that is missing.
        FormatError: where the content is not what the ending says.
    """
    source = Path(path)
    if source.is_dir():
        return Embeddings.load(source)
    ending = Path(source.stem).suffix if source.suffix == ".gz" else source.suffix
    if ending == ".npy" and source.suffix != ".gz":
        return _import_numpy(source)
    if ending in (*_TEXT, ".bin"):
        return read_word2vec(source, binary=ending == ".bin")
    raise InputError(f"cannot import {source}: its name must end in .txt, .vec, .bin (or these with .gz) or .npy.")


def _import_numpy(source: Path) -> Embeddings:
    names = source.with_suffix(".tsv")
    for file in (source, names):
        if not file.exists():
            raise InputError(f"{file} does not exist: vectors in .npy need their words in a .tsv beside them.")
    try:
        vectors = np.load(source, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{source} is no array of numpy's: {error}.") from error
    vocabulary = Vocabulary.load(names)
    try:
        return Embeddings(vectors, vocabulary)
    except InputError as error:
        raise FormatError(f"{source} and {names.name} do not fit: {error}") from error
