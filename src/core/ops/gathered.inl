// The kernels of one SIMD level. Included by gathered_*.cpp, compiled with that level's flags. Everything is in an
// anonymous namespace and nothing from the standard library is instantiated here, so that the linker cannot hand this
// level's code to another processor.
#include "ops/gathered.hpp"

namespace vastmax {
namespace {

constexpr size_t kAhead = 8;  // number of rows to prefetch ahead

inline float wide(float x) { return x; }
inline double wide(double x) { return x; }
inline float wide(Half x) {
    const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline void put(float& out, float x) { out = x; }
inline void put(double& out, double x) { out = x; }
inline void put(Half& out, float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    // round to nearest, ties to even; NaN stays NaN
    out.bits = static_cast<uint16_t>(x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fc0);
}

template <typename T>
inline void ask_for(const T* row, size_t width) {
    for (size_t at = 0; at < width * sizeof(T); at += 64) __builtin_prefetch(reinterpret_cast<const char*>(row) + at);
}

template <typename T>
inline Wide<T> dot(const T* __restrict a, const T* __restrict b, size_t width) {
    constexpr size_t lanes = 128 / sizeof(Wide<T>);
    Wide<T> sums[lanes] = {}, sum = 0;
    size_t i = 0;
    for (; i + lanes <= width; i += lanes)
        for (size_t lane = 0; lane < lanes; ++lane) sums[lane] += wide(a[i + lane]) * wide(b[i + lane]);
    for (; i < width; ++i) sum += wide(a[i]) * wide(b[i]);
    for (size_t half = lanes / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0] + sum;
}

template <typename T>
void logits(const T* hidden, const T* table, const T* bias, const int64_t* ids, const int64_t* rows, size_t count,
            size_t width, Wide<T>* out) {
    for (size_t t = 0; t < count; ++t) {
        if (t + kAhead < count) ask_for(table + static_cast<size_t>(ids[t + kAhead]) * width, width);
        const Wide<T> product =
            dot(hidden + static_cast<size_t>(rows[t]) * width, table + static_cast<size_t>(ids[t]) * width, width);
        out[t] = bias ? product + wide(bias[ids[t]]) : product;
    }
}

template <typename T>
inline void add(Wide<T>* __restrict sum, const T* __restrict row, Wide<T> factor, size_t width) {
    for (size_t i = 0; i < width; ++i) sum[i] += factor * wide(row[i]);
}

template <typename T>
inline void finish(const Wide<T>* __restrict sum, size_t width, T* __restrict out) {
    for (size_t i = 0; i < width; ++i) put(out[i], sum[i]);
}

template <typename T>
void bag(const T* table, const int64_t* places, const Wide<T>* factors, size_t count, size_t width, Wide<T>* sum,
         T* out) {
    for (size_t i = 0; i < width; ++i) sum[i] = 0;
    for (size_t t = 0; t < count; ++t) {
        if (t + kAhead < count) ask_for(table + static_cast<size_t>(places[t + kAhead]) * width, width);
        add(sum, table + static_cast<size_t>(places[t]) * width, factors[t], width);
    }
    finish(sum, width, out);
}

template <typename T>
void ordered_bag(const T* table, const int64_t* places, const Wide<T>* factors, const uint32_t* order, size_t count,
                 size_t width, Wide<T>* sum, T* out) {
    for (size_t i = 0; i < width; ++i) sum[i] = 0;
    for (size_t t = 0; t < count; ++t)
        add(sum, table + static_cast<size_t>(places[order[t]]) * width, factors[order[t]], width);
    finish(sum, width, out);
}

template <typename T>
constexpr GatheredKernels<T> kernels() {
    return {logits<T>, bag<T>, ordered_bag<T>};
}

constexpr GatheredLevel kLevel = {kernels<float>(), kernels<double>(), kernels<Half>()};

}  // namespace
}  // namespace vastmax
