// Losses of rows of logits, whose gradients take the logits' place.
#pragma once

#include <cstddef>

namespace vastmax {

// Rows (rows, width) of vectors, their targets' vectors and biases, and the logits of samples that all of them share,
// to which the samples' biases are still to be added; either bias may be null.
template <typename T>
struct Rows {
    size_t rows, width, samples;
    const T* hidden;
    const T* target_vectors;   // (rows, width)
    const T* target_biases;    // (rows,)
    const T* target_expected;  // (rows,) log E, how often a target was to be expected among the samples
    T* logits;                 // (rows, samples); -inf where a sample counts for nothing
    const T* biases;           // (samples,)
    const T* log_expected;     // (samples,)
    const T* times;            // (samples,), how often each was drawn
    const T* log_times;        // (samples,)
    T* losses;                 // (rows,)
    T* target_gradients;       // (rows,), of the targets' logits
};

// Whether a target is told from each sample, or else ranked among them; where it is ranked, BlackOut asks of each
// sample as well that it be improbable. Corrected is what log E is taken off: from logits of samples, of targets, or
// both.
struct Formula {
    bool logistic, samples_corrected, target_corrected, blackout;
};

// Ratios r = exp(logit - base) / Q of samples that rows share, told by their logarithms.
template <typename T>
struct Ratios {
    size_t rows, samples;
    const T* logits;    // (rows, samples)
    const T* bases;     // (rows,)
    const T* log_prob;  // (samples,) log Q
    const T* times;     // (samples,), how often each was drawn
};

// The log of the largest r of each row, and the sums of r and of r squared relative to it.
template <typename T>
struct RatioSums {
    T *largest, *once, *twice;  // (rows,)
};

// Compiled for one SIMD level: rows from `first` up to `last`.
template <typename T>
struct RowKernels {
    void (*losses)(const Rows<T>& rows, Formula formula, size_t first, size_t last);
    void (*ratio_sums)(const Ratios<T>& ratios, const RatioSums<T>& sums, size_t first, size_t last);
    // Writes (rows, samples) a row's factor times r relative to its largest, as often as it was drawn.
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
