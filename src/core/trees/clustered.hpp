// Trees that group similar words: recursive splits of word vectors.
#pragma once

#include <functional>

#include "trees/mixture.hpp"
#include "trees/tree.hpp"

namespace vastmax {

enum class SplitRule {
    adaptive,   // each word to the Gaussian of higher responsibility
    balanced,   // two halves, by responsibility
    two_means,  // each word to the nearer of two means
};

struct Clustering {
    SplitRule rule = SplitRule::adaptive;
    double epsilon = -1;  // words with a responsibility within epsilon of 1/2 go to both sides; negative: none
    uint64_t seed = 0;
    int iterations = 20;
    size_t threads = 1;
    std::function<void()> between = [] {};  // called repeatedly in the calling thread; may throw to stop
};

// A tree whose leaf i belongs to words[i]; with epsilon >= 0 a word may have several leaves.
struct LeafyTree {
    Children children;
    std::vector<int32_t> words;
};

LeafyTree clustered_tree(const Points& points, const Clustering& clustering);

// The generator from which a node with this seed draws its initial means. The root has the clustering's seed.
Random mixture_random(uint64_t seed);

}  // namespace vastmax
