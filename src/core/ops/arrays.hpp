// Array types of the ops' arguments, and checks of them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "base/numpy.hpp"
#include "base/simd.hpp"
#include "ops/gathered.hpp"

namespace vastmax {

// Element type of arrays from Python: bfloat16 arrives as its bits.
template <typename T>
using Stored = std::conditional_t<std::is_same_v<T, Half>, uint16_t, T>;
template <typename T>
using Table = nanobind::ndarray<T, nanobind::ndim<2>, nanobind::c_contig, nanobind::device::cpu>;
template <typename T>
using Row = nanobind::ndarray<T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

template <typename T>
const T* values(const Stored<T>* stored) {
    return reinterpret_cast<const T*>(stored);
}

inline const GatheredLevel& level_of(const std::optional<std::string>& level) {
    return gathered_level(level ? simd_named(*level, "level") : best_simd());
}

inline void check(bool right, const char* what) {
    if (!right) throw std::invalid_argument(what);
}

inline bool all_below(const ArrayView<int64_t>& ids, size_t limit) {
    return std::all_of(ids.data(), ids.data() + ids.size(),
                       [&](int64_t id) { return id >= 0 && static_cast<size_t>(id) < limit; });
}

}  // namespace vastmax
