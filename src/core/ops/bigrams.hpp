// A unigram and a bigram table in trees of sums, mixed by the frequency of the previous class: draws from them, and their
// moves towards what a model says. vastmax.ops.bigrams has the formulas.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vastmax {

constexpr size_t kBins = 64;

struct BigramTables {
    size_t classes, entries;
    double* unigram;       // (2 classes,)
    double* bigram;        // (2 entries,)
    const int64_t* pairs;  // (entries,) previous * classes + class, rising
    const int64_t* starts; // (classes + 1,) where the bigrams of a previous class start, and the last ones stop
    const uint8_t* bins;   // (classes,)
    double* mixture;       // (kBins,) log(share / (1 - share)) of the unigram table
};

// Draws `count` ids after each of `rows` histories by two chances each, 0 to below 1, and states their log-probability.
void draw_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, size_t count, const double* coins,
                  const double* chances, int64_t* ids, double* log_prob, size_t threads);

// Moves the tables at `rate` and the mixture at `mixture_rate`; row r drew the ids from offsets[r] to offsets[r + 1].
void adapt_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, const int64_t* ids,
                   const double* logits, const int64_t* offsets, double rate, double mixture_rate, size_t threads);

}  // namespace vastmax
