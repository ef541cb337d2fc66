// Binary trees over words, as the children of inner nodes and as ragged paths from the root.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vastmax {

// The children of every inner node. A child >= 0 is an inner node, a child < 0 is leaf ~child: that of word ~child if
// each word has one leaf.
struct Children {
    std::vector<int32_t> left;   // taken with sigmoid(-h.v): sign -1
    std::vector<int32_t> right;  // taken with sigmoid(+h.v): sign +1
    int32_t root = 0;            // ignored if there is no inner node (one word)
};

// Path of leaf i: nodes[offsets[i] .. offsets[i+1]), the root first.
struct Paths {
    std::vector<int64_t> offsets;
    std::vector<int32_t> nodes;
    std::vector<int8_t> signs;
};

// The tree of least mean path length under the counts. Equal counts are joined in a fixed order.
Children huffman_children(const int64_t* counts, int64_t num_words);

// Halves order[0 .. num_words) recursively. The second half takes the odd word, so that the first words have the
// shorter paths.
Children balanced_children(const int32_t* order, int64_t num_words);

// Renumbers inner nodes level by level from the root (node 0): entry 2n of the result is the child of node n with sign
// -1, entry 2n+1 that with sign +1. The nodes given may be in any order. Throws std::invalid_argument if they form a
// cycle or share a node.
std::vector<int32_t> numbered_children(const Children& children, int64_t num_leaves);

// The parent of every inner node and every leaf: n if it is the child of node n with sign +1, ~n if with sign -1. The
// root (node 0), or the only leaf, has no parent; its entry is 0.
struct Links {
    std::vector<int32_t> above;    // inner nodes, then leaves
    std::vector<int64_t> lengths;  // of the leaves' paths
};

// The links of numbered children. Throws std::invalid_argument, saying what is wrong, if they do not form one full
// binary tree whose inner nodes are numbered level by level.
Links links_from_children(const int32_t* children, int64_t num_leaves);

// The paths of numbered children; throws as links_from_children.
Paths paths_from_children(const int32_t* children, int64_t num_leaves);

// The inverse of paths_from_children: entry 2n is the child of node n with sign -1, entry 2n+1 that with sign +1; a
// child >= 0 is an inner node, a child < 0 is leaf ~child. Throws std::invalid_argument, saying what is wrong, if the
// paths do not form one full binary tree whose inner nodes are numbered level by level from the root.
std::vector<int32_t> children_from_paths(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes,
                                         const int8_t* signs, int64_t num_steps);

}  // namespace vastmax
