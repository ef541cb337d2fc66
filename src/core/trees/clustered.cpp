#include "trees/clustered.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "base/parallel.hpp"

namespace vastmax {
namespace {

// Larger nodes are fitted one at a time by all threads, smaller ones by one thread each.
constexpr size_t kAlone = 8192;
constexpr uint8_t kDoublings = 3;  // times that a word may go to both sides on one path: at most 2^3 leaves per word

// A node still to be split. Members are distinct and in ascending order.
struct Node {
    std::vector<int32_t> members;
    std::vector<uint8_t> doubled;  // how often each has gone to both sides; empty without epsilon
    int depth;
    uint64_t seed;  // from the node's place in the tree, so that the order of work has no effect
    int64_t parent;
    int side;
};

class Splitter {
public:
    Splitter(const Points& points, const Clustering& clustering)
        : points_(points),
          clustering_(clustering),
          deepest_(4 * static_cast<int>(std::ceil(std::log2(static_cast<double>(points.size()) + 1)))) {}

    std::pair<Node, Node> split(const Node& node, size_t threads) const {
        std::vector<uint8_t> sides = choose_sides(node, threads);
        std::pair<Node, Node> children;
        take(node, sides, 0, children.first);
        take(node, sides, 1, children.second);
        return children;
    }

private:
    static constexpr uint8_t kLeft = 1, kRight = 2, kBoth = 3;

    std::vector<uint8_t> choose_sides(const Node& node, size_t threads) const {
        const size_t n = node.members.size();
        if (n == 2) return {kLeft, kRight};
        Mixture mixture(points_, node.members, clustering_.rule == SplitRule::two_means, threads);
        if (mixture.flat()) return halves(std::vector<double>(n, 0.0));
        Random random = mixture_random(node.seed);
        mixture.fit(random, clustering_.iterations);
        const std::vector<double> ratios = mixture.log_ratios();
        // Limits chains of outliers that are split off one at a time: nodes at or below the deepest level are halved.
        if (clustering_.rule == SplitRule::balanced || node.depth >= deepest_) return halves(ratios);
        std::vector<uint8_t> sides(n);
        for (size_t i = 0; i < n; ++i) sides[i] = ratios[i] > 0 ? kLeft : kRight;
        if (std::count(sides.begin(), sides.end(), sides[0]) == static_cast<int64_t>(n)) return halves(ratios);
        if (clustering_.epsilon < 0) return sides;
        return doubled(node, ratios, sides);
    }

    // Sends doubtful words to both sides, unless one side would then be as large as the node itself.
    std::vector<uint8_t> doubled(const Node& node, const std::vector<double>& ratios,
                                 const std::vector<uint8_t>& sides) const {
        std::vector<uint8_t> wider = sides;
        size_t left = 0, right = 0;
        for (size_t i = 0; i < sides.size(); ++i) {
            const double responsibility = 1 / (1 + std::exp(-ratios[i]));
            const bool doubtful = std::abs(responsibility - 0.5) <= clustering_.epsilon;
            if (doubtful && node.doubled[i] < kDoublings) wider[i] = kBoth;
            left += (wider[i] & kLeft) != 0;
            right += (wider[i] & kRight) != 0;
        }
        return std::max(left, right) < sides.size() ? wider : sides;
    }

    static std::vector<uint8_t> halves(const std::vector<double>& ratios) {
        const size_t n = ratios.size();
        std::vector<size_t> order(n);
        std::iota(order.begin(), order.end(), size_t{0});
        // An odd word goes to the first part. Its mean starts at a uniformly drawn word, so it tends to be the denser
        // part, with the rarer words.
        const auto middle = order.begin() + (n + 1) / 2;
        std::nth_element(order.begin(), middle, order.end(),
                         [&](size_t a, size_t b) { return ratios[a] != ratios[b] ? ratios[a] > ratios[b] : a < b; });
        std::vector<uint8_t> sides(n, kRight);
        for (auto it = order.begin(); it != middle; ++it) sides[*it] = kLeft;
        return sides;
    }

    static void take(const Node& node, const std::vector<uint8_t>& sides, int side, Node& child) {
        for (size_t i = 0; i < sides.size(); ++i) {
            if (!(sides[i] & (side ? kRight : kLeft))) continue;
            child.members.push_back(node.members[i]);
            if (!node.doubled.empty()) child.doubled.push_back(node.doubled[i] + (sides[i] == kBoth));
        }
        child.depth = node.depth + 1;
        child.seed = Random(node.seed, 1, side).next();
        child.side = side;
    }

    const Points& points_;
    const Clustering& clustering_;
    const int deepest_;
};

// Builds a tree, numbering inner nodes and leaves in the order in which they are reached.
class Builder {
public:
    explicit Builder(const Splitter& splitter) : splitter_(splitter) {}

    // Splits the nodes of `pending` and their descendants. If `small` is given, nodes of at most `smallest` words are
    // appended to it unsplit. Calls `between` before each node.
    void grow(std::vector<Node> pending, size_t threads, size_t smallest, std::vector<Node>* small,
              const std::function<void()>& between) {
        while (!pending.empty()) {
            between();
            const Node node = std::move(pending.back());
            pending.pop_back();
            if (node.members.size() == 1) {
                hang(node, ~static_cast<int32_t>(tree.words.size()));
                tree.words.push_back(node.members[0]);
                continue;
            }
            if (small && node.members.size() <= smallest) {
                small->push_back(node);
                continue;
            }
            auto [left, right] = splitter_.split(node, threads);
            left.parent = right.parent = static_cast<int64_t>(tree.children.left.size());
            hang(node, static_cast<int32_t>(left.parent));
            tree.children.left.push_back(0);
            tree.children.right.push_back(0);
            pending.push_back(std::move(right));
            pending.push_back(std::move(left));
        }
    }

    // Attaches a subtree grown elsewhere in the place of `node`.
    void graft(const Node& node, const LeafyTree& below) {
        const int32_t nodes = static_cast<int32_t>(tree.children.left.size());
        const int32_t leaves = static_cast<int32_t>(tree.words.size());
        const auto shifted = [&](int32_t child) { return child >= 0 ? child + nodes : child - leaves; };
        hang(node, nodes);
        for (int32_t child : below.children.left) tree.children.left.push_back(shifted(child));
        for (int32_t child : below.children.right) tree.children.right.push_back(shifted(child));
        tree.words.insert(tree.words.end(), below.words.begin(), below.words.end());
    }

    LeafyTree tree;

private:
    void hang(const Node& node, int32_t child) {
        if (node.parent >= 0) (node.side ? tree.children.right : tree.children.left)[node.parent] = child;
    }

    const Splitter& splitter_;
};

}  // namespace

Random mixture_random(uint64_t seed) { return Random(seed, 0, 0); }

LeafyTree clustered_tree(const Points& points, const Clustering& clustering) {
    const Splitter splitter(points, clustering);
    Node root{std::vector<int32_t>(points.size()), {}, 0, clustering.seed, -1, 0};
    std::iota(root.members.begin(), root.members.end(), 0);
    if (clustering.epsilon >= 0) root.doubled.assign(points.size(), 0);
    std::vector<Node> small;
    Builder top(splitter);
    top.grow({std::move(root)}, clustering.threads, kAlone, &small, clustering.between);
    std::vector<LeafyTree> below(small.size());
    const std::function<void()> nothing = [] {};  // only worker 0, the calling thread, may check for signals
    parallel_for(small.size(), clustering.threads, [&](size_t worker, size_t i) {
        Node node = small[i];
        node.parent = -1;
        Builder builder(splitter);
        builder.grow({std::move(node)}, 1, 0, nullptr, worker == 0 ? clustering.between : nothing);
        below[i] = std::move(builder.tree);
    });
    for (size_t i = 0; i < small.size(); ++i) top.graft(small[i], below[i]);
    return std::move(top.tree);
}

}  // namespace vastmax
