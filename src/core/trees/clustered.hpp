// Trees that put like words together: recursive splits of word vectors.
#pragma once

#include <functional>

#include "trees/mixture.hpp"
#include "trees/tree.hpp"

namespace vastmax {

enum class SplitRule {
    adaptive,   // to the Gaussian of higher responsibility
    balanced,   // halves by responsibility
    two_means,  // to the nearer of two means
};

struct Clustering {
    SplitRule rule = SplitRule::adaptive;
    double epsilon = -1;  // words whose responsibility lies within epsilon of 1/2 go to both sides; negative: none
    uint64_t seed = 0;
    int iterations = 20;
    size_t threads = 1;
    std::function<void()> between = [] {};  // called again and again by the caller's thread; may throw to stop
};

// Children name leaves, and leaf i belongs to words[i]: with epsilon a word may own several.
struct LeafyTree {
    Children children;
    std::vector<int32_t> words;
};

LeafyTree clustered_tree(const Points& points, const Clustering& clustering);

// What a node of this seed draws its means by; the root has the seed of the clustering.
Random mixture_random(uint64_t seed);

}  // namespace vastmax
