"""``vastmax tree``: what a tree of the words of a corpus costs, what it looks like, and the tree itself."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import is_terminal, note, print_json, print_table, say
from vastmax.cli.flags import Corpus, Json, SaveTo, TextOptions, picked, takes
from vastmax.cli.progress import ProgressDisplay
from vastmax.errors import InputError
from vastmax.trees import TreeOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vastmax.text import EncodedCorpus
    from vastmax.trees import Classes, Tree
    from vastmax.vocabulary import Vocabulary

__all__ = ["tree"]

_COLUMNS, _FEWEST_COLUMNS = 100, 20  # of a picture


@takes(TreeOptions, TextOptions)
def tree(
    corpus: Corpus,
    output: SaveTo = None,
    show: Annotated[
        int | None, typer.Option(metavar="LEVELS", show_default="none", help="Draw so many levels, with their words.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="trained on the corpus",
            help="Model whose vectors say which words are alike (clustered, wordnet; custom can do without).",
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Print what hierarchical softmax costs on a corpus: decisions (bits) a word, and what a tree saves.

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
    from vastmax.trees import build_tree, frequency_classes, show_tree

    with ExitStack() as stack:
        max_vocabulary = text.pop("max_vocabulary")
        if wanted.needs_vectors and vectors is None:
            from vastmax.text import encode_corpus

            # Training will read it again, and standard input can be read once.
            with ProgressDisplay() as display:
                reader = encode_corpus(corpus, max_vocabulary=max_vocabulary, progress=display, **text)
            encoded = stack.enter_context(reader)
            vocabulary, find = encoded.vocabulary, lambda: _trained(encoded, text["threads"], wanted.seed)
        else:
            from vastmax.text import build_vocabulary

            vocabulary = build_vocabulary(corpus, max_size=max_vocabulary, **text)
            find = None if vectors is None else lambda: _saved(vectors, vocabulary.words or [])
        counts, words = vocabulary.counts, vocabulary.words or []
        if wanted.kind == "class-based":
            classes = frequency_classes(counts, wanted.classes)
            if output is not None:
                classes.save(output)
            _report_classes(classes, vocabulary, output, as_json)
            return
        built = build_tree(wanted, counts, words, find, threads=text["threads"])
    if output is not None:
        built.save(output)
    _report(wanted.kind, built, vocabulary, output, as_json)
    if show is not None:
        picture = show_tree(built, words, levels=show, width=_columns(as_json), counts=counts)
        (note if as_json else say)(picture)


def _check(wanted: TreeOptions, show: int | None, vectors: Path | None) -> None:
    """Refuse flags that the kind makes no use of."""
    if show is not None and wanted.kind == "class-based":
        raise InputError("--show draws trees, and --kind class-based makes none: leave it out.")
    if show is not None and show < 0:
        raise InputError(f"--show is {show}: give a number of levels, 0 or more.")
    if vectors is not None and not (wanted.needs_vectors or wanted.kind == "custom"):
        what = "--rule random" if wanted.kind == "clustered" else f"--kind {wanted.kind}"
        raise InputError(f"{what} looks at no vectors: leave out --vectors.")


def _trained(corpus: EncodedCorpus, threads: int | None, seed: int) -> NDArray:
    from vastmax.embeddings import train

    note("training vectors on the corpus, for want of --vectors …")
    with ProgressDisplay() as display:
        return train(corpus, progress=display, threads=threads, seed=seed).vectors


def _saved(folder: Path, words: list[str]) -> NDArray:
    from vastmax.embeddings import Embeddings

    embeddings = Embeddings.load(folder)
    try:
        return embeddings[words]
    except InputError as error:
        raise InputError(f"--vectors {folder}: {error} Raise --min-count, or train it on this corpus.") from None


def _columns(as_json: bool) -> int:
    """Return how wide the picture may be: as the terminal where it is seen on one."""
    seen = is_terminal(sys.stderr if as_json else sys.stdout)
    return max(_FEWEST_COLUMNS, shutil.get_terminal_size().columns) if seen else _COLUMNS


def _report(kind: str, built: Tree, vocabulary: Vocabulary, output: Path | None, as_json: bool) -> None:
    from vastmax.trees import huffman_tree

    statistics = built.statistics(vocabulary.counts)
    huffman = statistics if kind == "huffman" else huffman_tree(vocabulary.counts).statistics(vocabulary.counts)
    if as_json:
        document = {"kind": kind, **statistics.to_dict(), "leaves": built.num_leaves}
        document |= {"huffman_bits": huffman.mean_bits, "huffman_saving": huffman.saving}
        print_json({**document, "words": vocabulary.total, "output": output})
        return
    say(f"{len(vocabulary):,} words, {vocabulary.total:,} in the text")
    rows = [
        ("entropy of the words", f"{statistics.entropy_bits:.2f}", "", ""),
        ("balanced tree, mean of all orders", f"{statistics.balanced_bits:.2f}", "", "0.0%"),
        ("huffman tree", f"{huffman.mean_bits:.2f}", str(huffman.longest_path), f"{huffman.saving:.1%}"),
    ]
    if kind != "huffman":
        own = (f"{kind} tree", f"{statistics.mean_bits:.2f}", str(statistics.longest_path), f"{statistics.saving:.1%}")
        rows.append(own)
    print_table(("", "bits a word", "longest path", "saving"), rows)
    if built.num_leaves > built.num_words:
        say(f"{built.num_leaves:,} leaves, {built.num_leaves / built.num_words:.1f} a word")


def _report_classes(classes: Classes, vocabulary: Vocabulary, output: Path | None, as_json: bool) -> None:
    statistics = classes.statistics(vocabulary.counts)
    if as_json:
        facts = {"words": vocabulary.total, "output": output}
        print_json({"kind": "class-based", **statistics.to_dict(), **facts})
        return
    say(f"{len(vocabulary):,} words, {vocabulary.total:,} in the text")
    own = f"{statistics.mean_logits:.1f}", str(statistics.largest_class), f"{statistics.saving:.1%}"
    rows = [("full softmax", f"{statistics.num_words:.1f}", "", "0.0%"), (f"{statistics.num_classes} classes", *own)]
    print_table(("", "logits a word", "largest class", "saving"), rows)
