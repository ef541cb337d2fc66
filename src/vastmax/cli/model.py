"""``vastmax nearest``, ``analogy``, ``evaluate``, ``export`` and ``import``: use trained embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vastmax.checks import one_of, whole
from vastmax.cli.console import print_json, print_table, say
from vastmax.cli.flags import Json, PlaceArgument, PlaceOption
from vastmax.errors import InputError

if TYPE_CHECKING:
    from vastmax.embeddings import AnalogyReport, Embeddings, Neighbour

__all__ = ["analogy", "evaluate", "export", "import_", "nearest"]

_Model = Annotated[Path, PlaceArgument(metavar="DIR", show_default=False, help="Folder of a model.")]
_Neighbours = Annotated[int, typer.Option("--neighbours", "-k", metavar="N", help="Number to print.")]


def nearest(
    model: _Model,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...",
            show_default=False,
            help="Words to look up, each by itself, or as a sum with + and - between them.",
        ),
    ],
    neighbours: _Neighbours = 10,
    among: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|WORD",
            show_default=False,
            help="Search the N most frequent words, or these words; may be repeated. A number alone is N.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", show_default=False, help="Exclude this word from the answers; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the nearest neighbours of words, or of a sum of words, by cosine.

    \b
    Examples:
      vastmax nearest model coffee
      vastmax nearest model coffee tea -k 5 --json
      vastmax nearest model king - man + woman --among 30000
      vastmax nearest model coffee --among tea --among milk --among car
    """  # noqa: D301
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(model)
    limits = {"among": _among(embeddings, among), "exclude": _named(embeddings, exclude or [])}
    if signed := _sum(words):
        positive, negative = (_named(embeddings, each) for each in signed)
        answers = embeddings.nearest(k=neighbours, positive=positive, negative=negative, **limits)
        found: dict[str | int, list[Neighbour]] = {" ".join(words): answers}
    else:
        asked = list(dict.fromkeys(_named(embeddings, words)))
        found = dict(zip(asked, embeddings.nearest(asked, neighbours, **limits), strict=True))
    if as_json:
        print_json({word: [{"word": other, "cosine": cosine} for other, cosine in found[word]] for word in found})
    else:
        rows = [(word, other, float(cosine)) for word, rows in found.items() for other, cosine in rows]
        print_table(("word", "neighbour", "cosine"), rows)


def _sum(words: list[str]) -> tuple[list[str], list[str]] | None:
    """Return the words to add and to subtract if words and signs alternate, else None."""
    signs = words[1::2]
    if not signs or len(words) % 2 == 0 or not set(signs) <= {"+", "-"}:
        return None
    pairs = list(zip(["+", *signs], words[::2], strict=True))
    return [word for sign, word in pairs if sign == "+"], [word for sign, word in pairs if sign == "-"]


def _among(embeddings: Embeddings, given: list[str] | None) -> int | list[str | int] | None:
    """Return the search limits; a single number is N, the most frequent words, even if it is also a word."""
    if not given:
        return None
    number = given[0]
    if len(given) == 1 and number.isascii() and number.isdigit():
        return int(number)
    return _named(embeddings, given)


def analogy(
    model: _Model,
    a: Annotated[str, typer.Argument(metavar="A", show_default=False, help="As in: A is to B …")],
    b: Annotated[str, typer.Argument(metavar="B", show_default=False, help="… as …")],
    c: Annotated[str, typer.Argument(metavar="C", show_default=False, help="… C is to what?")],
    neighbours: _Neighbours = 5,
    method: Annotated[
        str, typer.Option(metavar="3cosadd|3cosmul", help="Add the cosines, or multiply them (Levy & Goldberg 2014).")
    ] = "3cosadd",
    as_json: Json = False,
) -> None:
    """Solve an analogy: print the words that are to C as B is to A.

    \b
    Examples:
      vastmax analogy model man king woman
      vastmax analogy model france paris japan --method 3cosmul
    """  # noqa: D301
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(model)
    answers = embeddings.analogy(*_named(embeddings, [a, b, c]), neighbours, method=method)  # type: ignore[arg-type]
    if as_json:
        rows = [{"word": word, "score": float(score)} for word, score in answers]
        print_json({"a": a, "b": b, "c": c, "method": method, "answers": rows})
    else:
        print_table(("answer", "score"), [(word, float(score)) for word, score in answers])


def _named(embeddings: Embeddings, words: list[str]) -> list[str | int]:
    """Return words as typed; numbers become ids if the model has no words."""
    ids = embeddings.vocabulary.words is None
    return [int(word) if ids and word.isascii() and word.isdigit() else word for word in words]


def evaluate(
    model: _Model,
    analogies: Annotated[
        list[Path] | None,
        PlaceOption(
            metavar="FILE",
            show_default=False,
            help="File of analogies (Google, MSR, BATS); may be repeated.",
        ),
    ] = None,
    similarity: Annotated[
        list[Path] | None,
        PlaceOption(metavar="FILE", show_default=False, help="File with lines of word, word, score; may be repeated."),
    ] = None,
    restrict_vocabulary: Annotated[
        int, typer.Option(metavar="N", help="Answer analogies from the N most frequent words.")
    ] = 30000,
    lowercase: Annotated[bool, typer.Option(help="Lower-case the questions.")] = True,
    method: Annotated[
        str,
        typer.Option(metavar="3cosadd|3cosmul", help="Answer analogies by adding the cosines, or by multiplying them."),
    ] = "3cosadd",
    answers: Annotated[bool, typer.Option("--answers", help="Show every analogy with the model's answer.")] = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model on analogies and word similarity.

    \b
    Examples:
      vastmax evaluate model --analogies questions-words.txt
      vastmax evaluate model --similarity wordsim353/combined.csv --similarity SimLex-999.txt --json
      vastmax evaluate model --analogies BATS_3.0.zip
    """  # noqa: D301
    if not analogies and not similarity:
        raise InputError("evaluate needs questions: give --analogies FILE or --similarity FILE.")
    from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity

    one_of("method", method, ("3cosadd", "3cosmul"))
    whole("restrict_vocabulary", restrict_vocabulary, 1)
    embeddings = Embeddings.load(model)
    options = {"restrict_vocabulary": restrict_vocabulary, "lowercase": lowercase, "method": method}
    answered = [
        (path, evaluate_analogies(embeddings, path, keep_answers=answers, **options)) for path in analogies or ()
    ]
    similarity_reports = [evaluate_similarity(embeddings, path, lowercase=lowercase) for path in similarity or ()]
    if as_json:
        named = [{"name": path.name if path.is_dir() else path.stem, **report.to_dict()} for path, report in answered]
        print_json({"analogies": named, "similarity": [report.to_dict() for report in similarity_reports]})
        return
    for path, report in answered:
        scores = [*report.sections, report.semantic, report.syntactic, report.total]
        rows = [
            (
                each.name,
                each.correct,
                each.total,
                _percent(each.accuracy),
                each.skipped,
                _percent(each.out_of_vocabulary),
            )
            for each in scores
        ]
        print_table(("section", "correct", "total", "%", "left out", "% left out"), rows, title=path.name)
        if answers:
            _print_answers(report)
    if similarity_reports:
        rows = [
            (
                each.name,
                *(_percent(each.spearman), _small(each.spearman_p), _percent(each.pearson), _small(each.pearson_p)),
                *(each.pairs, each.left_out, _percent(each.out_of_vocabulary)),
            )
            for each in similarity_reports
        ]
        correlations = ("spearman x 100", "p", "pearson x 100", "p")
        print_table(("similarity", *correlations, "pairs", "left out", "% left out"), rows)


def _print_answers(report: AnalogyReport) -> None:
    rows = [
        (section.name, each.a, each.b, each.c, "/".join(each.expected), each.answer or "-", "+" if each.right else "-")
        for section in report.sections
        for each in section.answers or ()
    ]
    print_table(("section", "a", "b", "c", "expected", "answer", "right"), rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _small(probability: float | None) -> str:
    return "-" if probability is None else f"{probability:.2g}"


def export(
    model: _Model,
    file: Annotated[
        Path, PlaceArgument(metavar="FILE", show_default=False, help="File to write; its extension selects the format.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="word2vec|fasttext|floret", show_default="word2vec", help="Program that a .bin file is for."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model for other programs: .txt or .bin (word2vec, fastText, floret), .floret or .npy (with a .tsv).

    \b
    Examples:
      vastmax export model vectors.txt
      vastmax export model model.bin --format fasttext
      vastmax export model vectors.npy
    """  # noqa: D301
    from vastmax import embeddings

    found = embeddings.Embeddings.load(model)
    embeddings.export(found, file, format=format)
    _report(as_json, f"wrote {file}", found, file)


def import_(
    file: Annotated[
        Path, PlaceArgument(metavar="FILE", show_default=False, help="File of vectors of another program.")
    ],
    model: Annotated[Path, PlaceArgument(metavar="DIR", show_default=False, help="Folder for the model.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in DIR.")] = False,
    limit: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Read only the first N words.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import the vectors of another program as a model.

    \b
    Examples:
      vastmax import GoogleNews-vectors.bin model
      vastmax import cc.en.300.bin.gz model --limit 500000
      vastmax import glove.6B.100d.txt model --limit 100000
      vastmax import vectors.txt model --overwrite
    """  # noqa: D301
    from vastmax.embeddings import holds_embeddings, import_vectors

    if holds_embeddings(model) and not overwrite:
        raise InputError(f"{model} contains a model: add --overwrite to replace it, or name another folder.")
    embeddings = import_vectors(file, limit=limit)
    embeddings.save(model)
    _report(as_json, f"saved in {model}", embeddings, model)


def _report(as_json: bool, sentence: str, embeddings: object, path: Path) -> None:
    rows, columns = embeddings.table.shape  # type: ignore[attr-defined]
    if as_json:
        print_json({"output": path, "vocabulary": rows, "dim": columns})
    else:
        say(f"{sentence}: {rows:,} words, {columns} dimensions")
