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

// Compiled for one SIMD level: rows from `first` up to `last`.
struct RowLosses {
    const char* level;
    void (*floats)(const Rows<float>& rows, Formula formula, size_t first, size_t last);
    void (*doubles)(const Rows<double>& rows, Formula formula, size_t first, size_t last);
};

}  // namespace vastmax
