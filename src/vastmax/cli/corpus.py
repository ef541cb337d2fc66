"""``vastmax vocab`` and ``vastmax phrases``: what a corpus holds, before anything is trained."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vastmax.cli.console import note, print_json, print_table
from vastmax.cli.flags import (
    ConnectorWords,
    Corpus,
    Json,
    PhraseScoring,
    SaveTo,
    TextOptions,
    connector_tuple,
    not_negative,
    takes,
)

__all__ = ["phrases", "vocab"]

_Top = Annotated[
    int, typer.Option("--top", "-k", metavar="N", help="How many to print; 0 for none.", callback=not_negative)
]


@takes(TextOptions)
def vocab(
    corpus: Corpus,
    output: SaveTo = None,
    top: _Top = 20,
    *,
    as_json: Json = False,
    **text: Any,
) -> None:
    """Count the words of a corpus.

    \b
    Examples:
      vastmax vocab corpus.txt
      vastmax vocab corpus.txt --min-count 1 -o vocabulary.tsv
    """  # noqa: D301
    from vastmax.text import build_vocabulary

    vocabulary = build_vocabulary(corpus, max_size=text.pop("max_vocabulary"), **text)
    if output is not None:
        vocabulary.save(output)
    pairs = list(zip((vocabulary.words or [])[:top], vocabulary.counts[:top].tolist(), strict=True))
    if as_json:
        rows = [{"word": word, "count": count} for word, count in pairs]
        print_json({"vocabulary": len(vocabulary), "words": vocabulary.total, "top": rows, "output": output})
        return
    print_table(("word", "count"), pairs)
    note(f"{len(vocabulary):,} words kept, which stand for {vocabulary.total:,} of the text")


@takes(TextOptions, without=("max_vocabulary",))
def phrases(
    corpus: Corpus,
    output: SaveTo = None,
    top: _Top = 20,
    passes: Annotated[int, typer.Option(metavar="N", help="N passes find phrases of up to 2**N words.")] = 2,
    threshold: Annotated[
        float | None, typer.Option(metavar="X", show_default="by scoring", help="Score from which a pair is joined.")
    ] = None,
    scoring: PhraseScoring = "word2vec",
    connector_words: ConnectorWords = "",
    *,
    as_json: Json = False,
    **text: Any,
) -> None:
    """Find the phrases of a corpus: words that stand together more often than by chance.

    \b
    Examples:
      vastmax phrases corpus.txt
      vastmax phrases corpus.txt --scoring npmi --threshold 0.6 --connector-words of,the,and -o phrases.tsv
    """  # noqa: D301
    from vastmax.text import PhraseOptions, learn_phrases

    options = PhraseOptions(
        passes,
        threshold,
        scoring,  # type: ignore[arg-type]  # checked there
        text.pop("min_count"),
        connector_tuple(connector_words),
    )
    learnt = learn_phrases(corpus, options, **text)
    if output is not None:
        learnt.save(output)
    best = sorted(learnt.scores.items(), key=lambda item: (-item[1], item[0]))[:top]
    if as_json:
        rows = [{"phrase": phrase, "score": score} for phrase, score in best]
        print_json({"phrases": len(learnt), "top": rows, "output": output})
        return
    print_table(("phrase", "score"), best)
    note(f"{len(learnt):,} phrases")
