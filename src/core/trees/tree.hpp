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

// Children of inner nodes numbered level by level from the root (node 0): 2n is where node n leads with sign -1, 2n+1
// with sign +1. Children in any order will do; std::invalid_argument where they go in circles or share a node.
std::vector<int32_t> numbered_children(const Children& children, int64_t num_leaves);

// What lies above every inner node, and above every leaf: node n where its sign is +1, ~n where it is -1. Nothing lies
// above the root, node 0, nor above the only leaf: 0 stands there.
struct Links {
    std::vector<int32_t> above;    // inner nodes, then leaves
    std::vector<int64_t> lengths;  // of the leaves' paths
};

// The links of numbered children. Throws std::invalid_argument, with what is wrong, where they do not make one full
// binary tree whose inner nodes are numbered level by level.
Links links_from_children(const int32_t* children, int64_t num_leaves);

// The paths of numbered children; throws as links_from_children.
Paths paths_from_children(const int32_t* children, int64_t num_leaves);

// The same the other way round: child 2n is where node n leads with sign -1, child 2n+1 with sign +1; a child >= 0 is
// an inner node, a child < 0 is leaf ~child. Throws std::invalid_argument, with what is wrong, where the paths do not
// make one full binary tree whose inner nodes are numbered level by level from the root.
std::vector<int32_t> children_from_paths(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes,
                                         const int8_t* signs, int64_t num_steps);

}  // namespace vastmax
