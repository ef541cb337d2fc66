"""Proposal distributions: from counts to sampled class ids and their log-probabilities."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.proposals needs PyTorch: pip install 'vastmax[torch]'.") from error

from vastmax.proposals.alias import AliasTable
from vastmax.proposals.bigram import BigramProposal
from vastmax.proposals.proposal import Context, Proposal, Samples
from vastmax.proposals.quadratic_kernel import QuadraticKernelProposal
from vastmax.proposals.random_fourier import RandomFourierProposal
from vastmax.proposals.static import LogUniformProposal, UniformProposal, UnigramProposal
from vastmax.proposals.sum_tree import SumTree

__all__ = [
    "PROPOSALS",
    "AliasTable",
    "BigramProposal",
    "Context",
    "LogUniformProposal",
    "Proposal",
    "QuadraticKernelProposal",
    "RandomFourierProposal",
    "Samples",
    "SumTree",
    "UniformProposal",
    "UnigramProposal",
]

PROPOSALS: dict[str, type[Proposal]] = {
    "uniform": UniformProposal,
    "unigram": UnigramProposal,
    "log-uniform": LogUniformProposal,
    "bigram": BigramProposal,
    "quadratic-kernel": QuadraticKernelProposal,
    "random-fourier": RandomFourierProposal,
}
"""Proposal classes by their command-line name; each has ``from_counts(counts, **options)``."""
