"""A run's state on disk: an ordinary folder of embeddings whose config also says where the run stood."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.folder import load_extra, save_folder
from vastmax.errors import CheckpointError, FormatError, InputError
from vastmax.text import EncodedCorpus
from vastmax.vocabulary import Vocabulary

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "RunIdentity",
    "RunState",
    "checked_tensor",
    "load_checkpoint",
    "plain",
    "save_checkpoint",
]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class RunState:
    """How far a run is: with the vectors, all there is to know, as chance depends on seed and position alone."""

    position: int = 0
    examples: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint belongs to: the options that shape the result, and the corpus as it was encoded."""

    options: Mapping[str, Any]
    vocabulary: str
    corpus: str

    @classmethod
    def of(cls, options: Mapping[str, Any], corpus: EncodedCorpus) -> RunIdentity:
        """Fingerprint a corpus; reads all of it once."""
        return cls(plain(options), vocabulary_fingerprint(corpus.vocabulary), corpus.fingerprint)

    def check(self, present: RunIdentity, folder: Path) -> None:
        """Raise CheckpointError, saying what differs, unless the present run is the one that wrote this."""
        for name in dict.fromkeys([*present.options, *self.options]):
            was, came = self.options.get(name), present.options.get(name)
            if was != came:
                raise CheckpointError(
                    f"the checkpoint in {folder} was made with {name}={was!r}, now came {name}={came!r}: go back to "
                    "it, or start again with --overwrite."
                )
        other = "other words or counts" if self.vocabulary != present.vocabulary else "the same words in another order"
        if (self.vocabulary, self.corpus) != (present.vocabulary, present.corpus):
            raise CheckpointError(
                f"the checkpoint in {folder} belongs to a corpus with {other}: give the corpus it was begun with, or "
                "start again with --overwrite."
            )


@dataclass(frozen=True)
class Checkpoint:
    """What was read back; the vectors stay on the disk until they are copied."""

    identity: RunIdentity
    state: RunState
    records: list[dict[str, Any]]
    tensors: Mapping[str, NDArray[Any]]


def save_checkpoint(
    folder: Path,
    tensors: Mapping[str, NDArray[Any]],
    vocabulary: Vocabulary,
    identity: RunIdentity,
    state: RunState,
    records: Sequence[Mapping[str, Any]],
) -> None:
    """Let a new checkpoint take the place of the last, at one moment: a kill leaves the one or the other.

    The tensors ``vectors`` and ``output_vectors`` make it a folder of embeddings; others lie beside them.

    Raises:
        InputError: The folder cannot be written or the disk is full; the last checkpoint stands as it was.
    """
    config = {
        "checkpoint": FORMAT_VERSION,
        "identity": asdict(identity),
        "state": asdict(state),
        "records": list(records),
    }
    others = dict(tensors)
    vectors, output_vectors = others.pop("vectors"), others.pop("output_vectors", None)
    save_folder(folder, vectors, vocabulary, output_vectors, config, others)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: Another version wrote it, or it is damaged.
    """
    try:
        embeddings = Embeddings.load(folder)
        tensors = {"vectors": embeddings.vectors, **load_extra(folder)}
    except (FormatError, InputError) as error:
        raise CheckpointError(f"the checkpoint cannot be read ({error}): start again with --overwrite.") from error
    config = embeddings.config
    if config.get("checkpoint") != FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint in {folder} has format {config.get('checkpoint')!r} and this vastmax reads format "
            f"{FORMAT_VERSION}: finish it with the version that began it, or start again with --overwrite."
        )
    try:
        identity, state = RunIdentity(**config["identity"]), RunState(**config["state"])
        if embeddings.output_vectors is not None:
            tensors["output_vectors"] = embeddings.output_vectors
        return Checkpoint(identity, state, config["records"], tensors)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint in {folder} lacks {error}: start again with --overwrite.") from error


def checked_tensor(tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor of a checkpoint; CheckpointError where it is missing or of another shape."""
    found = tensors.get(name)
    if found is None or found.shape != shape:
        has = "lacks" if found is None else f"has, of shape {found.shape},"
        raise CheckpointError(
            f"the checkpoint {has} {name!r}, which this run needs of shape {shape}: start again with --overwrite."
        )
    return found


def vocabulary_fingerprint(vocabulary: Vocabulary) -> str:
    """Hash of the words and counts, in order."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(vocabulary.counts, dtype="<i8").data)
    for word in vocabulary.words or ():
        digest.update(word.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they come back from JSON, so that what was read compares equal to what was given."""
    return json.loads(json.dumps(options, default=_plain))


def _plain(value: Any) -> Any:
    """JSON for what options may hold: numpy numbers, sets, callables by their name, learnt phrases by their kind."""
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return sorted(value) if isinstance(value, (set, frozenset)) else f"a given {type(value).__name__}"
