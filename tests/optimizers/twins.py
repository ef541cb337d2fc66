"""Models of a table and a matrix, whose gradients are sparse or dense, and steps for them."""

import pytest
import torch
from torch import nn

from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Twins(nn.Module):
    """A table followed by a matrix; the table's gradient is sparse or dense on request."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(20, 3, sparse=sparse)
        self.matrix = nn.Linear(3, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def backward(self, words: list[int], scale: float = 1.0) -> None:
        loss = self.matrix(self.table(torch.tensor(words))).tanh().sum() * scale
        loss.backward()

    def values(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters()]


class SparseTable(nn.Embedding):
    """A table, or a bias, whose gradient is sparse."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__(len(table), 1, sparse=True)
        self.weight = nn.Parameter(table)


STEPS = [[3, 5, 3, 3], [5, 0], [3, 19, 19], [1, 1]]  # words repeated within a step and in later steps


def train(model: Twins, optimizer: SparseAwareOptimizer, steps: list[list[int]], scale: float = 1.0) -> None:
    for words in steps:
        optimizer.zero_grad()
        model.backward(words, scale)
        optimizer.step()
