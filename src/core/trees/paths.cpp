#include <stdexcept>
#include <string>

#include "trees/tree.hpp"

namespace vastmax {
namespace {

struct Step {
    int32_t parent;  // -1 above the root
    int8_t sign;
};

[[noreturn]] void refuse(const std::string& fault) { throw std::invalid_argument(fault); }

[[noreturn]] void refuse(const char* what, int64_t leaf) {
    refuse(std::string(what) + " at leaf " + std::to_string(leaf));
}

void check_steps(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes, const int8_t* signs,
                 int64_t num_steps) {
    if (offsets[0] != 0 || offsets[num_leaves] != num_steps) refuse("the offsets do not span the nodes");
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        if (offsets[leaf + 1] < offsets[leaf]) refuse("the offsets fall", leaf);
        if (offsets[leaf + 1] == offsets[leaf] && num_leaves > 1) refuse("there is an empty path", leaf);
    }
    for (int64_t i = 0; i < num_steps; ++i) {
        if (nodes[i] < 0 || nodes[i] >= num_leaves - 1) refuse("there is no inner node " + std::to_string(nodes[i]));
        if (signs[i] != 1 && signs[i] != -1) refuse("there is a sign " + std::to_string(signs[i]));
    }
}

// Node by node, the parent's level is known before: a parent has the lower number, or the numbering is refused.
void check_levels(const std::vector<int64_t>& parent_branch) {
    std::vector<int32_t> level(parent_branch.size(), 0);
    for (size_t node = 1; node < level.size(); ++node) {
        const size_t parent = static_cast<size_t>(parent_branch[node] / 2);
        if (parent < node) level[node] = level[parent] + 1;
        if (parent >= node || level[node] < level[node - 1])
            refuse("node " + std::to_string(node) + " is not numbered level by level from the root");
    }
}

// Turns the lengths in offsets[1..] into offsets, and climbs from every leaf to the root.
void write_out(Paths& paths, const std::vector<Step>& above_inner, const std::vector<Step>& above_leaf) {
    const size_t num_leaves = above_leaf.size();
    for (size_t leaf = 0; leaf < num_leaves; ++leaf) paths.offsets[leaf + 1] += paths.offsets[leaf];
    paths.nodes.resize(paths.offsets[num_leaves]);
    paths.signs.resize(paths.offsets[num_leaves]);
    for (size_t leaf = 0; leaf < num_leaves; ++leaf) {
        int64_t at = paths.offsets[leaf + 1];
        for (Step step = above_leaf[leaf]; step.parent >= 0; step = above_inner[step.parent]) {
            --at;
            paths.nodes[at] = step.parent;
            paths.signs[at] = step.sign;
        }
    }
}

}  // namespace

Paths paths_from_children(const Children& children, int64_t num_leaves) {
    const int64_t num_inner = num_leaves - 1;
    std::vector<Step> above_inner(num_inner);
    std::vector<Step> above_leaf(num_leaves, Step{-1, 0});
    std::vector<int32_t> depth(num_inner);
    Paths paths;
    paths.offsets.assign(num_leaves + 1, 0);

    // Breadth first: the queue is the new numbering, so the much-read top of the tree lies together in memory.
    std::vector<int32_t> queue;
    queue.reserve(num_inner);
    if (num_inner > 0) {
        queue.push_back(children.root);
        above_inner[0] = {-1, 0};
        depth[0] = 0;
    }
    for (int64_t node = 0; node < static_cast<int64_t>(queue.size()); ++node) {
        const auto place = [&](int32_t child, int8_t sign) {
            const Step step{static_cast<int32_t>(node), sign};
            if (child >= 0) {
                if (child >= num_inner || static_cast<int64_t>(queue.size()) == num_inner)
                    refuse("the children of inner nodes share a node");
                above_inner[queue.size()] = step;
                depth[queue.size()] = depth[node] + 1;
                queue.push_back(child);
            } else {
                if (~child >= num_leaves) refuse("there is no leaf " + std::to_string(~child));
                above_leaf[~child] = step;
                paths.offsets[~child + 1] = depth[node] + 1;
            }
        };
        const int32_t old = queue[node];
        place(children.left[old], -1);
        place(children.right[old], +1);
    }
    write_out(paths, above_inner, above_leaf);
    return paths;
}

Paths paths_from_numbered_children(const int32_t* children, int64_t num_leaves) {
    const int64_t num_inner = num_leaves - 1;
    std::vector<Step> above_inner(num_inner, Step{-1, 0});
    std::vector<Step> above_leaf(num_leaves, Step{-1, 0});
    std::vector<int32_t> depth(num_inner, 0);
    Paths paths;
    paths.offsets.assign(num_leaves + 1, 0);
    for (int64_t branch = 0; branch < 2 * num_inner; ++branch) {
        const int32_t child = children[branch];
        const Step step{static_cast<int32_t>(branch / 2), static_cast<int8_t>(branch % 2 ? 1 : -1)};
        // a parent has the lower number, so its depth is known, and no walk upwards can go round in a circle
        if (child >= 0 ? child <= step.parent || child >= num_inner : int64_t{~child} >= num_leaves)
            refuse("node " + std::to_string(step.parent) + " cannot lead to " + std::to_string(child));
        Step& above = child >= 0 ? above_inner[child] : above_leaf[~child];
        if (above.parent >= 0) refuse("two branches lead to " + std::to_string(child));
        above = step;
        if (child >= 0)
            depth[child] = depth[step.parent] + 1;
        else
            paths.offsets[~child + 1] = depth[step.parent] + 1;
    }
    write_out(paths, above_inner, above_leaf);
    return paths;
}

// Every path starts at node 0, every (node, sign) leads to one child only, every child but the root has one parent.
// Then no branch is empty, for L leaves need that many branches of L - 1 nodes, and the paths are those of a full
// binary tree: prefix-free, probabilities sum to one.
std::vector<int32_t> children_from_paths(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes,
                                         const int8_t* signs, int64_t num_steps) {
    check_steps(offsets, num_leaves, nodes, signs, num_steps);
    const int64_t num_inner = num_leaves - 1;
    constexpr int32_t none = 0;  // the root is nobody's child
    std::vector<int32_t> child(2 * num_inner, none);
    std::vector<int64_t> parent_branch(num_inner, -1);  // the branch that leads to a node
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        const int64_t end = offsets[leaf + 1];
        if (offsets[leaf] < end && nodes[offsets[leaf]] != 0) refuse("a path does not start at node 0", leaf);
        for (int64_t i = offsets[leaf]; i < end; ++i) {
            const int64_t branch = 2 * int64_t{nodes[i]} + (signs[i] > 0);
            const int32_t below = i + 1 < end ? nodes[i + 1] : ~static_cast<int32_t>(leaf);
            if (below == 0) refuse("a node is reached in two ways", leaf);
            if (child[branch] == below) continue;
            if (child[branch] != none) refuse("the path contradicts another", leaf);
            child[branch] = below;
            if (below < 0) continue;
            if (parent_branch[below] >= 0) refuse("a node is reached in two ways", leaf);
            parent_branch[below] = branch;
        }
    }
    check_levels(parent_branch);
    return child;
}

}  // namespace vastmax
