"""Float64 brute force, written from the formula and sharing no code with what it judges."""

from tests.oracles.common import Float64, gradients_of, log_sum_exp, sigmoid, table_logits
from tests.oracles.diagnostics import effective_sample_size, gradient_error, kl_divergence, sampled_estimate
from tests.oracles.exact import (
    adaptive_log_prob,
    char_cnn_vector,
    class_based_log_prob,
    cnn_softmax_log_prob,
    differentiated_log_prob,
    full_gradients,
    full_log_prob,
    word_model_gradients,
)
from tests.oracles.losses import (
    blackout_loss,
    importance_gradients,
    importance_loss,
    importance_ratios,
    infrequently_normalized_loss,
    nce_loss,
    partial_gradients,
    partial_loss,
    sampled_softmax_loss,
    self_normalized_loss,
    target_partitions,
    target_sampled_loss,
)
from tests.oracles.optimizers import lazy_adam
from tests.oracles.proposals import BigramOracle, quadratic_kernel_log_prob, random_fourier_log_prob
from tests.oracles.trees import entropy_bits, expectation, huffman_cost, maximisation, tree_probabilities
from tests.oracles.vectors import analogy_scores, cosine, log_sigmoid, word2vec_gradients, word2vec_loss

__all__ = [
    "BigramOracle",
    "Float64",
    "adaptive_log_prob",
    "analogy_scores",
    "blackout_loss",
    "char_cnn_vector",
    "class_based_log_prob",
    "cnn_softmax_log_prob",
    "cosine",
    "differentiated_log_prob",
    "effective_sample_size",
    "entropy_bits",
    "expectation",
    "full_gradients",
    "full_log_prob",
    "gradient_error",
    "gradients_of",
    "huffman_cost",
    "importance_gradients",
    "importance_loss",
    "importance_ratios",
    "infrequently_normalized_loss",
    "kl_divergence",
    "lazy_adam",
    "log_sigmoid",
    "log_sum_exp",
    "maximisation",
    "nce_loss",
    "partial_gradients",
    "partial_loss",
    "quadratic_kernel_log_prob",
    "random_fourier_log_prob",
    "sampled_estimate",
    "sampled_softmax_loss",
    "self_normalized_loss",
    "sigmoid",
    "table_logits",
    "target_partitions",
    "target_sampled_loss",
    "tree_probabilities",
    "word2vec_gradients",
    "word2vec_loss",
    "word_model_gradients",
]
