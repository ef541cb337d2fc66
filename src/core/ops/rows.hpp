// Optimiser steps and sums on the table rows touched by a batch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/parallel.hpp"
#include "ops/groups.hpp"

namespace vastmax {

// Calls work(i) for each of `count` rows, in blocks large enough to be worth another thread.
template <typename Work>
void for_rows(size_t count, size_t width, size_t threads, Work&& work) {
    const size_t block = std::max<size_t>(1, (size_t{1} << 15) / std::max<size_t>(1, width));
    pooled_for((count + block - 1) / block, threads, [&](size_t, size_t number) {
        for (size_t i = number * block; i < std::min(count, (number + 1) * block); ++i) work(i);
    });
}

// Takes an Adagrad step on distinct rows (count,) of a table (…, width): adds the squares of their gradients (count,
// width) to `squares`, then subtracts rate * gradient / (sqrt(squares) + epsilon) from each row.
template <typename T>
void adagrad_rows(T* table, T* squares, const int64_t* rows, const T* gradients, size_t count, size_t width, T rate,
                  T epsilon, size_t threads) {
    for_rows(count, width, threads, [=](size_t i) {
        T* __restrict const row = table + static_cast<size_t>(rows[i]) * width;
        T* __restrict const sums = squares + static_cast<size_t>(rows[i]) * width;
        const T* __restrict const gradient = gradients + i * width;
        for (size_t j = 0; j < width; ++j) {
            sums[j] += gradient[j] * gradient[j];
            row[j] -= rate * (gradient[j] / (std::sqrt(sums[j]) + epsilon));
        }
    });
}

struct Adam {
    double rate, beta1, beta2, epsilon;
};

// Takes Adam's step number `step`, counted from 1, on rows as above: moves `means` and `squares` towards the gradients
// and their squares, then subtracts rate * sqrt(1 - beta2^step) / (1 - beta1^step) * means / (sqrt(squares) + epsilon)
// from each row.
template <typename T>
void adam_rows(T* table, T* means, T* squares, const int64_t* rows, const T* gradients, size_t count, size_t width,
               int64_t step, const Adam& adam, size_t threads) {
    // in double, because 1 - beta2 of floats has few digits
    const auto times = static_cast<double>(step);
    const T rate =
        static_cast<T>(adam.rate * std::sqrt(1 - std::pow(adam.beta2, times)) / (1 - std::pow(adam.beta1, times)));
    const T to_mean = static_cast<T>(1 - adam.beta1), to_square = static_cast<T>(1 - adam.beta2);
    const T epsilon = static_cast<T>(adam.epsilon);
    for_rows(count, width, threads, [=](size_t i) {
        T* __restrict const row = table + static_cast<size_t>(rows[i]) * width;
        T* __restrict const mean = means + static_cast<size_t>(rows[i]) * width;
        T* __restrict const square = squares + static_cast<size_t>(rows[i]) * width;
        const T* __restrict const gradient = gradients + i * width;
        for (size_t j = 0; j < width; ++j) {
            mean[j] += to_mean * (gradient[j] - mean[j]);
            square[j] += to_square * (gradient[j] * gradient[j] - square[j]);
            row[j] -= rate * (mean[j] / (std::sqrt(square[j]) + epsilon));
        }
    });
}

// Writes the sum of each group's rows of `values` (…, width), added in the order of their places.
template <typename T>
void sum_rows(const T* values, const Groups& groups, size_t width, T* sums, size_t threads) {
    for_rows(groups.values.size(), width, threads, [&](size_t i) {
        T* __restrict const sum = sums + i * width;
        const auto first = static_cast<size_t>(groups.starts[i]), last = static_cast<size_t>(groups.starts[i + 1]);
        std::copy_n(values + groups.order[first] * width, width, sum);
        for (size_t t = first + 1; t < last; ++t) {
            const T* __restrict const row = values + groups.order[t] * width;
            for (size_t j = 0; j < width; ++j) sum[j] += row[j];
        }
    });
}

}  // namespace vastmax
