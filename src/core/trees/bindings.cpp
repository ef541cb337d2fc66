#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <utility>

#include "trees/tree.hpp"

namespace nb = nanobind;

namespace vastmax {

namespace {

using namespace trees;

template <typename T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T>
nb::object to_numpy(std::vector<T>&& values) {
    auto* held = new std::vector<T>(std::move(values));
    nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, const T, nb::ndim<1>>(held->data(), {held->size()}, owner));
}

nb::tuple to_tuple(Paths&& paths) {
    return nb::make_tuple(to_numpy(std::move(paths.offsets)), to_numpy(std::move(paths.nodes)),
                          to_numpy(std::move(paths.signs)));
}

template <typename Build>
nb::tuple build_paths(size_t num_words, Build build) {
    if (num_words < 1 || num_words > INT32_MAX) throw std::invalid_argument("a tree needs 1 to 2**31 - 1 words");
    Paths paths;
    {
        nb::gil_scoped_release release;
        paths = paths_from_children(build(), static_cast<int64_t>(num_words));
    }
    return to_tuple(std::move(paths));
}

nb::tuple huffman_paths(const In<int64_t>& counts) {
    return build_paths(counts.size(), [&] { return huffman_children(counts.data(), counts.size()); });
}

nb::tuple balanced_paths(const In<int32_t>& order) {
    for (size_t i = 0; i < order.size(); ++i)
        if (order.data()[i] < 0 || static_cast<size_t>(order.data()[i]) >= order.size())
            throw std::invalid_argument("order must be a permutation of the words");
    return build_paths(order.size(), [&] { return balanced_children(order.data(), order.size()); });
}

nb::tuple children_paths(const In<int32_t>& children) {
    if (children.size() % 2) throw std::invalid_argument("every inner node needs two children");
    Paths paths;
    {
        nb::gil_scoped_release release;
        paths = paths_from_numbered_children(children.data(), children.size() / 2 + 1);
    }
    return to_tuple(std::move(paths));
}

nb::object tree_children(const In<int64_t>& offsets, const In<int32_t>& nodes, const In<int8_t>& signs) {
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
    m.def("huffman_paths", &huffman_paths, nb::arg("counts"),
          "Huffman tree of non-negative counts: offsets (V+1,) int64, nodes int32, signs int8; path of word w at w.");
    m.def("balanced_paths", &balanced_paths, nb::arg("order"),
          "Tree that halves the words, taken in this order: offsets, nodes, signs as huffman_paths.");
    m.def("children_paths", &children_paths, nb::arg("children"),
          "The other way round of tree_children: offsets, nodes, signs; ValueError where parents do not come first.");
    m.def("tree_children", &tree_children, nb::arg("offsets"), nb::arg("nodes"), nb::arg("signs"),
          "Children (2 (L-1),) int32 of the inner nodes, by node and sign: an inner node, or ~leaf. ValueError says what "
          "keeps the paths from being one full binary tree, its nodes numbered level by level from root 0.");
}

}  // namespace vastmax
