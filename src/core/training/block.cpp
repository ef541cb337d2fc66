// From a plan to a block of the kernels: which output rows with which weights (negative sampling, hierarchical softmax), and
// which input rows (skip-gram: the context's vectors; CBOW: one hidden vector a window).
#include <algorithm>
#include <cstring>

#include "worker.hpp"

namespace vastmax {
namespace {

float sum(const float* row, int size) {
    float total = 0;
    for (int j = 0; j < size; ++j) total += row[j];
    return total;
}

void add_scaled(float* to, const float* from, float scale, int size) {
    for (int j = 0; j < size; ++j) to[j] += scale * from[j];
}

}  // namespace

void Worker::execute(const Plan& plan) {
    fill_window_weights(plan);
    settings_.cbow ? execute_cbow(plan) : execute_skipgram(plan);
}

void Worker::execute_skipgram(const Plan& plan) {
    const float rate = static_cast<float>(plan.rate);
    const int stride = padded(plan.columns), dim = trainer_.vectors.stride();
    block_.inputs = plan.columns;
    for (int j = 0; j < plan.columns; ++j) block_.input_rows[j] = trainer_.vectors.row(plan.context[j]);
    for (int t = 0; t < plan.centres; ++t)
        statistics_.examples += static_cast<std::uint64_t>(sum(window_weights_ + t * stride, stride));
    for_outputs(plan, window_weights_, plan.columns,
                [&] { statistics_.loss += trainer_.kernels->step(block_, dim, rate, scratch_); });
}

// h_t = sum or mean of the rows in window t; every output sees the hidden vectors as its input rows, and their gradient goes
// back to the context, divided by the window's size or not.
void Worker::execute_cbow(const Plan& plan) {
    const float rate = static_cast<float>(plan.rate);
    const int stride = padded(plan.columns), dim = trainer_.vectors.stride();
    alignas(64) float example[kMaxCentres * kRowMultiple] = {};  // row t: 1 at t, where the window is not empty
    float* context[kMaxInputs];
    for (int j = 0; j < plan.columns; ++j) context[j] = trainer_.vectors.row(plan.context[j]);
    bool any = false;
    float inverse[kMaxCentres];
    for (int t = 0; t < plan.centres; ++t) {
        const float size = sum(window_weights_ + t * stride, stride);
        inverse[t] = size > 0 ? 1.0f / size : 0.0f;
        block_.input_rows[t] = hidden_ + t * dim;
        example[t * kRowMultiple + t] = size > 0 ? 1.0f : 0.0f;
        statistics_.examples += size > 0;
        any |= size > 0;
    }
    if (!any) return;
    const auto scale_windows = [&](bool divide) {
        for (int t = 0; t < plan.centres; ++t)
            for (int j = 0; j < stride; ++j)
                if (window_weights_[t * stride + j] != 0) window_weights_[t * stride + j] = divide ? inverse[t] : 1.0f;
    };
    scale_windows(settings_.cbow_mean);
    trainer_.kernels->combine(block_.input_rows, plan.centres, context, plan.columns, window_weights_, 1, stride, dim);
    if (settings_.cbow_mean != settings_.cbow_divides) scale_windows(settings_.cbow_divides);
    block_.inputs = plan.centres;
    for_outputs(plan, example, plan.centres, [&] {
        statistics_.loss += trainer_.kernels->step_outputs(block_, dim, rate, scratch_);
        const float* gradient[kMaxCentres];
        float* scatter[kMaxInputs];
        for (int t = 0; t < plan.centres; ++t) gradient[t] = scratch_.input_gradient + t * dim;
        for (int j = 0; j < plan.columns; ++j) scatter[j] = scatter_ + j * dim;
        trainer_.kernels->combine(scatter, plan.columns, gradient, plan.centres, window_weights_, stride, 1, dim);
        trainer_.kernels->add_rows(context, plan.columns, scatter_, dim);
    });
}

// Names the output rows of the plan with their weights, and steps: `weights` says which columns each centre predicts from.
template <class Step>
void Worker::for_outputs(const Plan& plan, const float* weights, int columns, Step&& step) {
    trainer_.paths_.offsets ? for_tree_paths(plan, weights, columns, step) : for_negative_sampling(plan, weights, columns, step);
}

// Gives an output row weights of its own, to be added to.
void Worker::own_weights(int output, int stride) {
    float* positive = own_positive_ + output * kMaxInputs;
    float* total = own_total_ + output * kMaxInputs;
    if (block_.total[output] == total) return;
    std::memcpy(positive, block_.positive[output], sizeof(float) * static_cast<std::size_t>(stride));
    std::memcpy(total, block_.total[output], sizeof(float) * static_cast<std::size_t>(stride));
    block_.positive[output] = positive;
    block_.total[output] = total;
}

// The centres and the shared negatives, each row once. A drawn word counts as a negative of every window but those whose
// centre it is, as in the published code, which skips such a draw.
template <class Step>
void Worker::for_negative_sampling(const Plan& plan, const float* weights, int columns, Step&& step) {
    const int stride = padded(columns);
    const float scale = static_cast<float>(settings_.negatives) / static_cast<float>(settings_.drawn);
    std::uint32_t word[kMaxOutputs];
    int count = 0;
    const auto find = [&](std::uint32_t wanted) {
        int i = 0;
        while (i < count && word[i] != wanted) ++i;
        return i;
    };
    const auto append = [&](std::uint32_t output, const float* positive, const float* total) {
        word[count] = output;
        block_.output_rows[count] = trainer_.outputs.row(output);
        block_.positive[count] = positive;
        block_.total[count] = total;
        ++count;
    };
    std::memset(shared_total_, 0, sizeof(float) * static_cast<std::size_t>(stride));
    for (int t = 0; t < plan.centres; ++t) {
        const float* window = weights + t * stride;
        add_scaled(shared_total_, window, scale, stride);
        const int i = find(plan.centre[t]);
        if (i == count) {
            append(plan.centre[t], window, window);
        } else {
            own_weights(i, stride);
            add_scaled(own_positive_ + i * kMaxInputs, window, 1, stride);
            add_scaled(own_total_ + i * kMaxInputs, window, 1, stride);
        }
    }
    for (int n = 0; n < plan.negatives; ++n) {
        const int i = find(plan.negative[n]);
        if (i == count) {
            append(plan.negative[n], zeros_, shared_total_);
            continue;
        }
        own_weights(i, stride);
        add_scaled(own_total_ + i * kMaxInputs, shared_total_, 1, stride);
        for (int t = 0; t < plan.centres; ++t)
            if (plan.centre[t] == plan.negative[n])
                add_scaled(own_total_ + i * kMaxInputs, weights + t * stride, -scale, stride);
    }
    block_.outputs = count;
    step();
}

// The inner nodes on the paths of the centres, each row once: two paths share their nodes up to where they part. Where the
// paths have more nodes than a block has rows, the block is stepped and the next one begun.
template <class Step>
void Worker::for_tree_paths(const Plan& plan, const float* weights, int columns, Step&& step) {
    const int stride = padded(columns);
    const Paths& paths = trainer_.paths_;
    int count = 0;
    const auto flush = [&] {
        block_.outputs = count;
        if (count) step();
        count = 0;
    };
    int slot_of[kMaxCentres][kMaxOutputs];
    int first_centre = 0;  // centres before it were flushed
    for (int t = 0; t < plan.centres; ++t) {
        const float* window = weights + t * stride;
        const std::int64_t begin = paths.offsets[plan.centre[t]], length = paths.offsets[plan.centre[t] + 1] - begin;
        if (length + count > kMaxOutputs) {
            flush();
            first_centre = t;
        }
        const std::int32_t* nodes = paths.nodes + begin;
        const std::int8_t* signs = paths.signs + begin;
        int shared = 0, twin = t;  // the centre before with the longest common beginning
        for (int other = first_centre; other < t; ++other) {
            const std::int64_t other_begin = paths.offsets[plan.centre[other]];
            const std::int64_t most = std::min(length, paths.offsets[plan.centre[other] + 1] - other_begin);
            int common = 0;
            while (common < most && common < kMaxOutputs && paths.nodes[other_begin + common] == nodes[common]) ++common;
            if (common > shared) shared = common, twin = other;
        }
        for (std::int64_t depth = 0; depth < length; ++depth) {
            if (depth < shared) {
                const int i = slot_of[twin][depth];
                slot_of[t][depth] = i;
                own_weights(i, stride);
                add_scaled(own_total_ + i * kMaxInputs, window, 1, stride);
                if (signs[depth] > 0) add_scaled(own_positive_ + i * kMaxInputs, window, 1, stride);
                continue;
            }
            if (count == kMaxOutputs) {  // one path alone is longer than a block
                flush();
                first_centre = t + 1;
            }
            if (depth < kMaxOutputs) slot_of[t][depth] = count;
            block_.output_rows[count] = trainer_.outputs.row(static_cast<std::size_t>(nodes[depth]));
            block_.positive[count] = signs[depth] > 0 ? window : zeros_;
            block_.total[count] = window;
            ++count;
        }
    }
    flush();
}

}  // namespace vastmax
