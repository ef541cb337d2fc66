#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <utility>

#include "base/numpy.hpp"
#include "trees/clustered.hpp"
#include "trees/tree.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

using Vectors = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Means = nb::ndarray<const double, nb::shape<2, -1>, nb::c_contig, nb::device::cpu>;

template <typename Build>
Array<int32_t> build_children(size_t num_leaves, Build build) {
    if (num_leaves < 1 || num_leaves > INT32_MAX) throw std::invalid_argument("a tree needs 1 to 2**31 - 1 leaves");
    std::vector<int32_t> children;
    {
        nb::gil_scoped_release release;
        children = numbered_children(build(), static_cast<int64_t>(num_leaves));
    }
    return to_numpy(std::move(children));
}

Array<int32_t> huffman_tree_children(const ArrayView<int64_t>& counts) {
    return build_children(counts.size(), [&] { return huffman_children(counts.data(), counts.size()); });
}

Array<int32_t> balanced_tree_children(const ArrayView<int32_t>& order) {
    for (size_t i = 0; i < order.size(); ++i)
        if (order.data()[i] < 0 || static_cast<size_t>(order.data()[i]) >= order.size())
            throw std::invalid_argument("order must be a permutation of the words");
    return build_children(order.size(), [&] { return balanced_children(order.data(), order.size()); });
}

Array<int32_t> renumbered_children(const ArrayView<int32_t>& children, int32_t root) {
    const size_t num_inner = children.size() / 2;
    if (children.size() % 2 || root < 0 || (num_inner > 0 && static_cast<size_t>(root) >= num_inner))
        throw std::invalid_argument("there is no such root, or a child is missing");
    return build_children(num_inner + 1, [&] {
        Children pairs;
        for (size_t node = 0; node < num_inner; ++node) {
            pairs.left.push_back(children.data()[2 * node]);
            pairs.right.push_back(children.data()[2 * node + 1]);
        }
        pairs.root = root;
        return pairs;
    });
}

int64_t leaves_of(const ArrayView<int32_t>& children) {
    if (children.size() % 2) throw std::invalid_argument("every inner node needs two children");
    return children.size() / 2 + 1;
}

nb::tuple children_links(const ArrayView<int32_t>& children) {
    Links links;
    {
        nb::gil_scoped_release release;
        links = links_from_children(children.data(), leaves_of(children));
    }
    return nb::make_tuple(to_numpy(std::move(links.above)), to_numpy(std::move(links.lengths)));
}

nb::tuple children_paths(const ArrayView<int32_t>& children) {
    Paths paths;
    {
        nb::gil_scoped_release release;
        paths = paths_from_children(children.data(), leaves_of(children));
    }
    return nb::make_tuple(to_numpy(std::move(paths.offsets)), to_numpy(std::move(paths.nodes)),
                          to_numpy(std::move(paths.signs)));
}

SplitRule rule_named(const std::string& name) {
    if (name == "adaptive") return SplitRule::adaptive;
    if (name == "balanced") return SplitRule::balanced;
    if (name == "2-means") return SplitRule::two_means;
    throw std::invalid_argument("there is no rule " + name);
}

// Lets Ctrl-C interrupt a long build: throws the exception raised by Python's signal handler. Checks at most ten times
// a second, because acquiring the GIL may mean waiting for other threads.
class SignalCheck {
public:
    void operator()() {
        const auto now = std::chrono::steady_clock::now();
        if (now - looked_ < std::chrono::milliseconds(100)) return;
        looked_ = now;
        nb::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals()) throw nb::python_error();
    }

private:
    std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
};

nb::tuple clustered_children(const Vectors& vectors, const std::string& rule, double epsilon, uint64_t seed,
                             int iterations, size_t threads) {
    if (vectors.shape(0) < 1 || vectors.shape(0) > INT32_MAX / 32) throw std::invalid_argument("too few or many rows");
    const Clustering clustering{rule_named(rule), epsilon, seed, iterations, threads, SignalCheck()};
    LeafyTree tree;
    std::vector<int32_t> children;
    {
        nb::gil_scoped_release release;
        tree = clustered_tree(Points(vectors.data(), vectors.shape(0), vectors.shape(1), threads), clustering);
        for (size_t node = 0; node < tree.children.left.size(); ++node) {
            children.push_back(tree.children.left[node]);
            children.push_back(tree.children.right[node]);
        }
    }
    return nb::make_tuple(to_numpy(std::move(children)), to_numpy(std::move(tree.words)));
}

// A mixture of all rows, for tests: runs one step or a whole fit and returns the result.
class Fit {
public:
    Fit(const Vectors& vectors, bool hard, size_t threads)
        : points_(vectors.data(), vectors.shape(0), vectors.shape(1), threads), members_(vectors.shape(0)) {
        if (members_.empty()) throw std::invalid_argument("there is no row");
        for (size_t i = 0; i < members_.size(); ++i) members_[i] = static_cast<int32_t>(i);
        mixture_ = std::make_unique<Mixture>(points_, members_, hard, threads);
    }

    // Fits the mixture as at the root of a tree with this seed.
    nb::tuple run(uint64_t seed, int iterations) {
        Random random = mixture_random(seed);
        mixture_->fit(random, iterations);
        return result();
    }

    nb::tuple step(const Means& means, std::pair<double, double> variances, std::pair<double, double> mixing) {
        if (static_cast<int64_t>(means.shape(1)) != points_.dim())
            throw std::invalid_argument("means and vectors differ in length");
        for (int part = 0; part < 2; ++part) {
            Gaussian& gaussian = mixture_->parts[part];
            gaussian = {std::vector<double>(points_.stride()), part ? variances.second : variances.first,
                        part ? mixing.second : mixing.first};
            for (int64_t k = 0; k < points_.dim(); ++k)
                gaussian.mean[k] = means.data()[part * points_.dim() + k] - origin(k);
        }
        mixture_->step();
        return result();
    }

private:
    double origin(int64_t k) const { return points_.mean()[k] + static_cast<double>(mixture_->centre()[k]); }

    nb::tuple result() {
        std::vector<double> means, variances, mixing;
        for (const Gaussian& part : mixture_->parts) {
            for (int64_t k = 0; k < points_.dim(); ++k) means.push_back(part.mean[k] + origin(k));
            variances.push_back(part.variance);
            mixing.push_back(part.mixing);
        }
        std::vector<float> responsibilities = mixture_->responsibilities();
        return nb::make_tuple(to_numpy(std::move(responsibilities)), to_numpy(std::move(means)),
                              to_numpy(std::move(variances)), to_numpy(std::move(mixing)));
    }

    Points points_;
    std::vector<int32_t> members_;
    std::unique_ptr<Mixture> mixture_;
};

Array<int32_t> tree_children(const ArrayView<int64_t>& offsets, const ArrayView<int32_t>& nodes,
                             const ArrayView<int8_t>& signs) {
    if (offsets.size() < 2) throw std::invalid_argument("there is no leaf");
    if (nodes.size() != signs.size()) throw std::invalid_argument("nodes and signs differ in length");
    std::vector<int32_t> children;
    {
        nb::gil_scoped_release release;
        children = children_from_paths(offsets.data(), offsets.size() - 1, nodes.data(), signs.data(), nodes.size());
    }
    return to_numpy(std::move(children));
}

}  // namespace

void bind_trees(nb::module_& m) {
    m.def("huffman_children", &huffman_tree_children, nb::arg("counts"),
          "Return the Huffman tree of non-negative counts as children (2 (V-1),) int32, as tree_children; leaf w is "
          "word w.");
    m.def("balanced_children", &balanced_tree_children, nb::arg("order"),
          "Return the tree that halves the words in this order, as children like huffman_children.");
    m.def("numbered_children", &renumbered_children, nb::arg("children"), nb::arg("root"),
          "Renumber children (2 (L-1),) int32, each an inner node or ~leaf, of inner nodes in any order, level by "
          "level.");
    m.def("children_links", &children_links, nb::arg("children"),
          "Return the parents of inner nodes, then of leaves, (2L-1,) int32: node n if the sign is +1, ~n if it is -1; "
          "and the lengths of paths (L,) int64. ValueError unless children form one full binary tree whose nodes are "
          "numbered level by level from root 0.");
    m.def("children_paths", &children_paths, nb::arg("children"),
          "Return the paths of children, the inverse of tree_children: offsets (L+1,) int64, nodes int32, signs int8; "
          "ValueError as in children_links.");
    m.def("clustered_children", &clustered_children, nb::arg("vectors"), nb::arg("rule"), nb::arg("epsilon"),
          nb::arg("seed"), nb::arg("iterations"), nb::arg("threads"),
          "Split vectors (V, d) recursively; return children (2 (L-1),) int32 with root 0, and the word of each leaf.");
    nb::class_<Fit>(m, "MixtureFit", "A mixture of two spherical Gaussians (or two means) of all rows of a matrix.")
        .def(nb::init<const Vectors&, bool, size_t>(), nb::arg("vectors"), nb::arg("hard") = false,
             nb::arg("threads") = 1)
        .def("run", &Fit::run, nb::arg("seed"), nb::arg("iterations"),
             "Fit as at the root of a tree with this seed; return the same as step.")
        .def(
            "step", &Fit::step, nb::arg("means"), nb::arg("variances"), nb::arg("mixing"),
            "Make one step from these parameters; return the first part's responsibilities (n,), the means (2 d,), the "
            "variances (2,) and the mixing shares (2,).");
    m.def("tree_children", &tree_children, nb::arg("offsets"), nb::arg("nodes"), nb::arg("signs"),
          "Return the children (2 (L-1),) int32 of the inner nodes, by node and sign: an inner node, or ~leaf. "
          "ValueError "
          "unless the paths form one full binary tree whose nodes are numbered level by level from root 0.");
}

}  // namespace vastmax
