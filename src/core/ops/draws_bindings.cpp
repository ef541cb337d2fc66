#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <vector>

#include "base/numpy.hpp"
#include "base/parallel.hpp"
#include "ops/bigrams.hpp"
#include "ops/sum_tree.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

template <typename T>
using Numbers = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;  // that a call may write to
template <typename T>
using Table = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr size_t kDrawsAtATime = 1024;

void check(bool right, const char* what) {
    if (!right) throw std::invalid_argument(what);
}

bool all_below(const ArrayView<int64_t>& values, size_t limit) {
    return std::all_of(values.data(), values.data() + values.size(),
                       [&](int64_t value) { return value >= 0 && static_cast<size_t>(value) < limit; });
}

bool rises_to(const ArrayView<int64_t>& offsets, size_t last) {
    return offsets.size() > 0 && offsets.data()[0] == 0 && std::is_sorted(offsets.data(), offsets.data() + offsets.size()) &&
           static_cast<size_t>(offsets.data()[offsets.size() - 1]) == last;
}

// Of tables whose contents vastmax.ops.bigrams has checked.
BigramTables tables_of(const Numbers<double>& unigram, const Numbers<double>& bigram, const ArrayView<int64_t>& pairs,
                       const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, const Numbers<double>& mixture) {
    const size_t classes = bins.size(), entries = pairs.size();
    check(classes > 0 && unigram.size() == 2 * classes && bigram.size() == std::max<size_t>(2, 2 * entries) &&
              mixture.size() == kBins && starts.size() == classes + 1,
          "the tables must be of as many classes and bigrams");
    return {classes, entries, unigram.data(), bigram.data(), pairs.data(), starts.data(), bins.data(), mixture.data()};
}

}  // namespace

void bind_draws(nb::module_& m) {
    m.def(
        "tree_draws",
        [](const ArrayView<double>& sums, const std::optional<ArrayView<int64_t>>& start,
           const std::optional<ArrayView<int64_t>>& stop, const Table<const double>& chances, Table<int64_t>& ids,
           size_t threads) {
            const size_t leaves = sums.size() / 2, rows = chances.shape(0), count = chances.shape(1);
            check(leaves > 0 && ids.shape(0) == rows && ids.shape(1) == count && start.has_value() == stop.has_value() &&
                      (!start || (start->size() == rows && stop->size() == rows && all_below(*start, leaves + 1) &&
                                  all_below(*stop, leaves + 1))),
                  "ranges must be of the tree, and a row each");
            nb::gil_scoped_release release;
            const size_t blocks = (count + kDrawsAtATime - 1) / kDrawsAtATime;
            parallel_for(rows * blocks, threads, [&](size_t, size_t number) {
                const size_t row = number / blocks, first = number % blocks * kDrawsAtATime;
                const size_t some = std::min(kDrawsAtATime, count - first), place = row * count + first;
                const RangeParts parts = start ? RangeParts(sums.data(), leaves, static_cast<size_t>(start->data()[row]),
                                                            static_cast<size_t>(stop->data()[row]))
                                               : RangeParts::all(sums.data());
                draw_leaves(sums.data(), leaves, parts, chances.data() + place, some, ids.data() + place);
            });
        },
        nb::arg("sums"), nb::arg("start").none(), nb::arg("stop").none(), nb::arg("chances"),
        nb::arg("ids").noconvert(), nb::arg("threads") = 1);
    m.def(
        "tree_update",
        [](Numbers<double>& sums, const ArrayView<int64_t>& ids, const ArrayView<double>& weights) {
            const size_t leaves = sums.size() / 2;
            check(leaves > 0 && ids.size() == weights.size() && all_below(ids, leaves), "ids must be of the tree");
            nb::gil_scoped_release release;
            std::vector<size_t> changed(ids.size());
            for (size_t i = 0; i < ids.size(); ++i) {
                changed[i] = leaves + static_cast<size_t>(ids.data()[i]);
                sums.data()[changed[i]] = weights.data()[i];
            }
            std::sort(changed.begin(), changed.end());
            add_up(sums.data(), leaves, changed);
        },
        nb::arg("sums").noconvert(), nb::arg("ids"), nb::arg("weights"));
    m.def(
        "draw_bigrams",
        [](const Numbers<double>& unigram, const Numbers<double>& bigram, const ArrayView<int64_t>& pairs,
           const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, const Numbers<double>& mixture,
           const ArrayView<int64_t>& context, const Table<const double>& coins, const Table<const double>& chances,
           Table<int64_t>& ids, Table<double>& log_prob, size_t threads) {
            const BigramTables tables = tables_of(unigram, bigram, pairs, starts, bins, mixture);
            const size_t rows = context.size(), count = coins.shape(1);
            check(coins.shape(0) == rows && chances.shape(0) == rows && chances.shape(1) == count &&
                      ids.shape(0) == rows && ids.shape(1) == count && log_prob.shape(0) == rows &&
                      log_prob.shape(1) == count,
                  "chances must be a row for each previous class");
            nb::gil_scoped_release release;
            draw_bigrams(tables, context.data(), rows, count, coins.data(), chances.data(), ids.data(),
                         log_prob.data(), threads);
        },
        nb::arg("unigram").noconvert(), nb::arg("bigram").noconvert(), nb::arg("pairs"), nb::arg("starts"),
        nb::arg("bins"), nb::arg("mixture").noconvert(), nb::arg("context"), nb::arg("coins"), nb::arg("chances"),
        nb::arg("ids").noconvert(), nb::arg("log_prob").noconvert(), nb::arg("threads") = 1);
    m.def(
        "adapt_bigrams",
        [](Numbers<double>& unigram, Numbers<double>& bigram, const ArrayView<int64_t>& pairs,
           const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, Numbers<double>& mixture,
           const ArrayView<int64_t>& context, const ArrayView<int64_t>& ids, const ArrayView<double>& logits,
           const ArrayView<int64_t>& offsets, double rate, double mixture_rate, size_t threads) {
            const BigramTables tables = tables_of(unigram, bigram, pairs, starts, bins, mixture);
            check(all_below(ids, tables.classes) && logits.size() == ids.size() &&
                      offsets.size() == context.size() + 1 && rises_to(offsets, ids.size()),
                  "ids must be classes, each with a logit, and a row for each previous class");
            nb::gil_scoped_release release;
            adapt_bigrams(tables, context.data(), context.size(), ids.data(), logits.data(), offsets.data(), rate,
                          mixture_rate, threads);
        },
        nb::arg("unigram").noconvert(), nb::arg("bigram").noconvert(), nb::arg("pairs"), nb::arg("starts"),
        nb::arg("bins"), nb::arg("mixture").noconvert(), nb::arg("context"), nb::arg("ids"), nb::arg("logits"),
        nb::arg("offsets"), nb::arg("rate"), nb::arg("mixture_rate"), nb::arg("threads") = 1);
}

}  // namespace vastmax
