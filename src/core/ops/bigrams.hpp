// A unigram and a bigram table in sum trees, mixed in proportions that depend on the frequency of the previous class:
// draws from them, and their adaptation to a model's logits. vastmax.ops.bigrams has the formulas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/gathered.hpp"

namespace vastmax {

constexpr size_t kBins = 64;

struct BigramTables {
    size_t classes, entries;
    double* unigram;        // (2 classes,)
    double* bigram;         // (2 entries,)
    const int64_t* pairs;   // (entries,) previous * classes + class, ascending
    const int64_t* starts;  // (classes + 1,) first entry of each previous class, and the end of the last
    const uint8_t* bins;    // (classes,)
    double* mixture;        // (kBins,) log(share / (1 - share)) of the unigram table
};

// Draws `count` ids after each of `rows` previous classes, by two uniform numbers in [0, 1) per draw, and writes their
// log-probabilities.
void draw_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, size_t count, const double* coins,
                  const double* chances, int64_t* ids, double* log_prob, size_t threads);

// Moves the tables at learning rate `rate` and the mixture at `mixture_rate`. Row r drew the ids from offsets[r] to
// offsets[r + 1].
void adapt_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, const int64_t* ids,
                   const double* logits, const int64_t* offsets, double rate, double mixture_rate, size_t threads);

// When a row has enough draws: its effective sample size has reached `effective`, or it has drawn `most`. Draws come
// in blocks.
struct Guard {
    size_t block, most;
    double effective;
};

// The draws of all rows. Each row's targets come first, with an infinite log-probability.
template <typename T>
struct GuardedDraws {
    std::vector<int64_t> ids, lengths;  // (draws and targets,) and (rows,), the latter without targets
    std::vector<Wide<T>> log_prob, logits, log_sum, log_squares;  // (draws and targets,) twice, (rows,) twice
    std::vector<uint8_t> content;                                 // (rows,)
};

// The scores that rows draw for. Targets (count,) and their logits are sorted by row; the logit of a row's first
// target is its base.
template <typename T>
struct Scores {
    const T *hidden, *table, *bias;  // bias may be null
    size_t width;
    const int64_t *targets, *rows;
    const Wide<T>* of_targets;
    size_t count;
};

// Draws for each row until its guard is satisfied. Draws are reproducible: they depend on the seed, not on the number
// of threads.
template <typename T>
GuardedDraws<T> draw_guarded(const BigramTables& tables, const int64_t* context, size_t num_rows,
                             const Scores<T>& scores, const Guard& guard, const GatheredKernels<T>& kernels,
                             uint64_t seed, size_t threads);

}  // namespace vastmax
