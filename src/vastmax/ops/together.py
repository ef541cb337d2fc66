"""Several ops of one batch whose results are needed only after all have been requested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from vastmax.ops.dispatch import for_table

__all__ = ["Together", "together"]


class Together(Protocol):
    """Ops that are requested one by one, and return their results together."""

    def ask(self, op: Callable[..., Any], *given: Any, **options: Any) -> None:
        """Request the result of an op of this package, given its arguments."""

    def answers(self) -> list[Any]:
        """Return the results, in the order of the requests."""
        ...


def together(table: Tensor) -> Together:
    """Return a collector of ops on tables of this type; those on sharded tables share one exchange between processes.

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
