#include "ops/groups.hpp"

#include <utility>

namespace vastmax {
namespace {

// Counting sort needs a counter for every possible id; with more than this many counters per id given, a radix sort is
// cheaper.
constexpr size_t kCounters = 16;

// Counting sort.
void count_sort(const int64_t* ids, size_t count, size_t limit, std::vector<uint32_t>& order) {
    std::vector<uint32_t> next(limit + 1);
    for (size_t i = 0; i < count; ++i) ++next[static_cast<size_t>(ids[i]) + 1];
    for (size_t value = 0; value < limit; ++value) next[value + 1] += next[value];
    for (size_t i = 0; i < count; ++i) order[next[static_cast<size_t>(ids[i])]++] = static_cast<uint32_t>(i);
}

// Radix sort, least significant digit first.
void digit_sort(const int64_t* ids, size_t count, size_t limit, std::vector<uint32_t>& order) {
    constexpr size_t bits = 11, values = size_t{1} << bits;
    std::vector<uint32_t> other(count);
    for (size_t i = 0; i < count; ++i) order[i] = static_cast<uint32_t>(i);
    for (size_t shift = 0; shift < 64 && (limit - 1) >> shift; shift += bits) {
        const auto digit = [&](uint32_t place) { return static_cast<size_t>(ids[place]) >> shift & (values - 1); };
        size_t next[values + 1] = {};
        for (const uint32_t place : order) ++next[digit(place) + 1];
        for (size_t value = 0; value < values; ++value) next[value + 1] += next[value];
        for (const uint32_t place : order) other[next[digit(place)]++] = place;
        order.swap(other);
    }
}

}  // namespace

Groups::Groups(const int64_t* ids, size_t count, size_t limit) : order(count) {
    (limit / kCounters <= count ? count_sort : digit_sort)(ids, count, limit, order);
    for (size_t i = 0; i < count; ++i)
        if (i == 0 || ids[order[i]] != ids[order[i - 1]]) {
            values.push_back(ids[order[i]]);
            starts.push_back(static_cast<int64_t>(i));
        }
    starts.push_back(static_cast<int64_t>(count));
}

}  // namespace vastmax
