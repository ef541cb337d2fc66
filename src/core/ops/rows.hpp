// Rows of a table that a batch met.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/parallel.hpp"

namespace vastmax {

// Takes a step of Adagrad on rows (count,) of a table (…, width), none of them twice: the squares of their gradients
// (count, width) are added to `squares`, then a row moves by rate * gradient / (sqrt(squares) + epsilon).
template <typename T>
void adagrad_rows(T* table, T* squares, const int64_t* rows, const T* gradients, size_t count, size_t width, T rate,
                  T epsilon, size_t threads) {
    const size_t block = std::max<size_t>(1, (size_t{1} << 15) / std::max<size_t>(1, width));
    pooled_for((count + block - 1) / block, threads, [&](size_t, size_t number) {
        for (size_t i = number * block; i < std::min(count, (number + 1) * block); ++i) {
            T* __restrict const row = table + static_cast<size_t>(rows[i]) * width;
            T* __restrict const sums = squares + static_cast<size_t>(rows[i]) * width;
            const T* __restrict const gradient = gradients + i * width;
            for (size_t j = 0; j < width; ++j) {
                sums[j] += gradient[j] * gradient[j];
                row[j] -= rate * (gradient[j] / (std::sqrt(sums[j]) + epsilon));
            }
        }
    });
}

}  // namespace vastmax
