// The gradient of per-row estimates of the partition function, each from the row's own draws.
// vastmax.ops.row_estimates has the formula.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/parallel.hpp"
#include "ops/history.hpp"

namespace vastmax {

// Draws of rows (num_rows,), preceded in each row by its targets (num_targets,), which are sorted by row.
template <typename T>
struct Estimates {
    const T *logits, *log_prob;  // (draws and targets,)
    const int64_t* lengths;      // (num_rows,), without targets
    const T* log_sum;            // (num_rows,)
    size_t num_rows;
    const int64_t* rows;  // (num_targets,)
    size_t num_targets;
};

// Writes the gradients of all logits, given those of the targets' own logits and of the rows' sums.
template <typename T>
void estimate_factors(const Estimates<T>& of, const T* to_own, const T* to_sums, T* factors, size_t threads) {
    std::vector<size_t> starts(of.num_rows + 1), first(of.num_rows + 1);
    for (size_t i = 0; i < of.num_targets; ++i) ++first[static_cast<size_t>(of.rows[i]) + 1];
    for (size_t row = 0; row < of.num_rows; ++row) {
        starts[row + 1] = starts[row] + static_cast<size_t>(of.lengths[row]) + first[row + 1];
        first[row + 1] += first[row];
    }
    pooled_for((of.num_rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t, size_t number) {
        for (size_t row = number * kRowsAtATime; row < std::min(of.num_rows, (number + 1) * kRowsAtATime); ++row) {
            size_t at = starts[row];
            const T base = of.logits[at], to_sum = to_sums[row];
            for (size_t i = first[row]; i < first[row + 1]; ++i, ++at) factors[at] = to_own[i];
            factors[starts[row]] -= to_sum;
            for (; at < starts[row + 1]; ++at)  // to_sum is 0, and sums arbitrary, for rows with an exact gradient
                factors[at] =
                    to_sum == 0 ? 0 : to_sum * std::exp(of.logits[at] - base - of.log_prob[at] - of.log_sum[row]);
        }
    });
}

}  // namespace vastmax
