#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "base/numpy.hpp"
#include "ops/rows.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

template <typename T>
using Table = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T>
void bind_adagrad_rows(nb::module_& m) {
    m.def(
        "adagrad_rows",
        [](Table<T>& table, Table<T>& squares, const ArrayView<int64_t>& rows, const Table<const T>& gradients, T rate,
           T epsilon, size_t threads) {
            const size_t count = rows.size(), width = table.shape(1);
            if (squares.shape(0) != table.shape(0) || squares.shape(1) != width || gradients.shape(0) != count ||
                gradients.shape(1) != width)
                throw std::invalid_argument("squares must be of the table's shape, and gradients a row for each row");
            for (size_t i = 0; i < count; ++i)
                if (rows.data()[i] < 0 || static_cast<size_t>(rows.data()[i]) >= table.shape(0))
                    throw std::invalid_argument("rows must be rows of the table");
            nb::gil_scoped_release release;
            adagrad_rows(table.data(), squares.data(), rows.data(), gradients.data(), count, width, rate, epsilon,
                         threads);
        },
        nb::arg("table").noconvert(), nb::arg("squares").noconvert(), nb::arg("rows").noconvert(),
        nb::arg("gradients").noconvert(), nb::arg("rate"), nb::arg("epsilon"), nb::arg("threads") = 1);
}

}  // namespace

void bind_draws(nb::module_& m);
void bind_gathered(nb::module_& m);
void bind_shared_ops(nb::module_& m);

void bind_ops(nb::module_& m) {
    bind_draws(m);
    bind_gathered(m);
    bind_shared_ops(m);
    bind_adagrad_rows<float>(m);
    bind_adagrad_rows<double>(m);
}

}  // namespace vastmax
