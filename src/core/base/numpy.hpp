// Arrays in, arrays out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

namespace vastmax {

// What Python hands over: one row of numbers, borrowed for the length of a call.
template <typename T>
using ArrayView = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

// What it gets: a read-only array that owns the values.
template <typename T>
using Array = nanobind::ndarray<nanobind::numpy, const T, nanobind::ndim<1>>;

template <typename T>
Array<T> to_numpy(std::vector<T> values) {
    auto* held = new std::vector<T>(std::move(values));
    nanobind::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return Array<T>(held->data(), {held->size()}, owner);
}

// The same, converted.
template <typename T, typename From>
Array<T> to_numpy(const std::vector<From>& values) {
    return to_numpy(std::vector<T>(values.begin(), values.end()));
}

}  // namespace vastmax
