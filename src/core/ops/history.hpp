// The part of the tables that a previous class selects, and the probabilities under their mixture.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "ops/bigrams.hpp"
#include "ops/sum_tree.hpp"

namespace vastmax {

constexpr size_t kNone = std::numeric_limits<size_t>::max();
constexpr size_t kRowsAtATime = 8;

// The part of the tables that a previous class selects.
struct History {
    int64_t first = 0;  // key of its pair with class 0
    size_t start = 0, stop = 0;
    RangeParts parts;
    double share = 1;  // of the unigram table

    History(const BigramTables& tables, int64_t context) {
        if (context < 0 || static_cast<size_t>(context) >= tables.classes) return;
        first = context * static_cast<int64_t>(tables.classes);
        start = static_cast<size_t>(tables.starts[context]);
        stop = static_cast<size_t>(tables.starts[context + 1]);
        parts = RangeParts(tables.bigram, tables.entries, start, stop);
        if (parts.mass() > 0) share = 1 / (1 + std::exp(-tables.mixture[tables.bins[context]]));
    }
};

// Finds the entries of classes in the bigram table's row of this history; kNone for those without one.
inline void find_entries(const BigramTables& tables, const History& history, const int64_t* ids, size_t count,
                         size_t* entries) {
    for (size_t first = 0; first < count; first += kSideBySide) {
        const size_t some = std::min(kSideBySide, count - first);
        const int64_t* at[kSideBySide];
        std::fill_n(at, kSideBySide, tables.pairs + history.start);
        size_t length = history.stop - history.start;
        for (; length > 1; length -= length / 2)
            for (size_t i = 0; i < some; ++i)
                at[i] += at[i][length / 2 - 1] < history.first + ids[first + i] ? length / 2 : 0;
        for (size_t i = 0; i < some; ++i) {
            const bool is_there = length > 0 && *at[i] == history.first + ids[first + i];
            entries[first + i] = is_there ? static_cast<size_t>(at[i] - tables.pairs) : kNone;
        }
    }
}

// The probabilities of a class under both tables and under their mixture.
struct Probability {
    double unigram, bigram, mixed;

    Probability(const BigramTables& tables, const History& history, int64_t id, size_t entry)
        : unigram(tables.unigram[tables.classes + static_cast<size_t>(id)] / tables.unigram[1]),
          bigram(entry == kNone ? 0 : tables.bigram[tables.entries + entry] / positive(history.parts.mass())),
          mixed(history.share < 0.5 ? bigram + history.share * (unigram - bigram)
                                    : unigram - (unigram - bigram) * (1 - history.share)) {}

private:
    static double positive(double mass) { return mass > 0 ? mass : 1; }
};

}  // namespace vastmax
