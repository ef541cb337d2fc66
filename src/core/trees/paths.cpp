#include <stdexcept>
#include <string>

#include "trees/tree.hpp"

namespace vastmax {
namespace {

[[noreturn]] void refuse(const std::string& fault) { throw std::invalid_argument(fault); }

[[noreturn]] void refuse_path(int64_t leaf, const char* fault) {
    refuse("the path of leaf " + std::to_string(leaf) + " " + fault);
}

void check_steps(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes, const int8_t* signs,
                 int64_t num_steps) {
    if (offsets[0] != 0 || offsets[num_leaves] != num_steps) refuse("the offsets do not span the nodes");
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        if (offsets[leaf + 1] < offsets[leaf]) refuse("the offsets decrease at leaf " + std::to_string(leaf));
        if (offsets[leaf + 1] == offsets[leaf] && num_leaves > 1) refuse_path(leaf, "is empty");
    }
    for (int64_t i = 0; i < num_steps; ++i) {
        if (nodes[i] < 0 || nodes[i] >= num_leaves - 1) refuse("there is no inner node " + std::to_string(nodes[i]));
        if (signs[i] != 1 && signs[i] != -1) refuse("sign " + std::to_string(signs[i]) + " is neither 1 nor -1");
    }
}

// A parent must have a lower number than its children, so its level is known before theirs.
void check_levels(const std::vector<int64_t>& parent_branch) {
    std::vector<int32_t> level(parent_branch.size(), 0);
    for (size_t node = 1; node < level.size(); ++node) {
        const size_t parent = static_cast<size_t>(parent_branch[node] / 2);
        if (parent < node) level[node] = level[parent] + 1;
        if (parent >= node || level[node] < level[node - 1])
            refuse("node " + std::to_string(node) + " is not numbered level by level from the root");
    }
}

}  // namespace

// Breadth-first search whose queue is the new numbering, so that the top of the tree, which is read most, is
// contiguous in memory.
std::vector<int32_t> numbered_children(const Children& children, int64_t num_leaves) {
    const int64_t num_inner = num_leaves - 1;
    std::vector<int32_t> queue;
    queue.reserve(num_inner);
    if (num_inner > 0) queue.push_back(children.root);
    std::vector<int32_t> numbered;
    numbered.reserve(2 * num_inner);
    for (size_t node = 0; node < queue.size(); ++node) {
        for (const int32_t child : {children.left[queue[node]], children.right[queue[node]]}) {
            if (child < 0) {
                if (~child >= num_leaves) refuse("there is no leaf " + std::to_string(~child));
                numbered.push_back(child);
                continue;
            }
            if (child >= num_inner || static_cast<int64_t>(queue.size()) == num_inner)
                refuse("the children of inner nodes share a node");
            numbered.push_back(static_cast<int32_t>(queue.size()));
            queue.push_back(child);
        }
    }
    if (static_cast<int64_t>(queue.size()) < num_inner) refuse("the root does not lead to all inner nodes");
    return numbered;
}

// Each of the L - 1 inner nodes has two branches, and no two branches may lead to the same place. So they lead to all
// L leaves and to all inner nodes but the root.
Links links_from_children(const int32_t* children, int64_t num_leaves) {
    const int64_t num_inner = num_leaves - 1;
    Links links{std::vector<int32_t>(num_inner + num_leaves), std::vector<int64_t>(num_leaves)};
    std::vector<int32_t> level(num_inner, -1);
    std::vector<bool> met(num_inner + num_leaves, false);
    if (num_inner > 0) level[0] = 0;
    int32_t deepest = 0;
    for (int64_t branch = 0; branch < 2 * num_inner; ++branch) {
        const int32_t child = children[branch];
        const int32_t node = static_cast<int32_t>(branch / 2);
        // a parent has the lower number, so its level is known and a walk upwards cannot cycle
        if (child >= 0 ? child <= node || child >= num_inner : int64_t{~child} >= num_leaves)
            refuse("node " + std::to_string(node) + " cannot have the child " + std::to_string(child));
        const int64_t place = child >= 0 ? child : num_inner + ~child;
        if (met[place]) refuse(std::to_string(child) + " is the child of two branches");
        met[place] = true;
        links.above[place] = branch % 2 ? node : ~node;
        if (child >= 0)
            level[child] = level[node] + 1;
        else
            links.lengths[~child] = level[node] + 1;
    }
    for (int64_t node = 0; node < num_inner; ++node) {
        if (level[node] < deepest)
            refuse("node " + std::to_string(node) + " is not numbered level by level from the root");
        deepest = level[node];
    }
    return links;
}

Paths paths_from_children(const int32_t* children, int64_t num_leaves) {
    const int64_t num_inner = num_leaves - 1;
    const Links links = links_from_children(children, num_leaves);
    Paths paths;
    paths.offsets.assign(num_leaves + 1, 0);
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf)
        paths.offsets[leaf + 1] = paths.offsets[leaf] + links.lengths[leaf];
    paths.nodes.resize(paths.offsets[num_leaves]);
    paths.signs.resize(paths.offsets[num_leaves]);
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        int64_t place = num_inner + leaf;
        for (int64_t at = paths.offsets[leaf + 1]; at > paths.offsets[leaf]; place = paths.nodes[at]) {
            const int32_t above = links.above[place];
            --at;
            paths.nodes[at] = above < 0 ? ~above : above;
            paths.signs[at] = above < 0 ? -1 : +1;
        }
    }
    return paths;
}

// Checks that every path starts at node 0, every (node, sign) leads to a single child, and every node but the root has
// a single parent. Then no branch is empty, because L leaves need all branches of L - 1 nodes, and the paths are those
// of a full binary tree: prefix-free, with probabilities that sum to one.
std::vector<int32_t> children_from_paths(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes,
                                         const int8_t* signs, int64_t num_steps) {
    check_steps(offsets, num_leaves, nodes, signs, num_steps);
    const int64_t num_inner = num_leaves - 1;
    constexpr int32_t none = 0;  // the root is no node's child
    std::vector<int32_t> child(2 * num_inner, none);
    std::vector<int64_t> parent_branch(num_inner, -1);  // the branch that leads to a node
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        const int64_t end = offsets[leaf + 1];
        if (offsets[leaf] < end && nodes[offsets[leaf]] != 0) refuse_path(leaf, "does not start at node 0");
        for (int64_t i = offsets[leaf]; i < end; ++i) {
            const int64_t branch = 2 * int64_t{nodes[i]} + (signs[i] > 0);
            const int32_t below = i + 1 < end ? nodes[i + 1] : ~static_cast<int32_t>(leaf);
            if (below == 0) refuse_path(leaf, "reaches a node in a second way");
            if (child[branch] == below) continue;
            if (child[branch] != none) refuse_path(leaf, "contradicts another path");
            child[branch] = below;
            if (below < 0) continue;
            if (parent_branch[below] >= 0) refuse_path(leaf, "reaches a node in a second way");
            parent_branch[below] = branch;
        }
    }
    check_levels(parent_branch);
    return child;
}

}  // namespace vastmax
