"""Skip-gram and CBOW as PyTorch modules: a table of word vectors and any output layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vastmax.checks import one_of
from vastmax.layers import OutputLayer

__all__ = ["CBOW", "SkipGram"]


class SkipGram(nn.Module):
    """Skip-gram: each word of a window predicts the centre word, so the hidden vector is the word's own vector.

    This is the direction of word2vec's code and of the compiled engine of ``vastmax train``. In the paper the centre
    word predicts its window; over a text both give the same pairs, equally often in expectation.

    A proposal that is conditional on the previous class is given the predicting word.

    See Also:
        :class:`CBOW`, where the words of a window together predict the centre word.

    References:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546.

    Args:
        output: the output layer over the V words; its ``in_features`` is the length d of a vector.

    Example:
        >>> from vastmax.layers import build
        >>> model = SkipGram(build("nce", 8, [5, 3, 2, 1], num_samples=2))
        >>> model(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 3])).backward()
        >>> model.embedding.weight.grad.is_sparse
        True
    """

    def __init__(self, output: OutputLayer) -> None:
        super().__init__()
        self.embedding = nn.Embedding(output.num_classes, output.in_features, sparse=True)
        self.output = output
        _start_small(self.embedding.weight)

    def hidden(self, words: Tensor) -> Tensor:
        """Return the vectors (…, d) of words (…)."""
        return self.embedding(words)

    def forward(self, words: Tensor, target: Tensor, *, reduction: Literal["mean", "sum", "none"] = "mean") -> Tensor:
        """Return the training loss of predicting target (…) from words (…), reduced by the output layer."""
        return self.output(self.hidden(words), target, reduction=reduction, context=words)


class CBOW(nn.Module):
    """CBOW: the words of a window predict the centre word, so the hidden vector is the mean or sum of their vectors.

    The gradient of a mean reaches each word divided by the number of words; the published code omits this division
    (İrsoy, Benton, Stratos, *Corrected CBOW Performs as well as Skip-gram*, 2021, https://arxiv.org/abs/2012.15332).

    References:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781.

    Args:
        output: the output layer over the V words; its ``in_features`` is the length d of a vector.
        combine: "mean" or "sum".

    Raises:
        InputError: if combine is neither.

    Example:
        >>> from vastmax.layers import build
        >>> model = CBOW(build("full", 8, [5, 3, 2, 1]))
        >>> words, starts = torch.tensor([0, 1, 3, 2, 0]), torch.tensor([0, 3])  # windows of 3 and of 2 words
        >>> model(words, starts, torch.tensor([2, 1])).shape
        torch.Size([])
    """

    def __init__(self, output: OutputLayer, *, combine: Literal["mean", "sum"] = "mean") -> None:
        super().__init__()
        one_of("combine", combine, ("mean", "sum"))
        self.embedding = nn.EmbeddingBag(output.num_classes, output.in_features, mode=combine, sparse=True)
        self.output = output
        _start_small(self.embedding.weight)

    def hidden(self, words: Tensor, starts: Tensor) -> Tensor:
        """Return the hidden vectors (N, d) of N windows.

        Args:
            words: (M,) ids of the words of all windows, concatenated.
            starts: (N,) offsets in ``words`` at which the windows start.
        """
        return self.embedding(words, starts)

    def forward(
        self, words: Tensor, starts: Tensor, target: Tensor, *, reduction: Literal["mean", "sum", "none"] = "mean"
    ) -> Tensor:
        """Return the training loss of predicting target (N,) from N windows, reduced by the output layer."""
        return self.output(self.hidden(words, starts), target, reduction=reduction)


@torch.no_grad()
def _start_small(table: Tensor) -> None:
    """Initialise uniformly within ±1/(2d), as in the published code."""
    nn.init.uniform_(table, -0.5 / table.shape[1], 0.5 / table.shape[1])
