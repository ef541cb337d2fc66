"""``vastmax vocab``, ``phrases`` and ``tree``: inspect a corpus before training."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import note, print_json, print_table, say
from vastmax.cli.flags import (
    ConnectorWords,
    Corpus,
    Json,
    PhraseScoring,
    PlaceOption,
    SaveTo,
    TextOptions,
    check_not_read,
    connector_tuple,
    not_negative,
    picked,
    takes,
)
from vastmax.display import is_terminal
from vastmax.errors import InputError
from vastmax.trees import TreeOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vastmax.text import EncodedCorpus
    from vastmax.trees import Classes, Tree

__all__ = ["phrases", "tree", "vocab"]

_COLUMNS, _FEWEST_COLUMNS = 100, 20  # width of a drawn tree
_Top = Annotated[
    int, typer.Option("--top", "-k", metavar="N", help="Number to print; 0 for none.", callback=not_negative)
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

    check_not_read(output, corpus)
    vocabulary = build_vocabulary(corpus, max_size=text.pop("max_vocabulary"), **text)
    if output is not None:
        vocabulary.save(output)
    pairs = list(zip((vocabulary.words or [])[:top], vocabulary.counts[:top].tolist(), strict=True))
    if as_json:
        rows = [{"word": word, "count": count} for word, count in pairs]
        print_json({"vocabulary": len(vocabulary), "words": vocabulary.total, "top": rows, "output": output})
        return
    print_table(("word", "count"), pairs)
    note(f"{len(vocabulary):,} words kept, which cover {vocabulary.total:,} words of the text")


@takes(TextOptions, without=("max_vocabulary",))
def phrases(
    corpus: Corpus,
    output: SaveTo = None,
    top: _Top = 20,
    passes: Annotated[int, typer.Option(metavar="N", help="N passes find phrases of up to 2**N words.")] = 2,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="X", show_default="by scoring", help="Lowest score of a pair that is joined."),
    ] = None,
    scoring: PhraseScoring = "word2vec",
    connector_words: ConnectorWords = "",
    *,
    as_json: Json = False,
    **text: Any,
) -> None:
    """Find the phrases of a corpus: words that occur together more often than by chance.

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
    check_not_read(output, corpus)
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


@takes(TreeOptions, TextOptions)
def tree(
    corpus: Corpus,
    output: SaveTo = None,
    show: Annotated[
        int | None,
        typer.Option(metavar="LEVELS", show_default="none", help="Draw LEVELS levels of the tree, with their words."),
    ] = None,
    vectors: Annotated[
        Path | None,
        PlaceOption(
            metavar="DIR",
            show_default="trained on the corpus",
            help="Model with the vectors to cluster by (clustered, wordnet; optional for custom).",
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Print the cost of hierarchical softmax on a corpus, in decisions (bits) per word, and the saving of a tree.

    \b
    Examples:
      vastmax tree corpus.txt
      vastmax tree corpus.txt --kind balanced --max-vocabulary 10000
      vastmax tree corpus.txt --kind clustered --show 4 -o tree.safetensors
      vastmax tree corpus.txt --kind clustered --epsilon 0.4 --trees 4 --vectors model
      vastmax tree corpus.txt --kind wordnet --wordnet /usr/share/wordnet
      vastmax tree corpus.txt --kind custom --taxonomy taxonomy.tsv
      vastmax tree corpus.txt --kind class-based --classes 100
    """  # noqa: D301
    wanted, text = picked(TreeOptions, options), vars(picked(TextOptions, options))
    _check(wanted, show, vectors)
    check_not_read(output, corpus, wanted.taxonomy)
    from vastmax.trees import Classes, build_tree, frequency_classes, show_tree

    with ExitStack() as stack:
        max_vocabulary = text.pop("max_vocabulary")
        if wanted.needs_vectors and vectors is None:
            from vastmax.text import encode_corpus

            # Training reads the corpus again, but standard input can be read only once.
            reader = encode_corpus(corpus, max_vocabulary=max_vocabulary, progress=True, **text)
            encoded = stack.enter_context(reader)
            vocabulary, find = encoded.vocabulary, lambda: _trained(encoded, text["threads"], wanted.seed)
        else:
            from vastmax.text import build_vocabulary

            vocabulary = build_vocabulary(corpus, max_size=max_vocabulary, **text)
            find = None if vectors is None else lambda: _saved(vectors, vocabulary.words or [])
        counts, words = vocabulary.counts, vocabulary.words or []
        if wanted.kind == "class-based":
            built = frequency_classes(counts, wanted.classes)
            found, columns, rows = _classes_found(built, counts)
        else:
            built = build_tree(wanted, counts, words, find, threads=text["threads"])
            found, columns, rows = _found(wanted.kind, built, counts)
    if output is not None:
        built.save(output)
    if as_json:
        print_json({"kind": wanted.kind, **found, "words": vocabulary.total, "output": output})
    else:
        say(f"{len(vocabulary):,} words, {vocabulary.total:,} in the text")
        print_table(columns, rows)
    if isinstance(built, Classes):
        return
    if not as_json and built.num_leaves > built.num_words:
        say(f"{built.num_leaves:,} leaves, {built.num_leaves / built.num_words:.1f} a word")
    if show is not None:
        seen = is_terminal(sys.stderr if as_json else sys.stdout)
        width = max(_FEWEST_COLUMNS, shutil.get_terminal_size().columns) if seen else _COLUMNS
        picture = show_tree(built, words, levels=show, width=width, counts=counts)
        (note if as_json else say)(picture)


def _check(wanted: TreeOptions, show: int | None, vectors: Path | None) -> None:
    """Refuse flags that have no effect for this kind of tree."""
    if show is not None and wanted.kind == "class-based":
        raise InputError("--show draws trees, and --kind class-based builds none: leave it out.")
    if show is not None and show < 0:
        raise InputError(f"--show is {show}: give a number of levels, 0 or more.")
    if vectors is not None and not (wanted.needs_vectors or wanted.kind == "custom"):
        what = "--rule random" if wanted.kind == "clustered" else f"--kind {wanted.kind}"
        raise InputError(f"{what} uses no vectors: leave out --vectors.")


def _trained(corpus: EncodedCorpus, threads: int | None, seed: int) -> NDArray:
    from vastmax.embeddings import train

    note("training vectors on the corpus, for want of --vectors …")
    return train(corpus, progress=True, threads=threads, seed=seed).vectors


def _saved(folder: Path, words: list[str]) -> NDArray:
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(folder)
    try:
        return embeddings[words]
    except InputError as error:
        raise InputError(f"--vectors {folder}: {error} Raise --min-count, or train it on this corpus.") from None


def _found(kind: str, tree: Tree, counts: NDArray) -> tuple[dict[str, Any], Sequence[str], Sequence[Sequence[str]]]:
    """Return the cost of a tree: facts for JSON, and the columns and rows of a table."""
    from vastmax.trees import huffman_tree

    own = tree.statistics(counts)
    huffman = own if kind == "huffman" else huffman_tree(counts).statistics(counts)
    facts = {**own.to_dict(), "leaves": tree.num_leaves}
    facts |= {"huffman_bits": huffman.mean_bits, "huffman_saving": huffman.saving}
    rows = [
        ("entropy of the words", f"{own.entropy_bits:.2f}", "", ""),
        ("balanced tree, mean of all orders", f"{own.balanced_bits:.2f}", "", "0.0%"),
    ]
    for name, each in {"huffman": huffman, kind: own}.items():
        rows.append((f"{name} tree", f"{each.mean_bits:.2f}", str(each.longest_path), f"{each.saving:.1%}"))
    return facts, ("", "bits per word", "longest path", "saving"), rows


def _classes_found(classes: Classes, counts: NDArray) -> tuple[dict[str, Any], Sequence[str], Sequence[Sequence[str]]]:
    found = classes.statistics(counts)
    own = f"{found.mean_logits:.1f}", str(found.largest_class), f"{found.saving:.1%}"
    rows = [("full softmax", f"{found.num_words:.1f}", "", "0.0%"), (f"{found.num_classes} classes", *own)]
    return found.to_dict(), ("", "logits per word", "largest class", "saving"), rows
