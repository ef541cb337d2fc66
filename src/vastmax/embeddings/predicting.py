"""Prediction of the centre word of a context, from the output vectors of words or of a Huffman tree's inner nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import one_of, refused, whole
from vastmax.embeddings.queries import Neighbour, Word, WordVectors, best_rows, listed
from vastmax.embeddings.search import Float32
from vastmax.embeddings.told import told
from vastmax.errors import InputError
from vastmax.sentences import counted
from vastmax.trees import Tree, huffman_tree
from vastmax.vocabulary import Vocabulary

__all__ = ["Predicting", "outputs_of_words"]

Rows = NDArray[np.float64]

_ROWS = 8192  # rows of output vectors multiplied at once


class Predicting:
    """The method of `Embeddings` with output vectors that predicts a centre word."""

    def predict(
        self: WordVectors, context: Sequence[Word], k: int = 10, *, combine: Literal["mean", "sum"] | None = None
    ) -> list[Neighbour]:
        """Return the k most probable centre words of a context with their probabilities, best first.

        With output vectors u of words (V, d), from negative sampling, the probabilities are the softmax over all words
        of the scores ``h·u_w``, where h is the mean or the sum of the context's vectors, as in gensim's
        ``predict_output_word``. Negative sampling does not train scores to be log-probabilities: use only their order.

        With output vectors of a tree's inner nodes (V - 1, d), from hierarchical softmax, the probabilities are exact:
        the product of the decisions on the path to the word. CBOW makes these decisions with h. Skip-gram makes them
        with each word of the context; the resulting probabilities are multiplied ("sum" of logarithms) or averaged
        geometrically ("mean"), and normalised. The Huffman tree is rebuilt from the words' counts.

        Args:
            context: n words or ids, in any order; at least one. They may be returned too.
            k: at least 1; fewer are returned if there are fewer words.
            combine: "mean" or "sum"; by default as CBOW was trained, and "mean" for skip-gram.

        Raises:
            InputError: for an unknown word, an empty context, embeddings without output vectors, a tree without counts,
                embeddings of engine "torch", NaN or infinity in a vector, or a value that is not accepted.

        Example:
            >>> from vastmax import train
            >>> text = [["tea", "with", "milk"], ["coffee", "without", "sugar"]] * 200
            >>> embeddings = train(text, model="cbow", subsample=0, dim=8, epochs=20, keep_output_vectors=True)
            >>> embeddings.predict(["tea", "milk"], k=1)[0].word
            'with'
        """
        k = whole("k", k, 1)
        tree = _output_tree(self.output_vectors, self.vocabulary, self.config)
        rows = self._rows("the context", listed("the context", context))
        if not len(rows) or self.output_vectors is None:
            raise refused("the context", context, "one word or more")
        scores = _log_probabilities(rows, self.output_vectors, tree, self.config, combine)
        return [Neighbour(self.word_of(row), float(np.exp(scores[row]))) for row in best_rows(scores, k).tolist()]


def outputs_of_words(outputs: Float32 | None, vocabulary: Vocabulary, config: Mapping[str, Any]) -> bool:
    """Whether output vectors belong to words (True) or to a tree's inner nodes (False); InputError if to neither.

    The objective in the config, if known, must agree: for a tree's inner nodes word2vec and gensim keep an extra row.
    """
    if outputs is None:
        raise InputError(
            "these embeddings have no output vectors: train with keep_output_vectors=True (--keep-output-vectors)."
        )
    size, objective = len(vocabulary), told(config, "options").get("objective")
    if len(outputs) not in (size, size - 1):
        raise InputError(
            f"output_vectors has {counted(len(outputs), 'row')}: give one for each word ({size}), or one for each "
            f"inner node of their Huffman tree ({size - 1})."
        )
    of_words = len(outputs) == size
    if isinstance(objective, str) and of_words != (objective != "hierarchical"):
        wanted = f"inner node of the Huffman tree ({size - 1})" if of_words else f"word ({size})"
        raise InputError(
            f"output_vectors has {counted(len(outputs), 'row')}, and objective is {objective!r} in config: "
            f"give one for each {wanted}."
        )
    return of_words


def _output_tree(outputs: Float32 | None, vocabulary: Vocabulary, config: Mapping[str, Any]) -> Tree | None:
    """Return the tree whose inner nodes have the output vectors, or None if words do; InputError without counts."""
    if outputs is not None and told(config, "options").get("engine") == "torch":
        raise InputError("engine is 'torch', whose biases and trees are not kept: train with engine 'compiled'.")
    of_words = outputs_of_words(outputs, vocabulary, config)
    if of_words:
        return None
    if not vocabulary.counted:
        raise InputError(
            "the output vectors belong to a Huffman tree of the words' counts, and these are unknown: give "
            "them too, as Vocabulary(words, counts)."
        )
    return huffman_tree(vocabulary.counts)


def _log_probabilities(
    context: Rows,
    outputs: Float32,
    tree: Tree | None,
    config: Mapping[str, Any],
    combine: Literal["mean", "sum"] | None,
) -> NDArray[np.float64]:
    """Return the log-probabilities (V,) of the centre words of a context (n, d); see `Embeddings.predict`."""
    options = told(config, "options")
    apart = options.get("model") == "skipgram" and tree is not None
    if combine is None:
        combine = options.get("cbow_combine", "mean") if options.get("model") == "cbow" else "mean"
    one_of("combine", combine, ("mean", "sum"))
    reduce = np.mean if combine == "mean" else np.sum
    hidden = context if apart else reduce(context, axis=0, keepdims=True)
    logits = np.empty((len(hidden), len(outputs)))
    for start in range(0, len(outputs), _ROWS):
        logits[:, start : start + _ROWS] = hidden @ outputs[start : start + _ROWS].T.astype(np.float64)
    if not np.isfinite(logits).all():
        raise InputError("the output vectors contain NaN or infinity: give finite numbers.")
    # a product of softmaxes is the softmax of summed logits; a tree's probabilities are multiplied word by word
    scores = reduce([_leaves(tree, each) for each in logits], axis=0) if tree is not None else logits[0]
    return scores - np.logaddexp.reduce(scores)


def _leaves(tree: Tree, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-probability (V,) of each leaf from the logits (V - 1,) of the inner nodes, level by level."""
    nodes, leaves = np.zeros(tree.num_inner_nodes), np.zeros(tree.num_leaves)
    start, stop = 0, min(1, tree.num_inner_nodes)
    while start < stop:
        for branch, sign in ((0, -1), (1, 1)):
            reached = nodes[start:stop] - np.logaddexp(0, -sign * logits[start:stop])
            children = tree.children[start:stop, branch]
            inner = children >= 0
            nodes[children[inner]] = reached[inner]
            leaves[-(children[~inner] + 1)] = reached[~inner]
        start, stop = stop, stop + int((tree.children[start:stop] >= 0).sum())
    return leaves
