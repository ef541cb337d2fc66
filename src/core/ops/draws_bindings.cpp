#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/parallel.hpp"
#include "ops/arrays.hpp"
#include "ops/bigrams.hpp"
#include "ops/estimates.hpp"
#include "ops/sum_tree.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

constexpr size_t kDrawsAtATime = 1024;

bool rises_to(const ArrayView<int64_t>& offsets, size_t last) {
    return offsets.size() > 0 && offsets.data()[0] == 0 &&
           std::is_sorted(offsets.data(), offsets.data() + offsets.size()) &&
           static_cast<size_t>(offsets.data()[offsets.size() - 1]) == last;
}

// Whether rows are ascending and none of the `num_rows` is missing.
bool all_have_one(const ArrayView<int64_t>& rows, size_t num_rows) {
    int64_t last = -1;
    for (size_t i = 0; i < rows.size(); last = rows.data()[i++])
        if (rows.data()[i] != last && rows.data()[i] != last + 1) return false;
    return last + 1 == static_cast<int64_t>(num_rows);
}

// Checks the sizes of the tables; vastmax.ops.bigrams has checked their contents.
BigramTables tables_of(const Row<double>& unigram, const Row<double>& bigram, const ArrayView<int64_t>& pairs,
                       const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, const Row<double>& mixture) {
    const size_t classes = bins.size(), entries = pairs.size();
    check(classes > 0 && unigram.size() == 2 * classes && bigram.size() == std::max<size_t>(2, 2 * entries) &&
              mixture.size() == kBins && starts.size() == classes + 1,
          "the tables must be of as many classes and bigrams");
    return {classes, entries, unigram.data(), bigram.data(), pairs.data(), starts.data(), bins.data(), mixture.data()};
}

template <typename T>
void bind_draws_of(nb::module_& m) {
    m.def(
        "draw_guarded",
        [](const Row<double>& unigram, const Row<double>& bigram, const ArrayView<int64_t>& pairs,
           const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, const Row<double>& mixture,
           const ArrayView<int64_t>& context, const Table<const Stored<T>>& hidden, const Table<const Stored<T>>& table,
           const std::optional<Row<const Stored<T>>>& bias, const ArrayView<int64_t>& targets,
           const ArrayView<int64_t>& rows, const Row<const Wide<T>>& of_targets, size_t block, size_t most,
           double effective, uint64_t seed, size_t threads) {
            const BigramTables tables = tables_of(unigram, bigram, pairs, starts, bins, mixture);
            const size_t num_rows = context.size(), width = table.shape(1), count = targets.size();
            check(hidden.shape(0) == num_rows && hidden.shape(1) == width && table.shape(0) == tables.classes &&
                      (!bias || bias->size() == tables.classes) && rows.size() == count && of_targets.size() == count &&
                      all_below(rows, num_rows) && all_have_one(rows, num_rows),
                  "every row must have a target, and rows must rise");
            check(block > 0 && most >= block, "the limit of a row must be at least one block");
            const Scores<T> scores{values<T>(hidden.data()),
                                   values<T>(table.data()),
                                   bias ? values<T>(bias->data()) : nullptr,
                                   width,
                                   targets.data(),
                                   rows.data(),
                                   of_targets.data(),
                                   count};
            GuardedDraws<T> found = [&] {
                nb::gil_scoped_release release;
                return draw_guarded(tables, context.data(), num_rows, scores, {block, most, effective},
                                    level_of(std::nullopt).of<T>(), seed, threads);
            }();
            return nb::make_tuple(to_numpy(std::move(found.ids)), to_numpy(std::move(found.log_prob)),
                                  to_numpy(std::move(found.logits)), to_numpy(std::move(found.lengths)),
                                  to_numpy(std::move(found.log_sum)), to_numpy(std::move(found.log_squares)),
                                  to_numpy(std::move(found.content)));
        },
        nb::arg("unigram").noconvert(), nb::arg("bigram").noconvert(), nb::arg("pairs"), nb::arg("starts"),
        nb::arg("bins"), nb::arg("mixture").noconvert(), nb::arg("context"), nb::arg("hidden").noconvert(),
        nb::arg("table").noconvert(), nb::arg("bias").none().noconvert(), nb::arg("targets"), nb::arg("rows"),
        nb::arg("of_targets").noconvert(), nb::arg("block"), nb::arg("most"), nb::arg("effective"), nb::arg("seed"),
        nb::arg("threads") = 1);
}

template <typename T>
void bind_factors_of(nb::module_& m) {
    m.def(
        "estimate_factors",
        [](const Row<const T>& logits, const Row<const T>& log_prob, const ArrayView<int64_t>& lengths,
           const Row<const T>& log_sum, const ArrayView<int64_t>& rows, const Row<const T>& to_own,
           const Row<const T>& to_sums, Row<T>& factors, size_t threads) {
            const size_t num_rows = lengths.size(), count = logits.size();
            check(all_below(lengths, count + 1) && all_have_one(rows, num_rows) &&
                      std::accumulate(lengths.data(), lengths.data() + num_rows, static_cast<int64_t>(rows.size())) ==
                          static_cast<int64_t>(count) &&
                      log_prob.size() == count && factors.size() == count && log_sum.size() == num_rows &&
                      to_sums.size() == num_rows && to_own.size() == rows.size(),
                  "draws must be of the rows, each of which has a target, and rows must rise");
            nb::gil_scoped_release release;
            estimate_factors<T>(
                {logits.data(), log_prob.data(), lengths.data(), log_sum.data(), num_rows, rows.data(), rows.size()},
                to_own.data(), to_sums.data(), factors.data(), threads);
        },
        nb::arg("logits").noconvert(), nb::arg("log_prob").noconvert(), nb::arg("lengths"),
        nb::arg("log_sum").noconvert(), nb::arg("rows"), nb::arg("to_own").noconvert(), nb::arg("to_sums").noconvert(),
        nb::arg("factors").noconvert(), nb::arg("threads") = 1);
}

}  // namespace

void bind_draws(nb::module_& m) {
    bind_draws_of<float>(m);
    bind_draws_of<double>(m);
    bind_draws_of<Half>(m);
    bind_factors_of<float>(m);
    bind_factors_of<double>(m);
    m.def(
        "tree_draws",
        [](const ArrayView<double>& sums, const std::optional<ArrayView<int64_t>>& start,
           const std::optional<ArrayView<int64_t>>& stop, const Table<const double>& chances, Table<int64_t>& ids,
           size_t threads) {
            const size_t leaves = sums.size() / 2, rows = chances.shape(0), count = chances.shape(1);
            check(leaves > 0 && ids.shape(0) == rows && ids.shape(1) == count &&
                      start.has_value() == stop.has_value() &&
                      (!start || (start->size() == rows && stop->size() == rows && all_below(*start, leaves + 1) &&
                                  all_below(*stop, leaves + 1))),
                  "ranges must be of the tree, and a row each");
            nb::gil_scoped_release release;
            const size_t blocks = (count + kDrawsAtATime - 1) / kDrawsAtATime;
            pooled_for(rows * blocks, threads, [&](size_t, size_t number) {
                const size_t row = number / blocks, first = number % blocks * kDrawsAtATime;
                const size_t some = std::min(kDrawsAtATime, count - first), place = row * count + first;
                const RangeParts parts = start
                                             ? RangeParts(sums.data(), leaves, static_cast<size_t>(start->data()[row]),
                                                          static_cast<size_t>(stop->data()[row]))
                                             : RangeParts::all(sums.data());
                draw_leaves(sums.data(), leaves, parts, chances.data() + place, some, ids.data() + place);
            });
        },
        nb::arg("sums"), nb::arg("start").none(), nb::arg("stop").none(), nb::arg("chances"),
        nb::arg("ids").noconvert(), nb::arg("threads") = 1);
    m.def(
        "tree_update",
        [](Row<double>& sums, const ArrayView<int64_t>& ids, const ArrayView<double>& weights) {
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
        [](const Row<double>& unigram, const Row<double>& bigram, const ArrayView<int64_t>& pairs,
           const ArrayView<int64_t>& starts, const ArrayView<uint8_t>& bins, const Row<double>& mixture,
           const ArrayView<int64_t>& context, const Table<const double>& coins, const Table<const double>& chances,
           Table<int64_t>& ids, Table<double>& log_prob, size_t threads) {
            const BigramTables tables = tables_of(unigram, bigram, pairs, starts, bins, mixture);
            const size_t rows = context.size(), count = coins.shape(1);
            check(coins.shape(0) == rows && chances.shape(0) == rows && chances.shape(1) == count &&
                      ids.shape(0) == rows && ids.shape(1) == count && log_prob.shape(0) == rows &&
                      log_prob.shape(1) == count,
                  "chances must be a row for each previous class");
            nb::gil_scoped_release release;
            draw_bigrams(tables, context.data(), rows, count, coins.data(), chances.data(), ids.data(), log_prob.data(),
                         threads);
        },
        nb::arg("unigram").noconvert(), nb::arg("bigram").noconvert(), nb::arg("pairs"), nb::arg("starts"),
        nb::arg("bins"), nb::arg("mixture").noconvert(), nb::arg("context"), nb::arg("coins"), nb::arg("chances"),
        nb::arg("ids").noconvert(), nb::arg("log_prob").noconvert(), nb::arg("threads") = 1);
    m.def(
        "adapt_bigrams",
        [](Row<double>& unigram, Row<double>& bigram, const ArrayView<int64_t>& pairs, const ArrayView<int64_t>& starts,
           const ArrayView<uint8_t>& bins, Row<double>& mixture, const ArrayView<int64_t>& context,
           const ArrayView<int64_t>& ids, const ArrayView<double>& logits, const ArrayView<int64_t>& offsets,
           double rate, double mixture_rate, size_t threads) {
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
