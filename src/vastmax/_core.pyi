from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

END_OF_SENTENCE: int

# text

class Spool:
    def __init__(self, descriptor: int) -> None: ...
    def __len__(self) -> int: ...
    def remap(self, table: NDArray[np.uint32], threads: int = 1) -> tuple[int, int]: ...

class Lexicon:
    def __len__(self) -> int: ...
    def counts(self) -> NDArray[np.int64]: ...
    def ranked(self, min_count: int = 1, max_size: int | None = None) -> NDArray[np.uint32]: ...
    def joined(self, ids: NDArray[np.uint32] = ...) -> bytes: ...
    def find(self, words: bytes) -> NDArray[np.uint32]: ...
    def intern(self, words: bytes) -> NDArray[np.uint32]: ...
    def set_counts(self, counts: NDArray[np.int64]) -> None: ...
    def renamed(self, names: bytes) -> tuple[Lexicon, NDArray[np.uint32]]: ...

class Scanner:
    def __init__(self, spool: Spool | None, exact: bool = False, threads: int = 1) -> None: ...
    def feed(self, block: Buffer) -> None: ...
    def finish(self) -> Lexicon: ...
    @property
    def words(self) -> int: ...
    @property
    def invalid_utf8(self) -> int: ...

def count_pairs(
    spool: Spool,
    word_counts: NDArray[np.int64],
    is_connector: NDArray[np.uint8],
    min_count: int,
    threads: int = 1,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]]: ...
def join_pairs(
    spool: Spool,
    first: NDArray[np.uint32],
    last: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    between: NDArray[np.uint32],
    joined: NDArray[np.uint32],
    is_connector: NDArray[np.uint8],
) -> NDArray[np.int64]: ...
def last_cut(block: Buffer, size: int, exact: bool = False) -> int: ...
def clean_utf8(block: Buffer) -> tuple[bytes, int]: ...
def format_text_rows(words: list[bytes], vectors: NDArray[np.float32]) -> bytes: ...
def parse_text_rows(text: bytes, rows: NDArray[np.float32]) -> tuple[list[bytes], int, bytes]: ...
def ngram_buckets(
    words: list[str], shortest: int, longest: int, buckets: int, hashes: int, floret: bool
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]: ...

# trees

def huffman_children(counts: NDArray[np.int64]) -> NDArray[np.int32]: ...
def balanced_children(order: NDArray[np.int32]) -> NDArray[np.int32]: ...
def numbered_children(children: NDArray[np.int32], root: int) -> NDArray[np.int32]: ...
def children_links(children: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def children_paths(children: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int8]]: ...
def clustered_children(
    vectors: NDArray[np.float32], rule: str, epsilon: float, seed: int, iterations: int, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]: ...

class MixtureFit:
    def __init__(self, vectors: NDArray[np.float32], hard: bool = False, threads: int = 1) -> None: ...
    def run(
        self, seed: int, iterations: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def step(
        self, means: NDArray[np.float64], variances: tuple[float, float], mixing: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

def tree_children(
    offsets: NDArray[np.int64], nodes: NDArray[np.int32], signs: NDArray[np.int8]
) -> NDArray[np.int32]: ...

# training

class Settings:
    window: int
    shrink_window: bool
    cbow: bool
    cbow_mean: bool
    cbow_divides: bool
    sharing: str
    negatives: int
    drawn: int
    block: int
    learning_rate: float
    min_learning_rate: float
    epochs: int
    seed: int
    chunk: int
    def __init__(
        self,
        *,
        window: int = ...,
        shrink_window: bool = ...,
        cbow: bool = ...,
        cbow_mean: bool = ...,
        cbow_divides: bool = ...,
        sharing: str = ...,
        negatives: int = ...,
        drawn: int = ...,
        block: int = ...,
        learning_rate: float = ...,
        min_learning_rate: float = ...,
        epochs: int = ...,
        seed: int = ...,
        chunk: int = ...,
    ) -> None: ...

class Plan:
    @property
    def centres(self) -> NDArray[np.uint32]: ...
    @property
    def context(self) -> NDArray[np.uint32]: ...
    @property
    def negatives(self) -> NDArray[np.uint32]: ...
    @property
    def rate(self) -> float: ...
    @property
    def path(self) -> tuple[int, int]: ...
    def in_window(self, column: int, centre: int) -> bool: ...

class ChunkStatistics:
    @property
    def words(self) -> int: ...
    @property
    def examples(self) -> int: ...
    @property
    def loss_sum(self) -> float: ...

class Trainer:
    def __init__(
        self,
        *,
        ids: NDArray[np.uint32],
        keep: NDArray[np.uint32],
        settings: Settings,
        dim: int,
        outputs: int,
        noise: NDArray[np.float64] | None = None,
        paths: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int8]] | None = None,
        inputs: int | None = None,
        bags: tuple[NDArray[np.int64], NDArray[np.uint32]] | None = None,
        frozen: NDArray[np.uint8] | None = None,
        level: str | None = None,
    ) -> None: ...
    def run(self, first: int, last: int, threads: int) -> ChunkStatistics: ...
    def plans(self, epoch: int, chunk: int) -> list[Plan]: ...
    def learning_rate(self, position: float) -> float: ...
    def discard_outputs(self) -> None: ...
    def take_vectors(self, first: int) -> NDArray[np.float32]: ...
    @property
    def chunks_an_epoch(self) -> int: ...
    @property
    def level(self) -> str: ...
    @property
    def vectors(self) -> NDArray[np.float32]: ...
    @property
    def outputs(self) -> NDArray[np.float32]: ...

def simd_levels() -> list[str]: ...
def kernel_step(
    level: str,
    outputs: NDArray[np.float32],
    inputs: NDArray[np.float32],
    positive: NDArray[np.float32],
    total: NDArray[np.float32],
    rate: float,
    repeat: int = 1,
) -> float: ...
def bag_means(
    table: NDArray[np.float32],
    bags: tuple[NDArray[np.int64], NDArray[np.uint32]],
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def draw_noise(weights: NDArray[np.float64], seed: int, epoch: int, chunk: int, count: int) -> NDArray[np.uint32]: ...

# ops

def alias_entries(mass: NDArray[np.int64], slots: int, total: int, first: int, stop: int) -> NDArray[np.int64]: ...
def adagrad_rows(
    table: NDArray[np.floating],
    squares: NDArray[np.floating],
    rows: NDArray[np.int64],
    gradients: NDArray[np.floating],
    rate: float,
    epsilon: float,
    threads: int = 1,
) -> None: ...
def adam_rows(
    table: NDArray[np.floating],
    means: NDArray[np.floating],
    squares: NDArray[np.floating],
    rows: NDArray[np.int64],
    gradients: NDArray[np.floating],
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    threads: int = 1,
) -> None: ...
def sum_rows(
    rows: NDArray[np.int64],
    values: NDArray[np.floating],
    limit: int,
    met: NDArray[np.int64],
    sums: NDArray[np.floating],
    threads: int = 1,
) -> int: ...
def tree_draws(
    sums: NDArray[np.float64],
    start: NDArray[np.int64] | None,
    stop: NDArray[np.int64] | None,
    chances: NDArray[np.float64],
    ids: NDArray[np.int64],
    threads: int = 1,
) -> None: ...
def tree_update(sums: NDArray[np.float64], ids: NDArray[np.int64], weights: NDArray[np.float64]) -> None: ...
def draw_bigrams(
    unigram: NDArray[np.float64],
    bigram: NDArray[np.float64],
    pairs: NDArray[np.int64],
    starts: NDArray[np.int64],
    bins: NDArray[np.uint8],
    mixture: NDArray[np.float64],
    context: NDArray[np.int64],
    coins: NDArray[np.float64],
    chances: NDArray[np.float64],
    ids: NDArray[np.int64],
    log_prob: NDArray[np.float64],
    threads: int = 1,
) -> None: ...
def adapt_bigrams(
    unigram: NDArray[np.float64],
    bigram: NDArray[np.float64],
    pairs: NDArray[np.int64],
    starts: NDArray[np.int64],
    bins: NDArray[np.uint8],
    mixture: NDArray[np.float64],
    context: NDArray[np.int64],
    ids: NDArray[np.int64],
    logits: NDArray[np.float64],
    offsets: NDArray[np.int64],
    rate: float,
    mixture_rate: float,
    threads: int = 1,
) -> None: ...
def ragged_logits(
    hidden: NDArray[Any],
    table: NDArray[Any],
    bias: NDArray[Any] | None,
    ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.floating],
    threads: int = 1,
    level: str | None = None,
) -> None: ...
def gradient_of_rows(
    table: NDArray[Any],
    ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    factors: NDArray[np.floating],
    out: NDArray[Any],
    threads: int = 1,
    level: str | None = None,
) -> None: ...
def gradient_of_table(
    hidden: NDArray[Any],
    rows: NDArray[np.int64],
    factors: NDArray[np.floating],
    starts: NDArray[np.int64],
    order: NDArray[np.uint32],
    of_table: NDArray[Any],
    of_bias: NDArray[np.floating],
    threads: int = 1,
    level: str | None = None,
) -> None: ...
def group_ids(
    ids: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]: ...
def ratio_sums(
    logits: NDArray[np.floating],
    bases: NDArray[np.floating],
    log_prob: NDArray[np.floating],
    times: NDArray[np.floating],
    largest: NDArray[np.floating],
    once: NDArray[np.floating],
    twice: NDArray[np.floating],
    threads: int = 1,
) -> None: ...
def ratio_gradients(
    logits: NDArray[np.floating],
    bases: NDArray[np.floating],
    log_prob: NDArray[np.floating],
    times: NDArray[np.floating],
    largest: NDArray[np.floating],
    factors: NDArray[np.floating],
    gradients: NDArray[np.floating],
    threads: int = 1,
) -> None: ...
def estimate_factors(
    logits: NDArray[np.floating],
    log_prob: NDArray[np.floating],
    lengths: NDArray[np.int64],
    log_sum: NDArray[np.floating],
    rows: NDArray[np.int64],
    to_own: NDArray[np.floating],
    to_sums: NDArray[np.floating],
    factors: NDArray[np.floating],
    threads: int = 1,
) -> None: ...
def draw_guarded(
    unigram: NDArray[np.float64],
    bigram: NDArray[np.float64],
    pairs: NDArray[np.int64],
    starts: NDArray[np.int64],
    bins: NDArray[np.uint8],
    mixture: NDArray[np.float64],
    context: NDArray[np.int64],
    hidden: NDArray[Any],
    table: NDArray[Any],
    bias: NDArray[Any] | None,
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    of_targets: NDArray[np.floating],
    block: int,
    most: int,
    effective: float,
    seed: int,
    threads: int = 1,
) -> tuple[NDArray[Any], ...]: ...
def row_losses(
    hidden: NDArray[np.floating],
    vectors: NDArray[np.floating],
    biases: NDArray[np.floating] | None,
    logits: NDArray[np.floating],
    target_expected: NDArray[np.floating],
    log_expected: NDArray[np.floating],
    times: NDArray[np.floating],
    log_times: NDArray[np.floating],
    losses: NDArray[np.floating],
    target_gradients: NDArray[np.floating],
    logistic: bool,
    samples_corrected: bool,
    target_corrected: bool,
    blackout: bool,
    threads: int = 1,
) -> None: ...

# search

def encode_rows(
    rows: NDArray[np.float32],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    factors: NDArray[np.float32],
    slacks: NDArray[np.float32],
    threads: int = 1,
) -> None: ...
def code_factors(codes: NDArray[np.int8], factors: NDArray[np.float32], threads: int = 1) -> None: ...
def code_products(
    codes: NDArray[np.int8], queries: NDArray[np.int8], level: str | None = None
) -> NDArray[np.int32]: ...
def nearest_rows(
    codes: NDArray[np.int8],
    factors: NDArray[np.float32],
    slacks: NDArray[np.float32] | None,
    queries: NDArray[np.float64],
    k: int,
    among: NDArray[np.int64] | None,
    rows: int,
    exclude: NDArray[np.int64],
    exclude_from: NDArray[np.int64],
    floats: NDArray[np.float32] | None = None,
    halves: NDArray[np.uint16] | None = None,
    scales: NDArray[np.float32] | None = None,
    threads: int = 1,
    level: str | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]: ...
