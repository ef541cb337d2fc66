// Logits of table rows that each row of a batch selects for itself, and their gradients. vastmax.ops.ragged_logits has
// the formulas. Half-precision numbers are widened on loading, and sums are kept in float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/simd.hpp"

namespace vastmax {

struct Half {
    uint16_t bits;  // of a bfloat16
};

template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, Half>, float, T>;

// Loops over pairs of rows, compiled once per SIMD level (gathered_*.cpp).
template <typename T>
struct GatheredKernels {
    // out[t] = hidden[rows[t]] . table[ids[t]] + bias[ids[t]], for `count` pairs; bias may be null.
    void (*logits)(const T* hidden, const T* table, const T* bias, const int64_t* ids, const int64_t* rows,
                   size_t count, size_t width, Wide<T>* out);
    // out = sum over t of factors[t] * table[places[t]]; `sum` is scratch space for a row.
    void (*bag)(const T* table, const int64_t* places, const Wide<T>* factors, size_t count, size_t width, Wide<T>* sum,
                T* out);
    // As bag, with factors[order[t]] * table[places[order[t]]].
    void (*ordered_bag)(const T* table, const int64_t* places, const Wide<T>* factors, const uint32_t* order,
                        size_t count, size_t width, Wide<T>* sum, T* out);
};

struct GatheredLevel {
    GatheredKernels<float> of_float;
    GatheredKernels<double> of_double;
    GatheredKernels<Half> of_half;
    template <typename T>
    const GatheredKernels<T>& of() const;
};
template <>
inline const GatheredKernels<float>& GatheredLevel::of() const {
    return of_float;
}
template <>
inline const GatheredKernels<double>& GatheredLevel::of() const {
    return of_double;
}
template <>
inline const GatheredKernels<Half>& GatheredLevel::of() const {
    return of_half;
}

const GatheredLevel& gathered_level(Simd level);

}  // namespace vastmax
