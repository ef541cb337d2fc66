// Ops of batches that share their samples.
#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/parallel.hpp"
#include "base/simd.hpp"
#include "ops/arrays.hpp"
#include "ops/row_losses.hpp"

namespace nb = nanobind;

namespace vastmax {

extern const RowLosses kRowLossesPlain;
#if defined(__x86_64__)
extern const RowLosses kRowLossesAvx2;
extern const RowLosses kRowLossesAvx512;
#endif

const RowLosses& row_losses(Simd level) {
#if defined(__x86_64__)
    if (level == Simd::avx512) return kRowLossesAvx512;
    if (level == Simd::avx2) return kRowLossesAvx2;
#endif
    static_cast<void>(level);
    return kRowLossesPlain;
}

namespace {

inline void run(const RowLosses& level, const Rows<float>& rows, Formula formula, size_t first, size_t last) {
    level.floats(rows, formula, first, last);
}
inline void run(const RowLosses& level, const Rows<double>& rows, Formula formula, size_t first, size_t last) {
    level.doubles(rows, formula, first, last);
}

template <typename T>
void bind_row_losses(nb::module_& m) {
    m.def(
        "row_losses",
        [](const Table<const T>& hidden, const Table<const T>& vectors, const std::optional<Row<const T>>& biases,
           Table<T>& logits, const Row<const T>& target_expected, const Row<const T>& log_expected,
           const Row<const T>& times, const Row<const T>& log_times, Row<T>& losses, Row<T>& target_gradients,
           bool logistic, bool samples_corrected, bool target_corrected, bool blackout, size_t threads) {
            const size_t count = hidden.shape(0), width = hidden.shape(1), samples = logits.shape(1);
            if (logits.shape(0) != count || vectors.shape(0) != count + samples || vectors.shape(1) != width ||
                (biases && biases->size() != count + samples) || target_expected.size() != count ||
                log_expected.size() != samples || times.size() != samples || log_times.size() != samples ||
                losses.size() != count || target_gradients.size() != count)
                throw std::invalid_argument(
                    "vectors must be of the targets and then of the samples, and all sizes fit");
            const T* bias = biases ? biases->data() : nullptr;
            const Rows<T> rows = {count,
                                  width,
                                  samples,
                                  hidden.data(),
                                  vectors.data(),
                                  bias,
                                  target_expected.data(),
                                  logits.data(),
                                  bias ? bias + count : nullptr,
                                  log_expected.data(),
                                  times.data(),
                                  log_times.data(),
                                  losses.data(),
                                  target_gradients.data()};
            const RowLosses& level = row_losses(best_simd());
            const Formula formula = {logistic, samples_corrected, target_corrected, blackout};
            // as many rows at a time as are worth a thread's waking
            const size_t block = std::max<size_t>(1, (size_t{1} << 16) / (width + samples + 1));
            nb::gil_scoped_release release;
            pooled_for((count + block - 1) / block, threads, [&](size_t, size_t number) {
                run(level, rows, formula, number * block, std::min(count, (number + 1) * block));
            });
        },
        nb::arg("hidden").noconvert(), nb::arg("vectors").noconvert(), nb::arg("biases").noconvert().none(),
        nb::arg("logits").noconvert(), nb::arg("target_expected").noconvert(), nb::arg("log_expected").noconvert(),
        nb::arg("times").noconvert(), nb::arg("log_times").noconvert(), nb::arg("losses").noconvert(),
        nb::arg("target_gradients").noconvert(), nb::arg("logistic"), nb::arg("samples_corrected"),
        nb::arg("target_corrected"), nb::arg("blackout"), nb::arg("threads") = 1);
}

}  // namespace

void bind_shared_ops(nb::module_& m) {
    bind_row_losses<float>(m);
    bind_row_losses<double>(m);
}

}  // namespace vastmax
