// One training step as words and positions, passed from the planner to the stepper. It refers to no memory, so that
// either side can be replaced (by a stepper for a GPU, for example).
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
    alignas(16) uint32_t word[kMaxOutputs + 4];  // the centres, the negatives, then kEndOfSentence
    uint32_t context[kMaxInputs];                // words of the columns
    // The window of each centre, in columns, and the column of the centre itself, which is no context. Centres past
    // the last have empty windows.
    int begin[kMaxCentres] = {}, end[kMaxCentres] = {}, self[kMaxCentres] = {};
    int64_t path = 0;  // of the centre, in the steps of PackedPaths (hierarchical softmax)
    int64_t path_end = 0;
    double rate = 0;

    bool in_window(int column, int t) const { return (column >= begin[t]) & (column < end[t]) & (column != self[t]); }
};

}  // namespace vastmax
