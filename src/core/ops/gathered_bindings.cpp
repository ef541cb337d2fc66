#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "ops/arrays.hpp"
#include "ops/groups.hpp"

namespace nb = nanobind;

namespace vastmax {
extern const GatheredLevel kGatheredPlain;
#if defined(__x86_64__)
extern const GatheredLevel kGatheredAvx2;
extern const GatheredLevel kGatheredAvx512;
#endif

const GatheredLevel& gathered_level(Simd level) {
#if defined(__x86_64__)
    if (level == Simd::avx512) return kGatheredAvx512;
    if (level == Simd::avx2) return kGatheredAvx2;
#endif
    static_cast<void>(level);
    return kGatheredPlain;
}

namespace {

constexpr size_t kPairsAtATime = 2048, kRowsAtATime = 64;

template <typename T>
void bind_gathered(nb::module_& m) {
    m.def(
        "ragged_logits",
        [](const Table<const Stored<T>>& hidden, const Table<const Stored<T>>& table,
           const std::optional<Row<const Stored<T>>>& bias, const ArrayView<int64_t>& ids,
           const ArrayView<int64_t>& rows, Row<Wide<T>>& out, size_t threads, const std::optional<std::string>& level) {
            const size_t count = ids.size(), width = table.shape(1);
            check(hidden.shape(1) == width && rows.size() == count && out.size() == count &&
                      (!bias || bias->size() == table.shape(0)) && all_below(ids, table.shape(0)) &&
                      all_below(rows, hidden.shape(0)),
                  "ids must be rows of the table, and rows of the hidden vectors, of one width");
            const GatheredKernels<T>& kernels = level_of(level).of<T>();
            nb::gil_scoped_release release;
            pooled_for((count + kPairsAtATime - 1) / kPairsAtATime, threads, [&](size_t, size_t number) {
                const size_t first = number * kPairsAtATime;
                kernels.logits(values<T>(hidden.data()), values<T>(table.data()),
                               bias ? values<T>(bias->data()) : nullptr, ids.data() + first, rows.data() + first,
                               std::min(kPairsAtATime, count - first), width, out.data() + first);
            });
        },
        nb::arg("hidden").noconvert(), nb::arg("table").noconvert(), nb::arg("bias").none().noconvert(), nb::arg("ids"),
        nb::arg("rows"), nb::arg("out").noconvert(), nb::arg("threads") = 1, nb::arg("level") = nb::none());
    m.def(
        "gradient_of_rows",
        [](const Table<const Stored<T>>& table, const ArrayView<int64_t>& ids, const ArrayView<int64_t>& rows,
           const Row<const Wide<T>>& factors, Table<Stored<T>>& out, size_t threads,
           const std::optional<std::string>& level) {
            const size_t count = ids.size(), width = table.shape(1), bags = out.shape(0);
            check(rows.size() == count && factors.size() == count && out.shape(1) == width &&
                      all_below(ids, table.shape(0)) && all_below(rows, bags) &&
                      std::is_sorted(rows.data(), rows.data() + count),
                  "ids must be rows of the table, and rows must rise");
            const GatheredKernels<T>& kernels = level_of(level).of<T>();
            nb::gil_scoped_release release;
            std::vector<std::vector<Wide<T>>> sums(std::max<size_t>(1, threads), std::vector<Wide<T>>(width));
            pooled_for(bags, threads, [&](size_t worker, size_t bag) {
                const auto [first, last] =
                    std::equal_range(rows.data(), rows.data() + count, static_cast<int64_t>(bag));
                const auto start = static_cast<size_t>(first - rows.data());
                kernels.bag(values<T>(table.data()), ids.data() + start, factors.data() + start,
                            static_cast<size_t>(last - first), width, sums[worker].data(),
                            reinterpret_cast<T*>(out.data()) + bag * width);
            });
        },
        nb::arg("table").noconvert(), nb::arg("ids"), nb::arg("rows"), nb::arg("factors").noconvert(),
        nb::arg("out").noconvert(), nb::arg("threads") = 1, nb::arg("level") = nb::none());
    m.def(
        "gradient_of_table",
        [](const Table<const Stored<T>>& hidden, const ArrayView<int64_t>& rows, const Row<const Wide<T>>& factors,
           const ArrayView<int64_t>& starts, const ArrayView<uint32_t>& order, Table<Stored<T>>& of_table,
           Row<Wide<T>>& of_bias, size_t threads, const std::optional<std::string>& level) {
            const size_t count = order.size(), width = hidden.shape(1), met = of_table.shape(0);
            check(rows.size() == count && factors.size() == count && all_below(rows, hidden.shape(0)) &&
                      of_table.shape(1) == width && of_bias.size() == met && starts.size() == met + 1 &&
                      starts.data()[0] == 0 && starts.data()[met] == static_cast<int64_t>(count) &&
                      std::is_sorted(starts.data(), starts.data() + met + 1) &&
                      std::all_of(order.data(), order.data() + count, [&](uint32_t place) { return place < count; }),
                  "groups must be of the rows, and rows those of the hidden vectors");
            const GatheredKernels<T>& kernels = level_of(level).of<T>();
            nb::gil_scoped_release release;
            std::vector<std::vector<Wide<T>>> sums(std::max<size_t>(1, threads), std::vector<Wide<T>>(width));
            pooled_for((met + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
                for (size_t i = number * kRowsAtATime; i < std::min(met, (number + 1) * kRowsAtATime); ++i) {
                    const uint32_t* const places = order.data() + starts.data()[i];
                    const auto times = static_cast<size_t>(starts.data()[i + 1] - starts.data()[i]);
                    kernels.ordered_bag(values<T>(hidden.data()), rows.data(), factors.data(), places, times, width,
                                        sums[worker].data(), reinterpret_cast<T*>(of_table.data()) + i * width);
                    Wide<T> sum = 0;
                    for (size_t t = 0; t < times; ++t) sum += factors.data()[places[t]];
                    of_bias.data()[i] = sum;
                }
            });
        },
        nb::arg("hidden").noconvert(), nb::arg("rows"), nb::arg("factors").noconvert(), nb::arg("starts"),
        nb::arg("order"), nb::arg("of_table").noconvert(), nb::arg("of_bias").noconvert(), nb::arg("threads") = 1,
        nb::arg("level") = nb::none());
}

}  // namespace

void bind_gathered(nb::module_& m) {
    m.def(
        "group_ids",
        [](const ArrayView<int64_t>& ids, size_t limit) {
            check(all_below(ids, limit) && ids.size() < std::numeric_limits<uint32_t>::max(),
                  "ids must be below the limit");
            Groups groups = [&] {
                nb::gil_scoped_release release;
                return Groups(ids.data(), ids.size(), limit);
            }();
            return nb::make_tuple(to_numpy(std::move(groups.values)), to_numpy(std::move(groups.starts)),
                                  to_numpy(std::move(groups.order)));
        },
        nb::arg("ids"), nb::arg("limit"));
    bind_gathered<float>(m);
    bind_gathered<double>(m);
    bind_gathered<Half>(m);
}

}  // namespace vastmax
