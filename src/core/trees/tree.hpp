// Binary trees over words: first as children of inner nodes, then as ragged paths from the root.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vastmax {

// The children of every inner node. A child >= 0 is an inner node, a child < 0 is leaf ~child: that of word ~child,
// where words have one leaf each.
struct Children {
    std::vector<int32_t> left;   // taken with sigmoid(-h.v): sign -1
    std::vector<int32_t> right;  // taken with sigmoid(+h.v): sign +1
    int32_t root = 0;            // ignored where there is no inner node (one word)
};

// Path of leaf i: nodes[offsets[i] .. offsets[i+1]), the root first.
struct Paths {
    std::vector<int64_t> offsets;
    std::vector<int32_t> nodes;
    std::vector<int8_t> signs;
};

// The tree of least mean path length under counts; equal counts are joined in a fixed order.
Children huffman_children(const int64_t* counts, int64_t num_words);

// Halves of order[0 .. num_words), again and again; the second half takes the odd word, so that the first words have
// the shorter paths.
Children balanced_children(const int32_t* order, int64_t num_words);

// Renumbers inner nodes level by level from the root (node 0) and writes out the path of every leaf. Children in any
// order will do; std::invalid_argument where they go in circles or share a node.
Paths paths_from_children(const Children& children, int64_t num_leaves);

// The paths of children that are numbered already: child 2n is where node n leads with sign -1, child 2n+1 with sign
// +1. Throws std::invalid_argument where a parent has not the lower number, or two branches lead to one place.
Paths paths_from_numbered_children(const int32_t* children, int64_t num_leaves);

// The same the other way round: child 2n is where node n leads with sign -1, child 2n+1 with sign +1; a child >= 0 is
// an inner node, a child < 0 is leaf ~child. Throws std::invalid_argument, with what is wrong, where the paths do not
// make one full binary tree whose inner nodes are numbered level by level from the root.
std::vector<int32_t> children_from_paths(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes,
                                         const int8_t* signs, int64_t num_steps);

}  // namespace vastmax
