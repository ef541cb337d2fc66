"""Character CNN layers small enough for brute force."""

import torch
from torch import Tensor

from tests.cases import SMALL_CNN
from vastmax.layers import CharCNNSoftmax

D = 4
WORDS = ["sea", "seas", "a", "walking", "", "Straße", "sea-side-and-more", "ab"]


def layer_of(words=WORDS, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options) -> CharCNNSoftmax:
    torch.manual_seed(seed)
    layer = CharCNNSoftmax(D, words, dtype=dtype, **{**SMALL_CNN, "bias": True, **options})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return layer


def rows_of(n: int) -> Tensor:
    return torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def parameters_of(layer: CharCNNSoftmax) -> dict[str, Tensor]:
    return dict(layer.named_parameters())
