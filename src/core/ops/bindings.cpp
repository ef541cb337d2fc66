#include <algorithm>
#include <initializer_list>
#include <limits>

#include "ops/arrays.hpp"
#include "ops/rows.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

template <typename T>
void check_rows(const Table<T>& table, std::initializer_list<const Table<T>*> states, const ArrayView<int64_t>& rows,
                const Table<const T>& gradients) {
    for (const Table<T>* const state : states)
        check(state->shape(0) == table.shape(0) && state->shape(1) == table.shape(1),
              "means and squares must be of the table's shape");
    check(gradients.shape(0) == rows.size() && gradients.shape(1) == table.shape(1),
          "gradients must be a row of the table's width for each row");
    check(all_below(rows, table.shape(0)), "rows must be rows of the table");
}

template <typename T>
void bind_rows(nb::module_& m) {
    m.def(
        "adagrad_rows",
        [](Table<T>& table, Table<T>& squares, const ArrayView<int64_t>& rows, const Table<const T>& gradients, T rate,
           T epsilon, size_t threads) {
            check_rows(table, {&squares}, rows, gradients);
            nb::gil_scoped_release release;
            adagrad_rows(table.data(), squares.data(), rows.data(), gradients.data(), rows.size(), table.shape(1), rate,
                         epsilon, threads);
        },
        nb::arg("table").noconvert(), nb::arg("squares").noconvert(), nb::arg("rows").noconvert(),
        nb::arg("gradients").noconvert(), nb::arg("rate"), nb::arg("epsilon"), nb::arg("threads") = 1);
    m.def(
        "adam_rows",
        [](Table<T>& table, Table<T>& means, Table<T>& squares, const ArrayView<int64_t>& rows,
           const Table<const T>& gradients, int64_t step, double rate, double beta1, double beta2, double epsilon,
           size_t threads) {
            check_rows(table, {&means, &squares}, rows, gradients);
            nb::gil_scoped_release release;
            adam_rows(table.data(), means.data(), squares.data(), rows.data(), gradients.data(), rows.size(),
                      table.shape(1), step, Adam{rate, beta1, beta2, epsilon}, threads);
        },
        nb::arg("table").noconvert(), nb::arg("means").noconvert(), nb::arg("squares").noconvert(),
        nb::arg("rows").noconvert(), nb::arg("gradients").noconvert(), nb::arg("step"), nb::arg("rate"),
        nb::arg("beta1"), nb::arg("beta2"), nb::arg("epsilon"), nb::arg("threads") = 1);
    m.def(
        "sum_rows",
        [](const ArrayView<int64_t>& rows, const Table<const T>& values, size_t limit, Row<int64_t>& met,
           Table<T>& sums, size_t threads) {
            const size_t count = rows.size(), width = values.shape(1);
            check(values.shape(0) == count && met.size() == count && sums.shape(0) == count && sums.shape(1) == width,
                  "values and sums must have a row for each row, and met room for it");
            check(all_below(rows, limit) && count < std::numeric_limits<uint32_t>::max(),
                  "rows must be below the limit");
            nb::gil_scoped_release release;
            const Groups groups(rows.data(), count, limit);
            std::copy(groups.values.begin(), groups.values.end(), met.data());
            sum_rows(values.data(), groups, width, sums.data(), threads);
            return groups.values.size();
        },
        nb::arg("rows").noconvert(), nb::arg("values").noconvert(), nb::arg("limit"), nb::arg("met").noconvert(),
        nb::arg("sums").noconvert(), nb::arg("threads") = 1);
}

}  // namespace

void bind_alias(nb::module_& m);
void bind_draws(nb::module_& m);
void bind_gathered(nb::module_& m);
void bind_shared_ops(nb::module_& m);

void bind_ops(nb::module_& m) {
    bind_alias(m);
    bind_draws(m);
    bind_gathered(m);
    bind_shared_ops(m);
    bind_rows<float>(m);
    bind_rows<double>(m);
}

}  // namespace vastmax
