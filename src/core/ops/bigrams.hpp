// A unigram and a bigram table in trees of sums, mixed by the frequency of the previous class: draws from them, and
// their moves towards what a model says. vastmax.ops.bigrams has the formulas.
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
    const int64_t* pairs;   // (entries,) previous * classes + class, rising
    const int64_t* starts;  // (classes + 1,) where the bigrams of a previous class start, and the last ones stop
    const uint8_t* bins;    // (classes,)
    double* mixture;        // (kBins,) log(share / (1 - share)) of the unigram table
};

// Draws `count` ids after each of `rows` histories by two chances each, 0 to below 1, and states their log-probability.
void draw_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, size_t count, const double* coins,
                  const double* chances, int64_t* ids, double* log_prob, size_t threads);

// Moves the tables at `rate` and the mixture at `mixture_rate`; row r drew the ids from offsets[r] to offsets[r + 1].
void adapt_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, const int64_t* ids,
                   const double* logits, const int64_t* offsets, double rate, double mixture_rate, size_t threads);

// When a row has drawn enough: its effective sample size is reached, or `most` are drawn. Draws come in blocks.
struct Guard {
    size_t block, most;
    double effective;
};

// What rows drew. Of each row its targets come first, whose log-probability is infinite.
template <typename T>
struct GuardedDraws {
    std::vector<int64_t> ids, lengths;  // (draws and targets,) and (rows,), targets not counted
    std::vector<Wide<T>> log_prob, logits, log_sum, log_squares;  // (draws and targets,) twice, (rows,) twice
    std::vector<uint8_t> content;                                 // (rows,)
};

// What rows are drawn for. Targets (count,) with their logits are of rows that rise; the first of a row is its base.
template <typename T>
struct Scores {
    const T *hidden, *table, *bias;  // bias may be null
    size_t width;
    const int64_t *targets, *rows;
    const Wide<T>* of_targets;
    size_t count;
};

// Draws for each row until its guard is content. What is drawn depends on the seed and on nothing else.
template <typename T>
GuardedDraws<T> draw_guarded(const BigramTables& tables, const int64_t* context, size_t num_rows,
                             const Scores<T>& scores, const Guard& guard, const GatheredKernels<T>& kernels,
                             uint64_t seed, size_t threads);

}  // namespace vastmax
