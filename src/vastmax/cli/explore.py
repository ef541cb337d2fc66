"""``vastmax nearest`` and ``vastmax analogy``: looking around in a model."""

from __future__ import annotations

from typing import Annotated

import typer

from vastmax.cli.console import print_json, print_table
from vastmax.cli.flags import Json, Model, Neighbours

__all__ = ["analogy", "nearest"]


def nearest(
    model: Model,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", show_default=False, help="Words to look up.")],
    neighbours: Neighbours = 10,
    as_json: Json = False,
) -> None:
    """Print the nearest neighbours of words, by cosine.

    \b
    Examples:
      vastmax nearest model coffee
      vastmax nearest model coffee tea -k 5 --json
    """  # noqa: D301
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(model)
    asked = list(dict.fromkeys(words))
    found = dict(zip(asked, embeddings.nearest(asked, neighbours), strict=True))
    if as_json:
        document = {
            word: [{"word": other, "cosine": float(cosine)} for other, cosine in rows] for word, rows in found.items()
        }
        print_json(document)
    else:
        rows = [(word, other, float(cosine)) for word, rows in found.items() for other, cosine in rows]
        print_table(("word", "neighbour", "cosine"), rows)


def analogy(
    model: Model,
    a: Annotated[str, typer.Argument(metavar="A", show_default=False, help="As in: A is to B …")],
    b: Annotated[str, typer.Argument(metavar="B", show_default=False, help="… as …")],
    c: Annotated[str, typer.Argument(metavar="C", show_default=False, help="… C is to what?")],
    neighbours: Neighbours = 5,
    method: Annotated[
        str, typer.Option(metavar="3cosadd|3cosmul", help="Add the cosines, or multiply them (Levy & Goldberg 2014).")
    ] = "3cosadd",
    as_json: Json = False,
) -> None:
    """Print what is to C as B is to A.

    \b
    Examples:
      vastmax analogy model man king woman
      vastmax analogy model france paris japan --method 3cosmul
    """  # noqa: D301
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(model)
    answers = embeddings.analogy(a, b, c, neighbours, method=method)  # type: ignore[arg-type]
    if as_json:
        rows = [{"word": word, "score": float(score)} for word, score in answers]
        print_json({"a": a, "b": b, "c": c, "method": method, "answers": rows})
    else:
        print_table(("answer", "score"), [(word, float(score)) for word, score in answers])
