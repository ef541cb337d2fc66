"""Export and import of vectors in the formats of other programs, chosen by file extension and content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vastmax.checks import refused, whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.fasttext import read_fasttext, write_fasttext
from vastmax.embeddings.formats.fasttext_parts import MAGIC
from vastmax.embeddings.formats.floret import read_floret, write_table
from vastmax.embeddings.formats.foreign import refuse_foreign
from vastmax.embeddings.formats.word2vec import read_word2vec, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.files import PATIENCE, as_path, is_file, map_array, opened, reading, replacing, write_array, writing
from vastmax.vocabulary import Vocabulary

__all__ = ["export", "import_vectors"]

_TEXT = (".txt", ".vec")
_WRITTEN = {
    **dict.fromkeys(_TEXT, ("word2vec",)),
    ".bin": ("word2vec", "fasttext", "floret"),
    ".floret": ("floret",),
    ".npy": ("numpy",),
}
"""The formats that each file extension may have; the first is the default."""
_FASTTEXT = MAGIC.to_bytes(4, "little")


def export(embeddings: Embeddings, path: str | os.PathLike[str], *, format: str | None = None) -> None:
    """Write vectors in the format of the file's extension; for ``.bin``, ``format`` chooses one of three.

    ========  ===================================================================
    .txt .vec word2vec text
    .bin      word2vec binary; ``fasttext``, `write_fasttext`; or ``floret``, the same for floret's ``load_model``
    .floret   floret's table of n-grams, `write_floret`, with a .tsv
    .npy      the vectors (V, d) float32 of NumPy, with a .tsv
    ========  ===================================================================

    ``name.tsv`` beside the file is the vocabulary, one "word<TAB>count" per line. Two files cannot be replaced
    atomically: if the process is killed in between, the vectors are left without words, never with wrong ones.

    Args:
        embeddings: vectors (V, d) to write; only fastText's and floret's formats keep vectors of out-of-vocabulary
            words.
        path: the file.
        format: ``word2vec``, ``fasttext``, ``floret`` or ``numpy``; None for the default of the extension.

    Raises:
        InputError: for another extension, a format that does not support these embeddings, a vector with NaN or
            infinity, or if the file cannot be written.
    """
    target = as_path(path)
    formats = _WRITTEN.get(target.suffix)
    if formats is None:
        raise InputError(f"{target} has no known ending: end its name in .txt, .vec, .bin, .floret or .npy.")
    format = formats[0] if format is None else format
    if format not in formats:
        raise refused(f"format of a file that ends in {target.suffix}", format, " or ".join(map(repr, formats)))
    if format == "word2vec":
        write_word2vec(embeddings, target, binary=target.suffix == ".bin")
    elif target.suffix == ".bin":
        write_fasttext(embeddings, target, floret=format == "floret")
    else:
        write = write_table if format == "floret" else _write_numpy
        with _words_beside(embeddings, target) as names, replacing(target) as new_vectors:
            write(embeddings, new_vectors)
            names.unlink(missing_ok=True)


def _write_numpy(embeddings: Embeddings, path: Path) -> None:
    embeddings.check_finite()
    write_array(path, embeddings.vectors)


@contextmanager
def _words_beside(embeddings: Embeddings, target: Path) -> Iterator[Path]:
    """Write the vocabulary beside the vectors; yield its old file, to be deleted before the vectors are replaced."""
    names = target.with_suffix(".tsv")
    with writing(target.parent, patience=PATIENCE), replacing(names) as new_names:
        with new_names.open("wb") as file:
            embeddings.vocabulary.write(file)
        yield names


def import_vectors(path: str | os.PathLike[str], *, limit: int | None = None) -> Embeddings:
    """Read what `export` writes and fastText's .ftz (all but .npy also gzipped), GloVe's text, and embedding folders.

    The content decides whether a .txt, .vec, .bin or .ftz file is word2vec's text or binary format, or a model of
    fastText or floret; see `read_word2vec`, `read_fasttext` and `read_floret`.

    Args:
        path: the file, or the folder.
        limit: read only this many words, from the first; None for all.

    Returns:
        The embeddings, vectors (V, d) float32; a folder's vectors stay compressed unless ``limit`` cuts them.

    Raises:
        InputError: for another extension, or a missing file.
        FormatError: if the content does not match the extension; it names the formats of other programs.
    """
    limit = None if limit is None else whole("limit", limit, 1, other="None for all words")
    source = as_path(path)
    if source.is_dir():
        return _first(Embeddings.load(source), limit)
    ending = Path(source.stem).suffix if source.suffix == ".gz" else source.suffix
    if ending == ".npy" and source.suffix != ".gz":
        return _import_numpy(source, limit)
    if ending in (*_TEXT, ".bin", ".ftz"):
        return read_fasttext(source, limit=limit) if _is_fasttext(source) else read_word2vec(source, limit=limit)
    if ending == ".floret":
        return read_floret(source, limit=limit)
    if not source.exists():
        raise InputError(f"{source} does not exist: give a file of vectors, or the folder of a model.")
    with opened(source) as file:
        refuse_foreign(file.read(512), str(source))
    raise InputError(
        f"{source} has no known ending: end its name in .txt, .vec, .bin, .ftz, .floret (or these with .gz) or .npy."
    )


def _is_fasttext(source: Path) -> bool:
    """Whether a file begins like fastText's; False for a pipe, from which bytes can be read only once."""
    if not is_file(source):
        return False
    with opened(source) as file:
        return file.read(len(_FASTTEXT)) == _FASTTEXT


def _first(embeddings: Embeddings, limit: int | None) -> Embeddings:
    """Return the embeddings of the first words, without output vectors, which belong to all words."""
    if limit is None or limit >= len(embeddings):
        return embeddings
    known = embeddings.vocabulary
    words, counts = known.words and known.words[:limit], known.counts[:limit] if known.counted else None
    return Embeddings(
        embeddings.table[:limit], Vocabulary(words, counts), config=embeddings.config, subwords=embeddings.subwords
    )


def _import_numpy(source: Path, limit: int | None) -> Embeddings:
    names = source.with_suffix(".tsv")
    for file in (source, names):
        if not file.exists():
            raise InputError(f"{file} does not exist: give vectors in .npy with their words in a .tsv beside them.")
    with reading(source):
        vectors = map_array(source)
    vocabulary = Vocabulary.load(names)
    try:
        embeddings = Embeddings(vectors, vocabulary)
    except InputError as error:
        why = str(error).rstrip(".")
        raise FormatError(
            f"{source} and {names.name} do not match ({why}): give the words of these vectors."
        ) from error
    embeddings = _first(embeddings, limit)
    try:
        embeddings.check_finite()
    except InputError as error:
        raise FormatError(f"in {source} {error}") from error
    return embeddings
