// Losses of rows of logits; the gradients overwrite the logits.
#pragma once

#include <cstddef>

namespace vastmax {

// Vectors (rows, width), their targets' vectors and biases, and the logits of samples shared by all rows, to which the
// samples' biases have not been added yet. Either bias may be null.
template <typename T>
struct Rows {
    size_t rows, width, samples;
    const T* hidden;
    const T* target_vectors;   // (rows, width)
    const T* target_biases;    // (rows,)
    const T* target_expected;  // (rows,) log E, E the expected count of the target among the samples
    T* logits;                 // (rows, samples); -inf for samples to ignore
    const T* biases;           // (samples,)
    const T* log_expected;     // (samples,)
    const T* times;            // (samples,), how often each was drawn
    const T* log_times;        // (samples,)
    T* losses;                 // (rows,)
    T* target_gradients;       // (rows,), of the targets' logits
};

// With `logistic` the target is discriminated from each sample (binary losses); otherwise it is ranked among them
// (softmax), and `blackout` also adds -log(1 - p) of each sample. The corrected flags say from which logits log E is
// subtracted: samples', targets', or both. `samples_corrected` applies to logistic losses only; the others always
// correct samples.
struct Formula {
    bool logistic, samples_corrected, target_corrected, blackout;
};

// Ratios r = exp(logit - base) / Q of samples shared by all rows, given by their logarithms.
template <typename T>
struct Ratios {
    size_t rows, samples;
    const T* logits;    // (rows, samples)
    const T* bases;     // (rows,)
    const T* log_prob;  // (samples,) log Q
    const T* times;     // (samples,), how often each was drawn
};

// The log of each row's largest r, and the sums over its draws of r / largest and of its square.
template <typename T>
struct RatioSums {
    T *largest, *once, *twice;  // (rows,)
};

// Compiled for one SIMD level. Each function works on rows [first, last).
template <typename T>
struct RowKernels {
    void (*losses)(const Rows<T>& rows, Formula formula, size_t first, size_t last);
    void (*ratio_sums)(const Ratios<T>& ratios, const RatioSums<T>& sums, size_t first, size_t last);
    // Writes gradients (rows, samples): the row's factor times r / largest, times how often the sample was drawn.
    void (*ratio_gradients)(const Ratios<T>& ratios, const T* largest, const T* factors, T* gradients, size_t first,
                            size_t last);
};

struct RowLosses {
    RowKernels<float> of_float;
    RowKernels<double> of_double;
    template <typename T>
    const RowKernels<T>& of() const {
        if constexpr (sizeof(T) == sizeof(float)) {
            return of_float;
        } else {
            return of_double;
        }
    }
};

}  // namespace vastmax
