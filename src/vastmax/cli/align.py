"""``vastmax align``: rotate a model into the space of another, and evaluate it as a translator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vastmax.checks import one_of, whole
from vastmax.cli.console import print_json, print_table, say
from vastmax.cli.flags import Json, PlaceArgument, PlaceOption
from vastmax.errors import InputError

__all__ = ["align"]


def align(
    source: Annotated[Path, PlaceArgument(metavar="SOURCE", show_default=False, help="Folder of the model to rotate.")],
    target: Annotated[
        Path, PlaceArgument(metavar="TARGET", show_default=False, help="Folder of the model that defines the space.")
    ],
    output: Annotated[
        Path, PlaceOption("--output", "-o", metavar="DIR", show_default=False, help="Folder for the rotated model.")
    ],
    pairs: Annotated[
        Path | None,
        PlaceOption(
            metavar="FILE",
            show_default=False,
            help="Lines of corresponding words, SOURCE then TARGET; by default all words that both have.",
        ),
    ] = None,
    dictionary: Annotated[
        Path | None,
        PlaceOption(metavar="FILE", show_default=False, help="Measure precision at 1, 5 and 10 on such lines."),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="csls|cosine", help="Retrieval of translations (Conneau et al. 2018).")
    ] = "csls",
    restrict_vocabulary: Annotated[
        int, typer.Option(metavar="N", help="Translate into the N most frequent words.")
    ] = 30000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Align a model with the space of another (orthogonal Procrustes).

    \b
    Examples:
      vastmax align model-1900 model-2000 -o turned
      vastmax align french english -o turned --pairs fr-en.train.txt --dictionary fr-en.test.txt
    """  # noqa: D301
    from vastmax import embeddings

    one_of("method", method, ("csls", "cosine"))
    whole("restrict_vocabulary", restrict_vocabulary, 1)
    if embeddings.holds_embeddings(output) and not overwrite:
        raise InputError(f"{output} contains a model: add --overwrite to replace it, or name another folder.")
    ours, theirs = (embeddings.Embeddings.load(each) for each in (source, target))
    given = None
    if pairs is not None:
        given = [(one, other) for one, other in embeddings.read_pairs(pairs) if one in ours and other in theirs]
        if not given:
            raise InputError(
                f"{pairs} has no pair whose words both models know: give lines of SOURCE word, TARGET word."
            )
    turned = embeddings.align(ours, theirs, given)
    report = None
    if dictionary is not None:
        options = {"method": method, "restrict_vocabulary": restrict_vocabulary}
        report = embeddings.evaluate_translation(turned, theirs, dictionary, **options)  # type: ignore[arg-type]
    turned.save(output)
    used = turned.config["processing"][-1]["pairs"]
    if as_json:
        print_json({"output": output, "pairs": used, "translation": None if report is None else report.to_dict()})
        return
    say(f"saved in {output}: {len(turned):,} words, turned by {used:,} pairs")
    if report is not None:
        shares = {k: "-" if share is None else f"{100 * share:.1f}" for k, share in report.precision.items()}
        rows = [(k, share, report.words, report.left_out) for k, share in shares.items()]
        print_table(("k", "precision x 100", "words", "left out"), rows)
