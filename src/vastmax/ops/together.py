"""Several ops of one batch, whose results are not needed before all have been asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from vastmax.ops.dispatch import for_table

__all__ = ["Together", "together"]


class Together(Protocol):
    """Ops that are asked for one after the other, and answer together."""

    def ask(self, op: Callable[..., Any], *given: Any, **options: Any) -> None:
        """Ask for the result of an op of this package, given its arguments."""

    def answers(self) -> list[Any]:
        """Return the results, in the order of asking."""
        ...


def together(table: Tensor) -> Together:
    """Return what ops on tables of the kind of this one are asked of, so that where it is spread they travel together.

    Example:
        >>> import torch
        >>> from vastmax import ops
        >>> hidden, table = torch.randn(4, 8), torch.randn(10, 8)
        >>> asked = together(table)
        >>> asked.ask(ops.linear_log_partition, [ops.Part(hidden, table, None)])
        >>> asked.ask(ops.gathered_logits, hidden, table, None, torch.tensor([0, 9]))
        >>> [each.shape for each in asked.answers()]
        [torch.Size([4]), torch.Size([4, 2])]
    """
    return (for_table("together", table) or _OneByOne)()


class _OneByOne:
    def __init__(self) -> None:
        self._found: list[Any] = []

    def ask(self, op: Callable[..., Any], *given: Any, **options: Any) -> None:
        self._found.append(op(*given, **options))

    def answers(self) -> list[Any]:
        return self._found
