// From a plan to a block of the kernels: which output rows with which weights (negative sampling, hierarchical softmax), and
// which input rows (skip-gram: the context's vectors; CBOW: one hidden vector a window).
#include <algorithm>
#include <cstring>

#include "worker.hpp"

namespace vastmax {
namespace {

// Four lanes, which every processor has: what runs for each column of each block is written in them.
typedef float Quad __attribute__((vector_size(16)));
typedef std::uint32_t WordQuad __attribute__((vector_size(16)));
constexpr int kQuad = 4;
Quad load(const float* p) { return *reinterpret_cast<const Quad*>(p); }
void store(float* p, Quad x) { *reinterpret_cast<Quad*>(p) = x; }
static_assert(kMaxCentres == 2 * kQuad, "the weights of a column's centres are two quads");

// Whether the words of a plan are all different.
bool distinct_words(const Plan& plan) {
    const int count = plan.centres + plan.negatives;
    const auto* quads = reinterpret_cast<const WordQuad*>(plan.word);
    WordQuad matches = {};  // lanes count down by one for each match
    for (int i = 0; i < count; ++i)
        for (int q = 0; q * kQuad < count; ++q) matches += (WordQuad)(quads[q] == plan.word[i]);
    return matches[0] + matches[1] + matches[2] + matches[3] == 0u - static_cast<std::uint32_t>(count);
}

}  // namespace

void Worker::execute(const Plan& plan) {
    if (settings_.cbow || trainer_.paths_.empty()) fill_windows(plan);  // a path is predicted from every column alike
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
    alignas(16) float examples[kMaxCentres * kMaxCentres] = {};  // [t][t] = 1 where window t is not empty
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
    const int words = plan.centres + plan.negatives;
    const bool distinct = distinct_words(plan);
    int slot[kMaxOutputs], count = 0;
    for (int i = 0; i < words; ++i) {
        slot[i] = distinct ? i : static_cast<int>(std::find(plan.word, plan.word + i, plan.word[i]) - plan.word);
        slot[i] = slot[i] < i ? slot[slot[i]] : count;  // of the first of its kind, or a new one
        if (slot[i] == count) block_.output_rows[count++] = outputs_.row(plan.word[i]);
    }
    block_.outputs = count;
    const int stride = padded(count);
    const float scale = static_cast<float>(settings_.negatives) / static_cast<float>(settings_.drawn);
    // What an example of centre t puts on each output: positive, and as noise.
    alignas(16) float is_noise[kMaxOutputs], target[kMaxCentres][kMaxOutputs], noise[kMaxCentres][kMaxOutputs];
    for (int i = 0; i < stride; ++i) is_noise[i] = i >= plan.centres && i < count ? scale : 0.0f;
    for (int t = 0; t < plan.centres && !distinct; ++t) {
        for (int i = 0; i < stride; ++i) target[t][i] = noise[t][i] = i == slot[t] ? 1.0f : 0.0f;
        for (int n = plan.centres; n < words; ++n) noise[t][slot[n]] += slot[n] == slot[t] ? 0.0f : scale;
    }
    for (int j = 0; j < block_.inputs; ++j) {
        float* positive = positive_ + j * kMaxOutputs;
        float* total = total_ + j * kMaxOutputs;
        block_.positive[j] = positive;
        block_.total[j] = total;
        const float* example = examples + j * kMaxCentres;  // zero past the last centre
        if (distinct) {                                     // output i is centre or negative i
            const Quad first = load(example), second = load(example + kQuad), sums = first + second;
            const float windows = (sums[0] + sums[1]) + (sums[2] + sums[3]);
            store(positive, first);
            store(positive + kQuad, second);
            store(total, first + windows * load(is_noise));
            store(total + kQuad, second + windows * load(is_noise + kQuad));
            for (int i = 2 * kQuad; i < stride; i += kQuad) {
                store(positive + i, Quad{});
                store(total + i, windows * load(is_noise + i));
            }
            continue;
        }
        for (int i = 0; i < stride; i += kQuad) {
            Quad targets = {}, all = {};
            for (int t = 0; t < plan.centres; ++t) {
                targets += example[t] * load(target[t] + i);
                all += example[t] * load(noise[t] + i);
            }
            store(positive + i, targets);
            store(total + i, all);
        }
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
            block_.output_rows[i] = outputs_.row(steps[begin + i] >> 1);
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
