// Equal ids brought together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vastmax {

// The different values among ids (count,), all below `limit`, rising, and where each stands, in rising order.
struct Groups {
    std::vector<int64_t> values;
    std::vector<int64_t> starts;  // in `order`, of each value; and the end
    std::vector<uint32_t> order;  // (count,)

    Groups(const int64_t* ids, size_t count, size_t limit);
};

}  // namespace vastmax
