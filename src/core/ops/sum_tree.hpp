// A binary tree of sums: node i has the children 2i and 2i + 1 and holds their sum; the leaves are nodes `leaves` to 2
// leaves - 1. vastmax.ops.sum_tree says what the functions compute, bit for bit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vastmax {

constexpr size_t kSideBySide = 16;  // draws that descend together, so that their cache misses overlap

// A range of leaves as the nodes that cover it, without those of zero mass.
struct RangeParts {
    size_t count = 0;
    size_t nodes[128];  // two per level
    double upto[128];   // cumulative mass up to and including each node

    RangeParts() = default;
    RangeParts(const double* sums, size_t leaves, size_t start, size_t stop) {
        size_t low = start + leaves, high = stop + leaves;
        for (; low < high; low = (low + 1) >> 1, high >>= 1) {
            if (low & 1) add(sums, low);
            if (high & 1) add(sums, high - 1);
        }
    }
    static RangeParts all(const double* sums) {
        RangeParts parts;
        parts.add(sums, 1);
        return parts;
    }
    double mass() const { return count ? upto[count - 1] : 0; }

    // The node that contains the cumulative mass `left_over`, which is reduced to the mass within that node.
    size_t find(double& left_over) const {
        size_t place = 0;
        for (size_t i = 0; i + 1 < count; ++i) place += upto[i] <= left_over;
        if (place) left_over -= upto[place - 1];
        return nodes[place];
    }

private:
    void add(const double* sums, size_t node) {
        if (sums[node] > 0) {
            upto[count] = mass() + sums[node];
            nodes[count++] = node;
        }
    }
};

// Moves each node down to the leaf below it that contains its `left_over` mass.
inline void descend(const double* sums, size_t leaves, size_t* nodes, double* left_over, size_t draws) {
    for (size_t first = 0; first < draws; first += kSideBySide) {
        const size_t some = std::min(kSideBySide, draws - first);
        size_t* const node = nodes + first;
        double* const rest = left_over + first;
        for (bool inner = true; inner;) {
            inner = false;
            for (size_t i = 0; i < some; ++i) {
                if (node[i] >= leaves) continue;
                const size_t left = 2 * node[i];
                // if rounding leaves more than there is, do not descend to a right child without mass
                const size_t right =
                    static_cast<size_t>(rest[i] >= sums[left]) & static_cast<size_t>(sums[left + 1] > 0);
                rest[i] -= sums[left] * static_cast<double>(right);
                node[i] = left + right;
                inner = true;
            }
        }
    }
}

// Draws leaves, numbered from 0, by uniform numbers in [0, 1); -1 if there is no mass.
inline void draw_leaves(const double* sums, size_t leaves, const RangeParts& parts, const double* chances, size_t count,
                        int64_t* found) {
    if (parts.count == 0) {
        std::fill_n(found, count, -1);
        return;
    }
    std::vector<double> left_over(chances, chances + count);
    std::vector<size_t> nodes(count);
    for (size_t i = 0; i < count; ++i) {
        left_over[i] *= parts.mass();
        nodes[i] = parts.find(left_over[i]);
    }
    descend(sums, leaves, nodes.data(), left_over.data(), count);
    for (size_t i = 0; i < count; ++i) found[i] = static_cast<int64_t>(nodes[i] - leaves);
}

// Recomputes all inner nodes from the leaves.
inline void add_up(double* sums, size_t leaves) {
    for (size_t high = leaves; high > 1;) {
        const size_t low = (high + 1) / 2;
        for (size_t i = low; i < high; ++i) sums[i] = sums[2 * i] + sums[2 * i + 1];
        high = low;
    }
}

// Recomputes the nodes above these changed leaves, given as ascending nodes; overwrites `changed`.
inline void add_up(double* sums, size_t leaves, std::vector<size_t>& changed) {
    size_t levels = 0;
    for (size_t rest = leaves; rest; rest >>= 1) ++levels;
    if (changed.size() * levels >= leaves) return add_up(sums, leaves);
    for (size_t level = 0; level < levels; ++level) {  // leaves are on two levels: nodes summed too early come again
        size_t kept = 0;
        for (const size_t node : changed) {
            const size_t parent = std::max<size_t>(1, node >> 1);
            if (kept == 0 || changed[kept - 1] != parent) changed[kept++] = parent;
        }
        changed.resize(kept);
        for (const size_t node : changed) sums[node] = sums[2 * node] + sums[2 * node + 1];
    }
}

}  // namespace vastmax
