"""``vastmax export`` and ``vastmax import``: other programs' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vastmax.cli.console import print_json, say
from vastmax.cli.flags import Json, Model
from vastmax.errors import InputError

__all__ = ["export", "import_"]


def export(
    model: Model,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="Where to; the ending tells the format.")
    ],
    as_json: Json = False,
) -> None:
    """Write a model for other programs: .txt or .bin (word2vec), .npy (and .tsv beside it).

    \b
    Examples:
      vastmax export model vectors.txt
      vastmax export model vectors.bin
      vastmax export model vectors.npy
    """  # noqa: D301
    from vastmax.embeddings import Embeddings
    from vastmax.embeddings import export as write

    embeddings = Embeddings.load(model)
    write(embeddings, file)
    _report(as_json, f"wrote {file}", embeddings, file)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="Vectors of another program.")],
    model: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="Folder for the model.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Read vectors of another program, and save them as a model.

    \b
    Examples:
      vastmax import GoogleNews-vectors.bin model
      vastmax import vectors.txt model --overwrite
    """  # noqa: D301
    from vastmax.embeddings import holds_embeddings, import_vectors

    if holds_embeddings(model) and not overwrite:
        raise InputError(f"{model} holds a model: add --overwrite to replace it, or name another folder")
    embeddings = import_vectors(file)
    embeddings.save(model)
    _report(as_json, f"saved in {model}", embeddings, model)


def _report(as_json: bool, sentence: str, embeddings: object, path: Path) -> None:
    rows, columns = embeddings.vectors.shape  # type: ignore[attr-defined]
    if as_json:
        print_json({"output": str(path), "vocabulary": rows, "dim": columns})
    else:
        say(f"{sentence}: {rows:,} words, {columns} dimensions")
