"""``vastmax tree``: what a tree of the words of a corpus costs, what it looks like, and the tree itself."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import is_terminal, note, print_json, print_table, say
from vastmax.cli.flags import Corpus, Json, Lowercase, MaxVocabulary, MinCount, SaveTo, Seed, Threads, Tokenizer
from vastmax.cli.progress import ProgressDisplay
from vastmax.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vastmax.text import EncodedCorpus
    from vastmax.trees import Classes, Tree
    from vastmax.vocabulary import Vocabulary

__all__ = ["tree"]

_COUNTED = ("huffman", "balanced", "balanced-rank", "balanced-random")
_KINDS = (*_COUNTED, "clustered", "wordnet", "class-based", "custom")
_COLUMNS, _FEWEST_COLUMNS = 100, 20  # of a picture
# Which kinds an option is for; whoever gives it to another kind would be told a lie by silence.
_ONLY = {
    "vectors": ("clustered", "wordnet", "custom"),
    "rule": ("clustered",),
    "epsilon": ("clustered",),
    "trees": ("clustered",),
    "wordnet": ("wordnet",),
    "taxonomy": ("custom",),
    "classes": ("class-based",),
}


def tree(
    corpus: Corpus,
    kind: Annotated[str, typer.Option(metavar="KIND", help=f"One of {', '.join(_KINDS)}.")] = "huffman",
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
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="adaptive|balanced|random", show_default="adaptive", help="How clustered trees split their words."
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(metavar="X", show_default="none", help="Words within X of doubt go to both sides (clustered)."),
    ] = None,
    trees: Annotated[
        int | None, typer.Option(metavar="N", show_default="1", help="Unite N clustered trees of different seeds.")
    ] = None,
    wordnet: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="/usr/share/wordnet", help="Folder of WordNet's data.* and index.*."),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Lines of parent, tab, child (custom)."),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(metavar="N", show_default="square root", help="How many classes (class-based).")
    ] = None,
    min_count: MinCount = 5,
    max_vocabulary: MaxVocabulary = None,
    lowercase: Lowercase = False,
    tokenizer: Tokenizer = "whitespace",
    threads: Threads = None,
    seed: Seed = 1,
    as_json: Json = False,
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
    given = dict(locals())
    _check(kind, given)
    with ExitStack() as stack:
        source = _Source(given, stack)
        if kind == "class-based":
            from vastmax.trees import frequency_classes

            found = frequency_classes(source.vocabulary.counts, classes)
            if output is not None:
                found.save(output)
            _report_classes(found, source.vocabulary, output, as_json)
            return
        built = _build(kind, given, source)
        if output is not None:
            built.save(output)
        _report(kind, built, source.vocabulary, output, as_json)
        if show is not None:
            from vastmax.trees import show_tree

            vocabulary = source.vocabulary
            picture = show_tree(built, vocabulary.words, levels=show, width=_columns(as_json), counts=vocabulary.counts)
            (note if as_json else say)(picture)


def _check(kind: str, given: dict[str, Any]) -> None:
    """Refuse options that do not go together, and settle those of the kind."""
    if kind not in _KINDS:
        raise InputError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}.")
    for name, kinds in _ONLY.items():
        if given[name] is not None and kind not in kinds:
            raise InputError(f"--{name} is for --kind {' or '.join(kinds)}, not for {kind}.")
    if given["show"] is not None and kind == "class-based":
        raise InputError("--show draws trees, and --kind class-based makes none.")
    if given["show"] is not None and given["show"] < 0:
        raise InputError(f"--show draws a number of levels, 0 or more, not {given['show']}.")
    if kind == "custom" and given["taxonomy"] is None:
        raise InputError("--kind custom needs --taxonomy FILE, lines of parent, tab, child.")
    if given["rule"] == "random" and given["vectors"] is not None:
        raise InputError("--rule random looks at no vectors: leave out --vectors.")
    if given["trees"] is not None and not 1 <= given["trees"] <= 64:
        raise InputError(f"--trees must be a number from 1 to 64, not {given['trees']}.")
    # What can be wrong with these is found before anything is trained for them.
    if kind == "clustered":
        from vastmax.trees import clustered_tree

        given["rule"] = given["rule"] or "adaptive"
        clustered_tree([[0.0]], given["rule"], epsilon=given["epsilon"], seed=given["seed"])
    if kind == "wordnet":
        from vastmax.trees import WordNet

        given["wordnet"] = WordNet(given["wordnet"] or "/usr/share/wordnet")


class _Source:
    """The corpus, read once: its vocabulary, and vectors of its words where a kind needs them."""

    def __init__(self, given: dict[str, Any], stack: ExitStack) -> None:
        from vastmax.text import build_vocabulary, encode_corpus

        self._given = given
        self._encoded: EncodedCorpus | None = None
        text = {name: given[name] for name in ("tokenizer", "lowercase", "min_count", "threads")}
        looks = given["kind"] == "wordnet" or (given["kind"] == "clustered" and given["rule"] != "random")
        if looks and given["vectors"] is None:
            # Training will read it again, and standard input can be read once.
            with ProgressDisplay() as display:
                reader = encode_corpus(
                    given["corpus"], max_vocabulary=given["max_vocabulary"], progress=display, **text
                )
            self._encoded = stack.enter_context(reader)
            self.vocabulary = self._encoded.vocabulary
        else:
            self.vocabulary = build_vocabulary(given["corpus"], max_size=given["max_vocabulary"], **text)

    @property
    def words(self) -> Sequence[str]:
        return self.vocabulary.words or []

    def vectors(self) -> NDArray:
        """Vectors (V, d) of a saved model, or of one trained here and now."""
        if self._encoded is None:
            return self._saved_vectors(self._given["vectors"])
        from vastmax.embeddings import train

        note("training vectors on the corpus, for want of --vectors …")
        with ProgressDisplay() as display:
            options = {"threads": self._given["threads"], "seed": self._given["seed"]}
            return train(self._encoded, progress=display, **options).vectors

    def _saved_vectors(self, folder: Path) -> NDArray:
        from vastmax.embeddings import Embeddings

        embeddings = Embeddings.load(folder)
        if lacking := [word for word in self.words if word not in embeddings]:
            raise InputError(
                f"the model in {folder} lacks {len(lacking):,} of the {len(self.words):,} words, such as "
                f"{lacking[0]!r}: raise --min-count, or train it on this corpus."
            )
        return embeddings[list(self.words)]


def _build(kind: str, given: dict[str, Any], source: _Source) -> Tree:
    from vastmax.trees import TREES, balanced_tree, clustered_tree, custom_tree, union_tree, wordnet_tree

    counts, seed = source.vocabulary.counts, given["seed"]
    if kind == "balanced-random":
        return balanced_tree(counts, order="random", seed=seed)
    if kind in _COUNTED:
        return TREES[kind](counts)
    if kind == "wordnet":
        return wordnet_tree(source.words, source.vectors(), given["wordnet"], seed=seed)
    if kind == "custom":
        by: dict[str, Any] = {"counts": counts} if given["vectors"] is None else {"vectors": source.vectors()}
        return custom_tree(_read_pairs(given["taxonomy"]), source.words, **by)
    rule = given["rule"]
    vectors = counts[:, None] if rule == "random" else source.vectors()  # which it does not look at
    options = {"epsilon": given["epsilon"], "threads": given["threads"]}
    return union_tree([clustered_tree(vectors, rule, seed=seed + i, **options) for i in range(given["trees"] or 1)])


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as lines of parent, tab, child: {reason}.") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        parent, tab, child = line.partition("\t")
        if not line.strip():
            continue
        if not (parent and tab and child) or "\t" in child:
            raise InputError(f"{path}, line {number}: expected parent, tab, child, got {line[:60]!r}.")
        pairs.append((parent, child))
    if not pairs:
        raise InputError(f"{path} has no lines of parent, tab, child.")
    return pairs


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
        print_json({**document, "words": vocabulary.total, "output": None if output is None else str(output)})
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
        document = {"kind": "class-based", **statistics.to_dict(), "words": vocabulary.total}
        print_json({**document, "output": None if output is None else str(output)})
        return
    say(f"{len(vocabulary):,} words, {vocabulary.total:,} in the text")
    own = f"{statistics.mean_logits:.1f}", str(statistics.largest_class), f"{statistics.saving:.1%}"
    rows = [("full softmax", f"{statistics.num_words:.1f}", "", "0.0%"), (f"{statistics.num_classes} classes", *own)]
    print_table(("", "logits a word", "largest class", "saving"), rows)
