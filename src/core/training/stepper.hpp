// Turns a plan into a block of the kernels: the output rows with their weights (negative sampling, hierarchical
// softmax), and the input rows (skip-gram: the context's vectors; CBOW: one hidden vector per window).
#pragma once

#include <cstdint>
#include <vector>

#include "training/input_rows.hpp"
#include "training/kernels.hpp"
#include "training/matrix.hpp"
#include "training/plan.hpp"
#include "training/replicas.hpp"
#include "training/task.hpp"

namespace vastmax {

struct Matrices {
    Matrix vectors;
    Matrix outputs;
};

// The stepper of one of `threads` threads; all its references must outlive it.
class Stepper {
public:
    Stepper(const Task& task, Matrices& matrices, const Kernels& kernels, int threads);

    // Takes the step, and meanwhile prefetches the rows of the next one (null if there is none).
    void step(const Plan& plan, const Plan* next);

    // Writes this thread's working rows and copies back to the shared rows.
    void finish_chunk() {
        inputs_.finish();
        outputs_.exchange_all();
    }

    uint64_t examples() const { return examples_; }
    double loss() const { return loss_; }  // summed over the examples

private:
    void prefetch(const Plan& plan);
    void fill_windows(const Plan& plan);
    void step_skipgram(const Plan& plan);
    void step_cbow(const Plan& plan);
    template <typename Step>
    void for_outputs(const Plan& plan, float* examples, Step&& step);
    void name_targets_and_noise(const Plan& plan, float* examples);
    template <typename Step>
    void for_path(const Plan& plan, Step&& step);

    const Settings& settings_;
    const PackedPaths& paths_;
    Matrices& matrices_;
    const Kernels& kernels_;
    uint64_t examples_ = 0;
    double loss_ = 0;

    InputRows inputs_;
    Replicas outputs_;
    Block block_;
    Scratch scratch_;
    std::vector<float> memory_;
    float* windows_;   // kMaxInputs rows of kMaxCentres: 1 if column j is in the window of centre t
    float* positive_;  // kMaxInputs rows of kMaxOutputs
    float* total_;     // kMaxInputs rows of kMaxOutputs
    float* hidden_;    // kMaxCentres rows of the padded dimension (CBOW)
    float* unused_;    // kMaxCentres rows of zeros, in place of missing output rows
    float* scatter_;   // kMaxInputs rows of the padded dimension (CBOW)
};

}  // namespace vastmax
