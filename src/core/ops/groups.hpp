// Grouping of equal ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vastmax {

// The distinct values among ids (count,), all below `limit`, in ascending order, and the places of each, also
// ascending.
struct Groups {
    std::vector<int64_t> values;
    std::vector<int64_t> starts;  // of each value in `order`, and the end
    std::vector<uint32_t> order;  // (count,)

    Groups(const int64_t* ids, size_t count, size_t limit);
};

}  // namespace vastmax
