// Ops on batches whose rows share their samples.
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
            const RowKernels<T>& kernels = row_losses(best_simd()).of<T>();
            const Formula formula = {logistic, samples_corrected, target_corrected, blackout};
            // rows per task, enough to be worth waking a thread
            const size_t block = std::max<size_t>(1, (size_t{1} << 16) / (width + samples + 1));
            nb::gil_scoped_release release;
            pooled_for((count + block - 1) / block, threads, [&](size_t, size_t number) {
                kernels.losses(rows, formula, number * block, std::min(count, (number + 1) * block));
            });
        },
        nb::arg("hidden").noconvert(), nb::arg("vectors").noconvert(), nb::arg("biases").noconvert().none(),
        nb::arg("logits").noconvert(), nb::arg("target_expected").noconvert(), nb::arg("log_expected").noconvert(),
        nb::arg("times").noconvert(), nb::arg("log_times").noconvert(), nb::arg("losses").noconvert(),
        nb::arg("target_gradients").noconvert(), nb::arg("logistic"), nb::arg("samples_corrected"),
        nb::arg("target_corrected"), nb::arg("blackout"), nb::arg("threads") = 1);
}

template <typename T>
Ratios<T> ratios_of(const Table<const T>& logits, const Row<const T>& bases, const Row<const T>& log_prob,
                    const Row<const T>& times) {
    check(bases.size() == logits.shape(0) && log_prob.size() == logits.shape(1) && times.size() == logits.shape(1),
          "bases must be a number for each row, and log_prob and times for each sample");
    return {logits.shape(0), logits.shape(1), logits.data(), bases.data(), log_prob.data(), times.data()};
}

// Rows per task, enough to be worth waking a thread.
size_t rows_at_a_time(size_t width) { return std::max<size_t>(1, (size_t{1} << 15) / (width + 1)); }

template <typename T>
void bind_ratio_sums(nb::module_& m) {
    m.def(
        "ratio_sums",
        [](const Table<const T>& logits, const Row<const T>& bases, const Row<const T>& log_prob,
           const Row<const T>& times, Row<T>& largest, Row<T>& once, Row<T>& twice, size_t threads) {
            const Ratios<T> ratios = ratios_of<T>(logits, bases, log_prob, times);
            check(largest.size() == ratios.rows && once.size() == ratios.rows && twice.size() == ratios.rows,
                  "sums must be a number for each row");
            const RatioSums<T> sums = {largest.data(), once.data(), twice.data()};
            const RowKernels<T>& kernels = row_losses(best_simd()).of<T>();
            const size_t block = rows_at_a_time(ratios.samples);
            nb::gil_scoped_release release;
            pooled_for((ratios.rows + block - 1) / block, threads, [&](size_t, size_t number) {
                kernels.ratio_sums(ratios, sums, number * block, std::min(ratios.rows, (number + 1) * block));
            });
        },
        nb::arg("logits").noconvert(), nb::arg("bases").noconvert(), nb::arg("log_prob").noconvert(),
        nb::arg("times").noconvert(), nb::arg("largest").noconvert(), nb::arg("once").noconvert(),
        nb::arg("twice").noconvert(), nb::arg("threads") = 1);
    m.def(
        "ratio_gradients",
        [](const Table<const T>& logits, const Row<const T>& bases, const Row<const T>& log_prob,
           const Row<const T>& times, const Row<const T>& largest, const Row<const T>& factors, Table<T>& gradients,
           size_t threads) {
            const Ratios<T> ratios = ratios_of<T>(logits, bases, log_prob, times);
            check(largest.size() == ratios.rows && factors.size() == ratios.rows && gradients.shape(0) == ratios.rows &&
                      gradients.shape(1) == ratios.samples,
                  "factors must be a number for each row, and gradients of the logits' shape");
            const RowKernels<T>& kernels = row_losses(best_simd()).of<T>();
            const size_t block = rows_at_a_time(ratios.samples);
            nb::gil_scoped_release release;
            pooled_for((ratios.rows + block - 1) / block, threads, [&](size_t, size_t number) {
                kernels.ratio_gradients(ratios, largest.data(), factors.data(), gradients.data(), number * block,
                                        std::min(ratios.rows, (number + 1) * block));
            });
        },
        nb::arg("logits").noconvert(), nb::arg("bases").noconvert(), nb::arg("log_prob").noconvert(),
        nb::arg("times").noconvert(), nb::arg("largest").noconvert(), nb::arg("factors").noconvert(),
        nb::arg("gradients").noconvert(), nb::arg("threads") = 1);
}

}  // namespace

void bind_shared_ops(nb::module_& m) {
    bind_row_losses<float>(m);
    bind_row_losses<double>(m);
    bind_ratio_sums<float>(m);
    bind_ratio_sums<double>(m);
}

}  // namespace vastmax
