"""Vectors for other programs, the format told by the file's ending."""

from __future__ import annotations

import os
from pathlib import Path

from vastmax.checks import whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.foreign import refuse_foreign
from vastmax.embeddings.formats.word2vec import read_word2vec, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.files import PATIENCE, as_path, map_array, opened, reading, replacing, write_array, writing
from vastmax.vocabulary import Vocabulary

__all__ = ["export", "import_vectors"]

_TEXT = (".txt", ".vec")


def export(embeddings: Embeddings, path: str | os.PathLike[str]) -> None:
    """Write vectors as the ending says: .txt or .vec word2vec text, .bin word2vec binary, .npy numpy with a .tsv.

    ``name.npy`` holds the vectors (V, d) float32, and ``name.tsv`` beside it the vocabulary, "word<TAB>count" a line.
    Two files cannot be replaced at one moment: a kill between them leaves vectors without words, never with others.

    Raises:
        InputError: for another ending, where a vector holds NaN or infinity, or where the file cannot be written.
    """
    target = as_path(path)
    if target.suffix == ".npy":
        embeddings.check_finite()
        names = target.with_suffix(".tsv")
        with writing(target.parent, patience=PATIENCE), replacing(names) as new_names:
            with new_names.open("wb") as file:
                embeddings.vocabulary.write(file)
            with replacing(target) as new_vectors:
                write_array(new_vectors, embeddings.vectors)
                names.unlink(missing_ok=True)
    elif target.suffix in (*_TEXT, ".bin"):
        write_word2vec(embeddings, target, binary=target.suffix == ".bin")
    else:
        raise InputError(f"cannot export to {target}: end its name in .txt, .vec, .bin or .npy.")


def import_vectors(path: str | os.PathLike[str], *, limit: int | None = None) -> Embeddings:
    """Read what `export` writes, also packed (.txt.gz, .vec.gz, .bin.gz), GloVe's text, and folders of embeddings.

    Whether .txt, .vec and .bin hold text or binary is told by the content; see `read_word2vec`.

    Args:
        path: the file, or the folder.
        limit: read only so many words, the first; None for all.

    Raises:
        InputError: for another ending, or a file that is missing.
        FormatError: where the content is not what the ending says; it names the formats of other programs.
    """
    limit = None if limit is None else whole("limit", limit, 1, other="None for all words")
    source = as_path(path)
    if source.is_dir():
        return _first(Embeddings.load(source), limit)
    ending = Path(source.stem).suffix if source.suffix == ".gz" else source.suffix
    if ending == ".npy" and source.suffix != ".gz":
        return _import_numpy(source, limit)
    if ending in (*_TEXT, ".bin"):
        return read_word2vec(source, limit=limit)
    if source.exists():
        with opened(source) as file:
            refuse_foreign(file.read(512), str(source))
    raise InputError(f"cannot import {source}: its name must end in .txt, .vec, .bin (or these with .gz) or .npy.")


def _first(embeddings: Embeddings, limit: int | None) -> Embeddings:
    """The first words; output vectors belong to all of them."""
    if limit is None or limit >= len(embeddings):
        return embeddings
    known = embeddings.vocabulary
    words, counts = known.words and known.words[:limit], known.counts[:limit] if known.counted else None
    return Embeddings(embeddings.vectors[:limit], Vocabulary(words, counts), config=embeddings.config)


def _import_numpy(source: Path, limit: int | None) -> Embeddings:
    names = source.with_suffix(".tsv")
    for file in (source, names):
        if not file.exists():
            raise InputError(f"{file} does not exist: vectors in .npy need their words in a .tsv beside them.")
    with reading(source):
        vectors = map_array(source)
    vocabulary = Vocabulary.load(names)
    try:
        embeddings = Embeddings(vectors, vocabulary)
    except InputError as error:
        raise FormatError(f"{source} and {names.name} do not fit: {error}") from error
    embeddings = _first(embeddings, limit)
    try:
        embeddings.check_finite()
    except InputError as error:
        raise FormatError(f"{source}: {error}") from error
    return embeddings
