// The inner loops, in one table of functions per SIMD level.
//
// Every update of vectors by the trainers is one step on a block: k output rows o_i against m input rows c_j, with two
// k x m matrices of weights, `positive` P and `total` A (positive plus negative). With s_ij = o_i . c_j the loss is
//
//     L = sum_ij  A_ij softplus(s_ij) - P_ij s_ij        (P weighs positive examples, A - P negative ones)
//
// and the step is  g = rate (P - A sigmoid(s)),  o_i += sum_j g_ij c_j,  c_j += sum_i g_ij o_i,  all from the old
// rows. Negative sampling and hierarchical softmax, skip-gram and CBOW differ only in the rows and weights they use.
#pragma once

#include <cstdint>
#include <string>

namespace vastmax {

// Rows are aligned to 64 bytes and zero-padded to a multiple of this many floats.
constexpr int kRowMultiple = 16;
constexpr int kMaxOutputs = 128;
constexpr int kMaxInputs = 512;
constexpr int kMaxFetches = kMaxOutputs + kMaxInputs;

// Floats occupied by a row of `size`. Static: an inline function would be shared by all levels, and the linker might
// keep the one compiled for AVX-512.
static constexpr int padded(int size) { return (size + kRowMultiple - 1) / kRowMultiple * kRowMultiple; }

struct Block {
    int outputs = 0;                                 // k <= kMaxOutputs, rows distinct
    int inputs = 0;                                  // m <= kMaxInputs
    float* output_rows[kMaxOutputs + kRowMultiple];  // room for the kernels to pad with repeats
    float* input_rows[kMaxInputs + kRowMultiple];
    // Column j of P and A, for all outputs, padded with zeros to padded(k) floats. Columns may share one array.
    const float* positive[kMaxInputs];
    const float* total[kMaxInputs];
    // Rows of the next block, which the kernels prefetch between their tiles: a core has room for some twenty
    // outstanding cache lines, and a burst of a hundred requests would stall everything behind it.
    int fetches = 0;
    const float* fetch_rows[kMaxFetches + 1];
};

// Scratch space of one thread: gradients of the scores and of the input rows.
struct Scratch {
    float* score;           // kMaxInputs + kRowMultiple rows of kMaxOutputs floats
    float* input_gradient;  // kMaxInputs rows of the padded dimension
};

struct Kernels {
    const char* name;
    // The whole step: updates output and input rows; returns the loss before the update.
    double (*step)(Block& block, int dim, float rate, const Scratch& scratch);
    // The step without the update of the input rows, whose gradient times rate is left in scratch.input_gradient.
    double (*step_outputs)(Block& block, int dim, float rate, const Scratch& scratch);
    // out[j] = sum_i weights[i * in_stride + j * out_stride] * in[i], for j < rows, i < count.
    void (*combine)(float* const* out, int rows, const float* const* in, int count, const float* weights, int in_stride,
                    int out_stride, int dim);
    // out[j] += row j of `in`; `out` may name a row more than once.
    void (*add_rows)(float* const* out, int rows, const float* in, int dim);
    // out = the mean of the named rows of a table, at least one.
    void (*gather)(float* out, const float* table, const uint32_t* rows, int count, int dim);
    // Adds now - before to the named rows of a table; twice to a row that is named twice.
    void (*scatter)(float* table, const uint32_t* rows, int count, const float* now, const float* before, int dim);
};

// Returns the kernels of this level. Throws InputError if the processor does not support it; `source` says where the
// name comes from.
const Kernels* kernels_named(const std::string& level, const char* source);
// The kernels of the level named by the environment variable VASTMAX_SIMD, or of the best level.
const Kernels* best_kernels();

}  // namespace vastmax
