#include "trees/tree.hpp"

namespace vastmax::trees {

namespace {

struct Step {
    int32_t parent;  // -1 above the root
    int8_t sign;
};

}  // namespace

Paths paths_from_children(const Children& children, int64_t num_words) {
    const int64_t num_inner = num_words - 1;
    std::vector<Step> above_inner(num_inner);
    std::vector<Step> above_word(num_words, Step{-1, 0});
    std::vector<int32_t> depth(num_inner);
    Paths paths;
    paths.offsets.assign(num_words + 1, 0);

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
                above_inner[queue.size()] = step;
                depth[queue.size()] = depth[node] + 1;
                queue.push_back(child);
            } else {
                above_word[~child] = step;
                paths.offsets[~child + 1] = depth[node] + 1;
            }
        };
        const int32_t old = queue[node];
        place(children.left[old], -1);
        place(children.right[old], +1);
    }
    for (int64_t w = 0; w < num_words; ++w) paths.offsets[w + 1] += paths.offsets[w];

    paths.nodes.resize(paths.offsets[num_words]);
    paths.signs.resize(paths.offsets[num_words]);
    for (int64_t w = 0; w < num_words; ++w) {
        int64_t at = paths.offsets[w + 1];
        for (Step step = above_word[w]; step.parent >= 0; step = above_inner[step.parent]) {
            --at;
            paths.nodes[at] = step.parent;
            paths.signs[at] = step.sign;
        }
    }
    return paths;
}

// Every path starts at node 0, every (node, sign) leads to one child only, every child but the root has one parent,
// and no branch is empty. Then the paths are those of a full binary tree: prefix-free, probabilities sum to one.
std::string tree_fault(const int64_t* offsets, int64_t num_leaves, const int32_t* nodes, const int8_t* signs,
                       int64_t num_steps) {
    const int64_t num_inner = num_leaves - 1;
    const auto at_leaf = [](const char* what, int64_t leaf) {
        return std::string(what) + " at leaf " + std::to_string(leaf);
    };
    if (offsets[0] != 0 || offsets[num_leaves] != num_steps) return "the offsets do not span the nodes";
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        if (offsets[leaf + 1] < offsets[leaf]) return at_leaf("the offsets fall", leaf);
        if (offsets[leaf + 1] == offsets[leaf] && num_leaves > 1) return at_leaf("there is an empty path", leaf);
    }
    for (int64_t i = 0; i < num_steps; ++i) {
        if (nodes[i] < 0 || nodes[i] >= num_inner) return "there is no inner node " + std::to_string(nodes[i]);
        if (signs[i] != 1 && signs[i] != -1) return "there is a sign " + std::to_string(signs[i]);
    }
    constexpr int64_t none = -1;
    std::vector<int64_t> child(2 * num_inner, none);  // by branch: an inner node, or num_inner + leaf
    std::vector<int64_t> parent(num_inner, none);     // the branch that leads to a node
    for (int64_t leaf = 0; leaf < num_leaves; ++leaf) {
        const int64_t end = offsets[leaf + 1];
        if (offsets[leaf] < end && nodes[offsets[leaf]] != 0) return at_leaf("a path does not start at node 0", leaf);
        for (int64_t i = offsets[leaf]; i < end; ++i) {
            const int64_t branch = 2 * int64_t{nodes[i]} + (signs[i] > 0);
            const int64_t below = i + 1 < end ? int64_t{nodes[i + 1]} : num_inner + leaf;
            if (child[branch] != none && child[branch] != below) return at_leaf("the path contradicts another", leaf);
            child[branch] = below;
            if (below >= num_inner) continue;
            if (below == 0 || (parent[below] != none && parent[below] != branch))
                return at_leaf("a node is reached in two ways", leaf);
            parent[below] = branch;
        }
    }
    for (int64_t branch = 0; branch < 2 * num_inner; ++branch)
        if (child[branch] == none) return "a branch of node " + std::to_string(branch / 2) + " leads nowhere";
    return "";
}

}  // namespace vastmax::trees
