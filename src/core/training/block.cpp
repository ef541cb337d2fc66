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
void Worker::for_outputs(const Plan& plan, float* examples, Step&& step) {
    if (!trainer_.paths_.empty()) return for_path(plan, step);
    name_targets_and_noise(plan, examples);
    step();
}

// The centres and the shared negatives, each row once. With e_t = 1 where centre t is predicted from an input, n = sum e_t the
// predictions from it and w = negatives / drawn, the input's weights on centre t, drawn c times as a negative too, are
//
//     P = e_t,   A = e_t + w c (n - e_t):
//
// a drawn word is a negative of every prediction but those whose target it is, as in the published code, which skips such a
// draw. On a word that is no centre and was drawn c times, P = 0 and A = w c n.
void Worker::name_targets_and_noise(const Plan& plan, float* examples) {
    const int words = plan.centres + plan.negatives;
    const float weight = static_cast<float>(settings_.negatives) / static_cast<float>(settings_.drawn);
    const bool distinct = distinct_words(plan);
    alignas(16) float drawn[kMaxOutputs] = {};  // w c
    int count = plan.centres;
    for (int t = 0; t < plan.centres; ++t) block_.output_rows[t] = trainer_.outputs.row(plan.word[t]);
    if (distinct) {
        for (; count < words; ++count) {
            block_.output_rows[count] = trainer_.outputs.row(plan.word[count]);
            drawn[count] = weight;
        }
    } else {
        for (int t = 1; t < plan.centres; ++t) {
            const int first = static_cast<int>(std::find(plan.word, plan.word + t, plan.word[t]) - plan.word);
            if (first == t) continue;
            // Two windows of one word: the first row gets both examples; in place of the second stands a row of zeros.
            block_.output_rows[t] = unused_ + t * trainer_.outputs.stride();
            for (int j = 0; j < block_.inputs; ++j) {
                examples[j * kMaxCentres + first] += examples[j * kMaxCentres + t];
                examples[j * kMaxCentres + t] = 0;
            }
        }
        int slot[kMaxOutputs];
        for (int i = 0; i < words; ++i) {
            const int first = static_cast<int>(std::find(plan.word, plan.word + i, plan.word[i]) - plan.word);
            slot[i] = first < i ? slot[first] : i < plan.centres ? i : count;
            if (slot[i] == count) block_.output_rows[count++] = trainer_.outputs.row(plan.word[i]);
            if (i >= plan.centres) drawn[slot[i]] += weight;
        }
    }
    block_.outputs = count;
    const int stride = padded(count);
    const Quad first_own = 1.0f - load(drawn), second_own = 1.0f - load(drawn + kQuad);
    for (int j = 0; j < block_.inputs; ++j) {
        float* positive = positive_ + j * kMaxOutputs;
        float* total = total_ + j * kMaxOutputs;
        block_.positive[j] = positive;
        block_.total[j] = total;
        const float* example = examples + j * kMaxCentres;  // zero past the last centre
        const Quad first = load(example), second = load(example + kQuad), sums = first + second;
        const float predictions = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        store(positive, first);
        store(positive + kQuad, second);
        store(total, first * first_own + predictions * load(drawn));
        store(total + kQuad, second * second_own + predictions * load(drawn + kQuad));
        for (int i = 2 * kQuad; i < stride; i += kQuad) {
            store(positive + i, Quad{});
            store(total + i, predictions * load(drawn + i));
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
