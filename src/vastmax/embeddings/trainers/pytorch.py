"""The embedding trainer of PyTorch: skip-gram and CBOW with any output layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.trainers.models import CBOW, SkipGram
from vastmax.embeddings.trainers.trainer import Statistics, Trained, Trainer, checked_tensor, diverged, initialise
from vastmax.embeddings.trainers.windows import find_windows
from vastmax.layers import LAYERS, LayerSpec, OutputLayer
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.runs import arrays_of, load_model_tensors, model_tensors, tensors_of, tensors_under
from vastmax.text import EncodedCorpus, count_words

__all__ = ["TorchEmbeddingTrainer"]

# Words of text per step (for skip-gram, divided by window + 1): about two thousand examples remain after subsampling.
STEP_PAIRS = 6144
STEP_WINDOWS = 2048
# The examples of several steps are collected and shuffled together, within this number of context ids in memory.
STEPS_TOGETHER = 64
CONTEXT_PLACES = 1 << 22

_TABLE = "embedding.weight"


class TorchEmbeddingTrainer(Trainer):
    """Trainer of skip-gram or CBOW with any output layer, by Adagrad at a cost independent of V if the layer's is.

    A step minimises the sum of the losses of a batch of examples, as the compiled trainer does. Its random draws depend
    only on (seed, position), so the vectors, layer, optimiser state and position are the whole training state: a
    trainer with the same state continues as if it had never stopped, with the same number of threads bit for bit.

    See Also:
        :class:`~vastmax.embeddings.EmbeddingTrainer`, tens of times as fast, for two objectives.

    Args:
        corpus: The encoded corpus; it must stay open while training runs.
        options: The options of training; its objective is the name of an output layer.

    Raises:
        InputError: An empty corpus, no such output layer, or one that does not support its options.
    """

    objectives = LAYERS

    def __init__(self, corpus: EncodedCorpus, options: EmbeddingOptions) -> None:
        self._layer = LayerSpec(options.objective, options.layer_options or {})
        step = STEP_PAIRS // (options.window + 1) if options.model == "skipgram" else STEP_WINDOWS
        super().__init__(corpus, options, max(1, step))
        self._together = max(1, min(STEPS_TOGETHER, CONTEXT_PLACES // (2 * options.window * self._chunk)))
        self._found: tuple[tuple[int, int], list[tuple[NDArray[np.int64], ...]]] | None = None
        with self._chance():
            torch.default_generator.manual_seed(options.seed)
            self._make(self._layer.build(options.dim, corpus.vocabulary))
        initialise(self.vectors, options.seed, options.num_threads)

    def _make(self, output: OutputLayer) -> None:
        options = self.options
        if options.model == "cbow":
            self.model = CBOW(output, combine=options.cbow_combine)
        else:
            self.model = SkipGram(output)
        self.optimizer = SparseAwareOptimizer(self.model, "adagrad", options.initial_learning_rate)

    @contextmanager
    def _chance(self) -> Iterator[None]:
        """Use this run's number of threads, and restore the caller's random state and number of threads on exit."""
        threads = torch.get_num_threads()
        with torch.random.fork_rng(devices=[]):
            torch.set_num_threads(self.options.num_threads)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    @property
    def bytes_needed(self) -> int:
        """Bytes of the model and of the optimiser state, which a checkpoint contains too."""
        return sum(each.nbytes for each in self.tensors().values())

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The word vectors (V, d) float32; a view."""
        return self.model.embedding.weight.detach().numpy()

    @property
    def output_vectors(self) -> NDArray[np.float32] | None:
        """The layer's vectors of words or inner nodes, (any, d) float32; None if it has no single table; a view."""
        weight = getattr(self.model.output, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2 and weight.shape[1] == self.options.dim:
            return weight.detach().numpy()
        return None

    @property
    def facts(self) -> dict[str, Any]:
        """The version of torch and the output layer, for the model's config."""
        return {"torch": torch.__version__, "output_layer": repr(self.model.output)}

    @property
    def learning_rate(self) -> float:
        """The learning rate at the current position."""
        first, last = self.options.initial_learning_rate, self.options.min_learning_rate
        return max(first + (last - first) * self._ids_passed / (len(self._ids) * self.options.epochs), last)

    def run(self, chunks: int) -> Statistics:
        """Run the next ``chunks`` steps; DivergedError if the loss is NaN or infinite."""
        words, examples, loss_sum = 0, 0, 0.0
        with self._chance():
            for _ in range(min(chunks, self.num_chunks - self._position)):
                batch = self._batch()
                if len(batch[-1]):
                    examples += len(batch[-1])
                    loss_sum += self._learn(batch)
                start = self._position % self._chunks_an_epoch * self._chunk
                words += count_words(self._ids, min(start + self._chunk, len(self._ids)), start)
                self._position += 1
        self.words_done += words
        self._corpus.release()
        return Statistics(words, examples, loss_sum)

    def _learn(self, batch: tuple[Tensor, ...]) -> float:
        """Make one optimiser step, and return the sum of the losses."""
        rate = self.optimizer.learning_rate = self.learning_rate
        torch.default_generator.manual_seed(_seed(self.options.seed, self._position))
        self.optimizer.zero_grad()
        loss = self.model(*batch, reduction="sum")
        value = loss.item()
        if not math.isfinite(value):
            raise diverged(self.options, self._corpus, rate, self.words_done, value)
        loss.backward()
        self.optimizer.step()
        return value

    def _batch(self) -> tuple[Tensor, ...]:
        """Return the model's inputs for this step, with the targets last."""
        epoch, step = divmod(self._position, self._chunks_an_epoch)
        stretch, number = divmod(step, self._together)
        if self._found is None or self._found[0] != (epoch, stretch):
            self._found = (epoch, stretch), self._examples(epoch, stretch)
        return tuple(map(torch.from_numpy, self._found[1][number]))

    def _examples(self, epoch: int, stretch: int) -> list[tuple[NDArray[np.int64], ...]]:
        """Return the shuffled examples of a stretch of text, divided evenly among its steps."""
        options, size = self.options, self._together * self._chunk
        ids = self._ids[stretch * size : (stretch + 1) * size]
        generator = np.random.default_rng([options.seed, epoch, stretch])
        windows = find_windows(ids, self._keep, options.window, options.shrink_window, generator)
        steps = -(-len(ids) // self._chunk)
        first, second = windows.pairs() if options.model == "skipgram" else windows.filled()
        parts = np.array_split(generator.permutation(len(first)), steps)
        batches = [(first[part], second[part]) for part in parts]
        return batches if options.model == "skipgram" else [_bags(centre, context) for centre, context in batches]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the word vectors, the other tensors of the model, and the optimiser state, by name."""
        state = {f"model.{name}": tensor for name, tensor in model_tensors(self.model).items() if name != _TABLE}
        state |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_tensors().items()}
        return {"vectors": self.vectors, **arrays_of(state)}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`tensors` returned; CheckpointError if it does not match this model."""
        vectors = checked_tensor(tensors, "vectors", self.vectors.shape)
        model, optimizer = (tensors_of(tensors_under(part, tensors)) for part in ("model", "optimizer"))
        state = tensors_under("output", model)
        self._make(self._layer.rebuild(self.options.dim, self._corpus.vocabulary, state))
        self.vectors[...] = vectors
        load_model_tensors(self.model, {**model, _TABLE: self.model.embedding.weight})
        self.optimizer.load_state_tensors(optimizer)

    def finish(self, *, output_vectors: bool) -> Trained:
        """Return copies of the word vectors and, on request, output vectors; the trainer cannot be used afterwards."""
        del self.optimizer  # frees as much memory as the model takes
        outputs = self.output_vectors
        return Trained(self.vectors.copy(), outputs.copy() if output_vectors and outputs is not None else None)


def _bags(centre: NDArray[np.int64], context: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Return the words of all windows, concatenated, (M,), the windows' offsets (N,) and the centre words (N,)."""
    inside = context >= 0
    return context[inside], np.concatenate([[0], inside.sum(1).cumsum()[:-1]]), centre


def _seed(seed: int, position: int) -> int:
    """Return the torch seed of a step, different for each seed and position."""
    return int(np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)[0] >> 1)
