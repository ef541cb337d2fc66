"""What `layers.py` times: output layers of vastmax and of torch in one shape, checked before anything is timed.

As a program it measures one thing, in a process of its own so that nothing else's memory is counted: the peak of one
training step, in bytes, of the contender that the JSON in its argument describes.
"""

from __future__ import annotations

import copy
import ctypes
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from embedding_runs import peak_bytes
from vastmax.layers import LAYERS, build
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.vocabulary import Vocabulary

REAL_COUNTS = Path(__file__).parents[1] / "../shared/data/counts/lm1b_word_freq_int32.npy"
REAL_VOCABULARY = 793_471  # words of the One Billion Word benchmark
LEARNING_RATE = 0.1
_CHECKED_ROWS = 8


@dataclass(frozen=True)
class Setting:
    """One place to measure a contender in.

    Attributes:
        contender: a name of `LAYERS`, with options as in ``full:block_size=4096``, or a name of `PEERS`.
        vocabulary: V.
        rows: N, hidden vectors a step.
        dim: d.
        device: "cpu" or "cuda".
        threads: of torch on the CPU.
        optimizer: a name of `vastmax.optimizers.OPTIMIZERS`.
    """

    contender: str
    vocabulary: int
    rows: int = 512
    dim: int = 256
    device: str = "cpu"
    threads: int = 2
    optimizer: str = "sgd"

    def build(self) -> nn.Module:
        """The layer, drawn with seed 0."""
        torch.manual_seed(0)
        name, options = parse(self.contender)
        if name in PEERS:
            return PEERS[name](self.dim, self.vocabulary).to(self.device)
        return build(name, self.dim, made_up_vocabulary(self.vocabulary), **options).to(self.device)

    def optimizer_of(self, layer: nn.Module) -> SparseAwareOptimizer:
        """The optimizer that takes the layer's steps: of a sparse gradient only rows that were met move."""
        return SparseAwareOptimizer(layer, self.optimizer, LEARNING_RATE)

    def batches(self, steps: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Hidden vectors (N, d) with targets (N,) drawn from the counts, for so many steps.

        Targets are fresh in every step, or caches would flatter layers that read only what targets need. Hidden
        vectors, which every layer reads whole, come round again after 16 steps.
        """
        generator = np.random.default_rng(seed)
        share = counts(self.vocabulary).cumsum()
        drawn = np.searchsorted(share, generator.random((steps, self.rows)) * share[-1], side="right")
        targets = torch.from_numpy(drawn).to(self.device)
        normal = generator.standard_normal((min(steps, 16), self.rows, self.dim), dtype=np.float32)
        hidden = torch.from_numpy(normal).to(self.device)
        return [(hidden[step % len(hidden)], targets[step]) for step in range(steps)]


def parse(contender: str) -> tuple[str, dict[str, Any]]:
    """``name:option=value:option=value`` as a name and options."""
    name, *parts = contender.split(":")
    options = {}
    for key, _, value in (part.partition("=") for part in parts):
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return name, options


# --- the words ---


@cache
def counts(vocabulary: int) -> NDArray[np.int64]:
    """(V,) counts in falling order: the real ones of the One Billion Word benchmark at its V, Zipf's elsewhere."""
    if vocabulary == REAL_VOCABULARY:
        if not REAL_COUNTS.exists():
            raise SystemExit(f"V={vocabulary} stands for the words of a corpus: their counts are not at {REAL_COUNTS}")
        return np.sort(np.load(REAL_COUNTS, allow_pickle=False).astype(np.int64))[::-1]
    return (20 * vocabulary / np.arange(1, vocabulary + 1)).astype(np.int64)


@cache
def made_up_vocabulary(vocabulary: int) -> Vocabulary:
    """Words that spell nothing, as long as English ones, for layers that read spellings."""
    generator = np.random.default_rng(0)
    words: dict[str, None] = {}
    letters = np.array(list("etaoinshrdlcumwfgypbvkjxqz"))
    while len(words) < vocabulary:
        lengths = 2 + generator.poisson(5.5, vocabulary)  # of types, not of running words
        places = np.minimum(generator.geometric(0.13, lengths.sum()) - 1, 25)
        text, ends = "".join(letters[places]), lengths.cumsum().tolist()
        words |= dict.fromkeys(text[start:end] for start, end in zip([0, *ends], ends, strict=False))
    return Vocabulary(list(words)[:vocabulary], counts(vocabulary))


# --- torch's own ---


class TorchFull(nn.Module):
    """``nn.Linear`` and ``F.cross_entropy``: what everyone writes, and what all ratios are against."""

    kind = "exact"

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, vocabulary)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.linear(hidden), target)

    def log_prob(self, hidden: Tensor) -> Tensor:
        return F.log_softmax(self.linear(hidden), -1)

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return -F.cross_entropy(self.linear(hidden), target, reduction="none")

    def topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        logits = self.linear(hidden)
        values, classes = logits.topk(k)
        return values - logits.logsumexp(-1, keepdim=True), classes


class TorchLinearCrossEntropy(TorchFull):
    """``F.linear_cross_entropy``, cut into chunks as torch likes it; beyond the loss it is the full softmax."""

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        options = nn.LinearCrossEntropyOptions()
        return F.linear_cross_entropy(hidden, self.linear.weight, target, linear_bias=self.linear.bias, options=options)


class TorchAdaptive(nn.Module):
    """``nn.AdaptiveLogSoftmaxWithLoss``, cut as Transformer-XL cuts WikiText-103: at 7.5, 15 and 75 % of V."""

    kind = "exact"

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(dim, vocabulary, self.cutoffs(dim, vocabulary))

    def cutoffs(self, dim: int, vocabulary: int) -> list[int]:
        return [round(share * vocabulary) for share in (0.075, 0.15, 0.75)]

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.adaptive(hidden, target).loss

    def log_prob(self, hidden: Tensor) -> Tensor:
        return self.adaptive.log_prob(hidden)

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.adaptive(hidden, target).output

    def topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, classes = self.log_prob(hidden).topk(k)
        return values, classes


class TorchAdaptiveSameCuts(TorchAdaptive):
    """``nn.AdaptiveLogSoftmaxWithLoss`` with the cut-offs that vastmax's layer chooses from the counts."""

    def cutoffs(self, dim: int, vocabulary: int) -> list[int]:
        return list(build("adaptive", dim, counts(vocabulary), device="meta").cutoffs)  # type: ignore[arg-type]


PEERS: dict[str, type[nn.Module]] = {
    "torch-full": TorchFull,
    "torch-adaptive": TorchAdaptive,
}
if hasattr(F, "linear_cross_entropy"):
    PEERS["torch-linear-cross-entropy"] = TorchLinearCrossEntropy
if "adaptive" in LAYERS:
    PEERS["torch-adaptive-same-cuts"] = TorchAdaptiveSameCuts


# --- what is right ---


@torch.no_grad()
def check(setting: Setting, layer: Any) -> str | None:
    """Hold a contender against its own log-probabilities in float64; return what is wrong, or None.

    These sum to one, and `log_prob`, `target_log_prob`, `topk` and, of exact layers, the loss agree with them. The
    gradient is compared with central differences of the float64 loss along two directions: its own, and one drawn at
    random, which sees an error anywhere. Layers that draw samples draw the same ones for all of these.
    """
    hidden, target = (tensor[:_CHECKED_ROWS] for tensor in setting.batches(1, seed=1)[0])
    truth = copy.deepcopy(layer).double()
    exact = truth.log_prob(hidden.double())
    if not close(exact.logsumexp(-1), torch.zeros_like(exact[:, 0]), 1e-9):
        return "probabilities do not sum to one"
    picked = exact.gather(1, target[:, None]).squeeze(1)
    if not close(layer.log_prob(hidden), exact, 1e-3):
        return "log_prob is not that of float64"
    if not close(layer.target_log_prob(hidden, target), picked, 1e-3):
        return "target_log_prob is not log_prob at the target"
    best = min(10, setting.vocabulary)
    if not close(layer.topk(hidden, best)[0], exact.topk(best).values, 1e-3):
        return "topk is not topk of log_prob"
    del exact
    with torch.enable_grad():
        loss = seeded_loss(layer, hidden, target)
        loss.backward()
    if not bool(loss.isfinite()):
        return "the loss is not finite"
    if layer.kind == "exact":
        if not close(loss, -picked.mean(), 1e-3):
            return "the loss is not the negative log-probability"
    elif not close(loss, seeded_loss(truth, hidden.double(), target), 1e-3 * max(1.0, abs(float(loss)))):
        return "the loss is not that of float64"
    return check_gradient(layer, truth, hidden.double(), target)


def seeded_loss(layer: Any, hidden: Tensor, target: Tensor) -> Tensor:
    """The training loss on samples that come again."""
    torch.manual_seed(0)
    return layer(hidden, target)


def check_gradient(layer: nn.Module, truth: Any, hidden: Tensor, target: Tensor, step: float = 1e-7) -> str | None:
    """Compare the gradient of ``layer`` with slopes of the loss of ``truth``.

    The step is short: on a longer one, some of the units that are rectified or pooled would turn a corner.
    """
    pairs = [(ours.grad, theirs) for ours, theirs in zip(layer.parameters(), truth.parameters(), strict=True)]
    length = sum(float(grad.to_dense().double().pow(2).sum()) for grad, _ in pairs if grad is not None) ** 0.5
    generator = torch.Generator(hidden.device).manual_seed(0)
    for direction in ("its own", "a random"):
        slope, touched = 0.0, []
        for grad, parameter in pairs:  # in place, and each product as a dot: at V = 10^7 a copy takes gigabytes
            dense = torch.zeros_like(parameter) if grad is None else grad.double().to_dense()
            if direction == "its own":
                along = dense.div_(length)
                slope += length * float(along.norm()) ** 2
            else:
                along = torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device=hidden.device)
                slope += float(torch.dot(along.view(-1), dense.view(-1)))
            touched.append((parameter, along))
            del dense
        sides = []
        for stride in (step, -2 * step):
            for parameter, along in touched:
                parameter.add_(along, alpha=stride)
            sides.append(float(seeded_loss(truth.eval().train(), hidden, target)))
        for parameter, along in touched:
            parameter.add_(along, alpha=step)
        found = (sides[0] - sides[1]) / (2 * step)
        if abs(found - slope) > 1e-4 * length:
            return f"the gradient along {direction} direction is {slope:.6g}, and should be {found:.6g}"
    return None


def close(ours: Tensor, truth: Tensor, tolerance: float) -> bool:
    """Whether two tensors agree; on NaN they do not."""
    return bool(((ours.double() - truth.double()).abs() <= tolerance).all())


# --- steps ---


def step(layer: nn.Module, optimizer: SparseAwareOptimizer, hidden: Tensor, target: Tensor) -> Tensor:
    """One training step: forward, backward to the parameters and the hidden vectors, and the optimizer's."""
    optimizer.zero_grad()
    loss = layer(hidden.detach().requires_grad_(), target)
    loss.backward()
    optimizer.step()
    return loss


def gradient_bytes(layer: nn.Module) -> int:
    """Bytes of the gradients that a step left, sparse ones as they are."""
    total = 0
    for grad in (parameter.grad for parameter in layer.parameters()):
        if grad is not None:
            parts = (grad._indices(), grad._values()) if grad.is_sparse else (grad,)
            total += sum(part.untyped_storage().nbytes() for part in parts)
    return total


def peak_of_step(setting: Setting) -> dict[str, int]:
    """Bytes that a step needs at its peak beside parameters and gradients, and the bytes of the gradients.

    On the CPU the peak is the kernel's own, of resident memory, set back before the step; on CUDA that of torch's
    allocator. A step on other targets goes before, so that what is loaded or built once does not count.
    """
    torch.set_num_threads(setting.threads)
    layer = setting.build()
    optimizer = setting.optimizer_of(layer)
    first, second = setting.batches(2)
    step(layer, optimizer, *first)
    optimizer.zero_grad()
    before = reset_peak(setting.device)
    step(layer, optimizer, *second)
    grown = peak(setting.device) - before
    gradients = gradient_bytes(layer)
    return {"peak_extra_bytes": max(grown - gradients, 0), "gradient_bytes": gradients}


def reset_peak(device: str) -> int:
    """Set the peak back to what is in use, and return that."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # from here VmHWM starts anew: proc(5)
    return peak_bytes()


def peak(device: str) -> int:
    """The peak since `reset_peak`."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return peak_bytes()


def main() -> None:
    print(json.dumps(peak_of_step(Setting(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
