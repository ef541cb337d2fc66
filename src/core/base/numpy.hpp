// Conversion between NumPy arrays and C++ vectors.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

namespace vastmax {

// A one-dimensional array from Python, borrowed for the duration of a call.
template <typename T>
using ArrayView = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

// An array returned to Python: read-only, owns its values.
template <typename T>
using Array = nanobind::ndarray<nanobind::numpy, const T, nanobind::ndim<1>>;

template <typename T>
Array<T> to_numpy(std::vector<T> values) {
    auto* held = new std::vector<T>(std::move(values));
    nanobind::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return Array<T>(held->data(), {held->size()}, owner);
}

// As above, converting the values from From to T.
template <typename T, typename From>
Array<T> to_numpy(const std::vector<From>& values) {
    return to_numpy(std::vector<T>(values.begin(), values.end()));
}

}  // namespace vastmax
