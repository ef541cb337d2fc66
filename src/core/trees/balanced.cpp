#include "trees/tree.hpp"

namespace vastmax {

Children balanced_children(const int32_t* order, int64_t num_words) {
    const int64_t num_inner = num_words - 1;
    Children children;
    children.left.resize(num_inner);
    children.right.resize(num_inner);
    if (num_inner < 1) return children;
    struct Range {
        int64_t first, last;
    };
    std::vector<Range> ranges(num_inner);  // words below each inner node, in breadth-first order
    ranges[0] = {0, num_words};
    int32_t met = 1;
    const auto place = [&](int64_t first, int64_t last) {
        if (last - first == 1) return ~order[first];
        ranges[met] = {first, last};
        return met++;
    };
    for (int64_t node = 0; node < num_inner; ++node) {
        const Range range = ranges[node];
        const int64_t middle = range.first + (range.last - range.first) / 2;
        children.left[node] = place(range.first, middle);
        children.right[node] = place(middle, range.last);
    }
    return children;
}

}  // namespace vastmax
