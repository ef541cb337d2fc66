// From a plan to a block of the kernels: which output rows with which weights (negative sampling, hierarchical softmax), and
// which input rows (skip-gram: the context's vectors; CBOW: one hidden vector a window).
#include <algorithm>
#include <cstring>

#include "worker.hpp"

namespace vastmax {

void Worker::execute(const Plan& plan) {
    fill_windows(plan);
    settings_.cbow ? execute_cbow(plan) : execute_skipgram(plan);
}

// windows_[j][t] = 1 where column j is in the window of centre t.
void Worker::fill_windows(const Plan& plan) {
    for (int j = 0; j < plan.columns; ++j)
        for (int t = 0; t < kMaxCentres; ++t)
            windows_[j * kMaxCentres + t] =
                static_cast<float>((j >= plan.begin[t]) & (j < plan.end[t]) & (j != plan.self[t]));
}

void Worker::execute_skipgram(const Plan& plan) {
    const int dim = trainer_.vectors.stride();
    block_.inputs = plan.columns;
    for (int j = 0; j < plan.columns; ++j) block_.input_rows[j] = trainer_.vectors.row(plan.context[j]);
    for (int t = 0; t < plan.centres; ++t)
        statistics_.examples += static_cast<std::uint64_t>(
            plan.end[t] - plan.begin[t] - (plan.self[t] >= plan.begin[t] && plan.self[t] < plan.end[t]));
    for_outputs(plan, windows_, [&] {
        statistics_.loss += trainer_.kernels->step(block_, dim, static_cast<float>(plan.rate), scratch_);
    });
}

// h_t = sum or mean of the rows in window t; every output sees the hidden vectors as its input rows, and their gradient goes
// back to the context, divided by the window's size or not.
void Worker::execute_cbow(const Plan& plan) {
    const int dim = trainer_.vectors.stride();
    const Kernels& kernels = *trainer_.kernels;
    float examples[kMaxCentres * kMaxCentres] = {};  // [t][t] = 1 where window t is not empty
    float size[kMaxCentres] = {}, inverse[kMaxCentres];
    float* context[kMaxInputs];
    for (int j = 0; j < plan.columns; ++j) {
        context[j] = trainer_.vectors.row(plan.context[j]);
        for (int t = 0; t < kMaxCentres; ++t) size[t] += windows_[j * kMaxCentres + t];
    }
    int windows = 0;
    for (int t = 0; t < kMaxCentres; ++t) {
        windows += size[t] > 0;
        inverse[t] = size[t] > 0 ? 1.0f / size[t] : 0.0f;
        examples[t * kMaxCentres + t] = size[t] > 0 ? 1.0f : 0.0f;
        block_.input_rows[t] = hidden_ + t * dim;
    }
    if (windows == 0) return;
    statistics_.examples += static_cast<std::uint64_t>(windows);
    const auto divide = [&](const float* by) {
        for (int j = 0; j < plan.columns; ++j)
            for (int t = 0; t < kMaxCentres; ++t) windows_[j * kMaxCentres + t] *= by[t];
    };
    if (settings_.cbow_mean) divide(inverse);
    kernels.combine(block_.input_rows, plan.centres, context, plan.columns, windows_, kMaxCentres, 1, dim);
    if (settings_.cbow_mean != settings_.cbow_divides) divide(settings_.cbow_divides ? inverse : size);
    block_.inputs = plan.centres;
    for_outputs(plan, examples, [&] {
        statistics_.loss += kernels.step_outputs(block_, dim, static_cast<float>(plan.rate), scratch_);
        const float* gradient[kMaxCentres];
        float* scatter[kMaxInputs];
        for (int t = 0; t < plan.centres; ++t) gradient[t] = scratch_.input_gradient + t * dim;
        for (int j = 0; j < plan.columns; ++j) scatter[j] = scatter_ + j * dim;
        kernels.combine(scatter, plan.columns, gradient, plan.centres, windows_, 1, kMaxCentres, dim);
        kernels.add_rows(context, plan.columns, scatter_, dim);
    });
}

// Names the output rows of the plan with their weights, and steps. examples[j][t] is 1 where centre t is predicted from input
// row j.
template <class Step>
void Worker::for_outputs(const Plan& plan, const float* examples, Step&& step) {
    if (!trainer_.paths_.empty()) return for_path(plan, step);
    name_targets_and_noise(plan, examples);
    step();
}

// The centres and the shared negatives, each row once. A drawn word counts as a negative of every window but those whose
// centre it is, as in the published code, which skips such a draw.
void Worker::name_targets_and_noise(const Plan& plan, const float* examples) {
    const float scale = static_cast<float>(settings_.negatives) / static_cast<float>(settings_.drawn);
    std::uint32_t word[kMaxOutputs];
    int slot[kMaxOutputs];  // of the centres, then of the negatives
    int count = 0;
    const auto name = [&](std::uint32_t wanted) {
        int i = 0;
        while (i < count && word[i] != wanted) ++i;
        if (i == count) {
            word[count] = wanted;
            block_.output_rows[count++] = trainer_.outputs.row(wanted);
        }
        return i;
    };
    for (int t = 0; t < plan.centres; ++t) slot[t] = name(plan.centre[t]);
    for (int n = 0; n < plan.negatives; ++n) slot[plan.centres + n] = name(plan.negative[n]);
    block_.outputs = count;
    const int stride = padded(count);
    const bool distinct = count == plan.centres + plan.negatives;
    for (int j = 0; j < block_.inputs; ++j) {
        const float* example = examples + j * kMaxCentres;
        float* positive = positive_ + j * kMaxOutputs;
        float* total = total_ + j * kMaxOutputs;
        float noise = 0;
        for (int t = 0; t < plan.centres; ++t) noise += example[t];
        noise *= scale;
        std::memset(positive, 0, sizeof(float) * static_cast<std::size_t>(stride));
        for (int i = 0; i < stride; ++i) total[i] = distinct && i < count ? noise : 0.0f;
        for (int t = 0; t < plan.centres; ++t) {
            positive[slot[t]] += example[t];
            total[slot[t]] = distinct ? example[t] : total[slot[t]] + example[t];
        }
        if (!distinct)
            for (int n = 0; n < plan.negatives; ++n) {
                const int i = slot[plan.centres + n];
                total[i] += noise;
                for (int t = 0; t < plan.centres; ++t)
                    if (slot[t] == i) total[i] -= scale * example[t];
            }
        block_.positive[j] = positive;
        block_.total[j] = total;
    }
}

// The inner nodes on the path of the plan's one centre, which is predicted from every input row. A path of more nodes than a
// block has rows is stepped in parts.
template <class Step>
void Worker::for_path(const Plan& plan, Step&& step) {
    const std::uint32_t* steps = trainer_.paths_.steps.data();
    for (std::int64_t begin = plan.path; begin < plan.path_end; begin += kMaxOutputs) {
        const int count = static_cast<int>(std::min<std::int64_t>(plan.path_end - begin, kMaxOutputs));
        std::memset(positive_, 0, sizeof(float) * static_cast<std::size_t>(padded(count)));
        std::memset(total_, 0, sizeof(float) * static_cast<std::size_t>(padded(count)));
        for (int i = 0; i < count; ++i) {
            block_.output_rows[i] = trainer_.outputs.row(steps[begin + i] >> 1);
            positive_[i] = static_cast<float>(steps[begin + i] & 1);
            total_[i] = 1.0f;
        }
        std::fill_n(block_.positive, block_.inputs, positive_);
        std::fill_n(block_.total, block_.inputs, total_);
        block_.outputs = count;
        step();
    }
}

}  // namespace vastmax
