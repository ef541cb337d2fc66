"""``vastmax compress``: store a model in fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vastmax.cli.console import print_json, say
from vastmax.cli.flags import Json, PlaceArgument, PlaceOption
from vastmax.errors import InputError

__all__ = ["compress"]


def compress(
    model: Annotated[Path, PlaceArgument(metavar="DIR", show_default=False, help="Folder of a model.")],
    output: Annotated[
        Path, PlaceOption("--output", "-o", metavar="DIR", show_default=False, help="Folder for the smaller model.")
    ],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|float16|int8",
            show_default="int8",
            help="4, 2 or 1 bytes per number; int8 loses almost no accuracy, and is the fastest to search.",
        ),
    ] = None,
    bytes_per_word: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False, help="Product quantisation with N bytes per word; dim/2 loses little."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the output folder.")] = False,
    as_json: Json = False,
) -> None:
    """Store a model's vectors in fewer bytes.

    \b
    Examples:
      vastmax compress model -o small
      vastmax compress model -o smaller --bytes-per-word 50
      vastmax compress small -o large --dtype float32
    """  # noqa: D301
    from vastmax.embeddings import Embeddings, holds_embeddings

    if holds_embeddings(output) and not overwrite:
        raise InputError(f"{output} contains a model: add --overwrite to replace it, or name another folder.")
    embeddings = Embeddings.load(model)
    if dtype is None and bytes_per_word is None:
        dtype = "int8"
    smaller = embeddings.compressed(dtype, bytes_per_word=bytes_per_word)
    smaller.save(output)
    size, before = smaller.table.nbytes, 4 * len(smaller) * smaller.dim
    if as_json:
        print_json({"output": output, "vocabulary": len(smaller), "dim": smaller.dim, "bytes": size})
    else:
        share = f"{size / 1e6:,.1f} MB, {100 * size / before:.0f} % of the size in float32"
        say(f"saved in {output}: {len(smaller):,} words, {smaller.dim} dimensions; vectors take {share}")
