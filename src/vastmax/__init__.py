"""vastmax: word embeddings and large-vocabulary models without the cost of the full softmax."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vastmax.embeddings import EmbeddingOptions, Embeddings, train
    from vastmax.trees import Tree
    from vastmax.vocabulary import Vocabulary

__version__ = "0.1.0"
__all__ = ["EmbeddingOptions", "Embeddings", "Tree", "Vocabulary", "__version__", "train"]

_HOMES = {
    "EmbeddingOptions": "embeddings",
    "Embeddings": "embeddings",
    "Tree": "trees",
    "Vocabulary": "vocabulary",
    "train": "embeddings",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its package on first use, so that ``import vastmax`` stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vastmax' has no attribute {name!r}")
    return getattr(import_module(f"vastmax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return all names, including public ones that are not loaded yet."""
    return sorted({*globals(), *__all__})
