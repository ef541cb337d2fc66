"""``vastmax evaluate``: gold standards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vastmax.cli.console import print_json, print_table
from vastmax.cli.flags import Json, Model
from vastmax.errors import InputError

__all__ = ["evaluate"]


def evaluate(
    model: Model,
    analogies: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False, help="Analogies in Google's format; may be given again."),
    ] = None,
    similarity: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False, help="Lines of: word word score; may be given again."),
    ] = None,
    restrict_vocabulary: Annotated[
        int, typer.Option(metavar="N", help="Answer analogies from the N most frequent words.")
    ] = 30000,
    lowercase: Annotated[bool, typer.Option(help="Lower-case the questions.")] = True,
    method: Annotated[str, typer.Option(metavar="3cosadd|3cosmul", help="How analogies are answered.")] = "3cosadd",
    as_json: Json = False,
) -> None:
    """Measure a model on analogies and word similarity.

    \b
    Examples:
      vastmax evaluate model --analogies questions-words.txt
      vastmax evaluate model --similarity EN-WS-353-ALL.txt --similarity EN-SIMLEX-999.txt --json
    """  # noqa: D301
    if not analogies and not similarity:
        raise InputError("nothing to evaluate: give --analogies FILE or --similarity FILE")
    from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity

    embeddings = Embeddings.load(model)
    analogy_reports = [
        evaluate_analogies(
            embeddings,
            path,
            restrict_vocabulary=restrict_vocabulary,
            lowercase=lowercase,
            method=method,  # type: ignore[arg-type]
        )
        for path in analogies or ()
    ]
    similarity_reports = [evaluate_similarity(embeddings, path, lowercase=lowercase) for path in similarity or ()]
    if as_json:
        print_json(
            {
                "analogies": [
                    {"name": path.stem, **report.to_dict()}
                    for path, report in zip(analogies or (), analogy_reports, strict=True)
                ],
                "similarity": [report.to_dict() for report in similarity_reports],
            }
        )
        return
    for path, report in zip(analogies or (), analogy_reports, strict=True):
        scores = [*report.sections, report.semantic, report.syntactic, report.total]
        rows = [(score.name, score.correct, score.total, _percent(score.accuracy), score.skipped) for score in scores]
        print_table(("section", "correct", "total", "%", "left out"), rows, title=path.name)
    if similarity_reports:
        rows = [
            (report.name, _percent(report.spearman), report.pairs, report.left_out) for report in similarity_reports
        ]
        print_table(("similarity", "spearman x 100", "pairs", "left out"), rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
