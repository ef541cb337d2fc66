"""The contract of every output layer, continued: torch.utils.checkpoint does not change training."""

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V
from vastmax.layers import ClassIndex

STEPS, ROWS = 4, 8


def trained(case: LayerCase, parts: int, reentrant: bool | None) -> list[dict[str, Tensor]]:
    """Return losses, gradients and buffers after each step, whose loss is summed over parts of its rows."""
    layer, found = case.build(D, V), []
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        hidden = torch.randn(ROWS, D, generator=generator, dtype=torch.float64).requires_grad_()
        target = torch.randint(V, (2, ROWS), generator=generator)

        def loss_of(rows: Tensor, target: Tensor, context: Tensor) -> Tensor:
            return layer(rows, target, context=context, reduction="sum")

        torch.manual_seed(step)
        losses = [
            loss_of(*given) if reentrant is None else checkpoint(loss_of, *given, use_reentrant=reentrant)
            for given in zip(hidden.chunk(parts), target[0].chunk(parts), target[1].chunk(parts), strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        named = {"hidden": hidden, **dict(layer.named_parameters())}
        seen = {f"gradient of {name}": each.grad.to_dense() for name, each in named.items() if each.grad is not None}
        optimizer.step()
        buffers = {name: each.clone() for name, each in layer.named_buffers()}
        found.append({"losses": torch.stack(losses).detach(), **seen, **buffers})
    return found


# an index that is rebuilt during the steps
AGING = LayerCase("partial", {"head": 5, "tail": 8, "index": lambda _: ClassIndex(rebuild_every=3, probes=1)}, "aging")


@pytest.mark.parametrize("case", [*CASES, AGING], ids=lambda case: case.id)
@pytest.mark.parametrize(("parts", "reentrant"), [(2, False), (1, True)])
def test_checkpointing_changes_nothing(case: LayerCase, parts: int, reentrant: bool) -> None:
    wanted = trained(case, parts, None)
    torch.testing.assert_close(trained(case, parts, reentrant), wanted, rtol=1e-9, atol=1e-11)
