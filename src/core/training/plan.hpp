// One step of training, in words and positions: what the planner hands to the stepper. It names no memory, so that
// another planner or another stepper (of a GPU) can stand on either side.
#pragma once

#include <cstdint>

#include "training/kernels.hpp"

namespace vastmax {

constexpr int kMaxCentres = 8;

// Consecutive centres with the columns (context positions) of their windows.
struct Plan {
    int centres = 0;
    int columns = 0;
    int negatives = 0;
    alignas(16) uint32_t word[kMaxOutputs + 4];  // the centres, then the negatives; kEndOfSentence behind them
    uint32_t context[kMaxInputs];                // words of the columns
    // The window of each centre, in columns, and the column that is the centre itself and no context. Centres past the
    // last have empty windows.
    int begin[kMaxCentres] = {}, end[kMaxCentres] = {}, self[kMaxCentres] = {};
    int64_t path = 0;  // of the centre, in the steps of PackedPaths (hierarchical softmax)
    int64_t path_end = 0;
    double rate = 0;

    bool in_window(int column, int t) const { return (column >= begin[t]) & (column < end[t]) & (column != self[t]); }
};

}  // namespace vastmax
