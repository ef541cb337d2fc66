"""An output layer in one file: softmax over ``τ cos(h, v_w)`` with a learned τ.

Wang et al., *NormFace: L2 Hypersphere Embedding for Face Verification*, 2017,
https://arxiv.org/abs/1704.06369.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.layers import OutputLayer, Reference


class CosineSoftmax(OutputLayer):
    """Softmax over ``τ cos(h, v_w)``. References: https://arxiv.org/abs/1704.06369."""

    kind = "exact"
    reference = Reference(
        "Wang, Xiang, Cheng, Yuille",
        2017,
        "NormFace: L2 Hypersphere Embedding",
        "https://arxiv.org/abs/1704.06369",
    )

    def __init__(self, in_features: int, num_classes: int, *, device=None, dtype=None):
        super().__init__(in_features, num_classes)
        weight = torch.empty((num_classes, in_features), device=device, dtype=dtype)
        self.weight = nn.Parameter(weight)
        self.temperature = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw random directions, and set the temperature to 10."""
        nn.init.normal_(self.weight)
        nn.init.constant_(self.temperature, 10)

    def flops_per_token(self, train: bool = True) -> float:
        """2·d·V forward, twice that backward."""
        return 2.0 * self.in_features * self.num_classes * (3 if train else 1)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        weight = F.normalize(self.weight, dim=-1)
        logits = self.temperature * F.linear(F.normalize(hidden, dim=-1), weight)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return logits.log_softmax(-1, dtype=dtype)

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self._log_prob(hidden).gather(-1, target[:, None]).squeeze(-1)


if __name__ == "__main__":
    layer = CosineSoftmax(16, 1000)
    hidden, target = torch.randn(4, 7, 16), torch.randint(1000, (4, 7))
    layer(hidden, target, ignore_index=0).backward()
    print(layer)
    print("perplexity", layer.target_log_prob(hidden, target).mean().neg().exp().item())
    print("best", layer.topk(hidden[0, 0], 3))
