#include "training/stepper.hpp"

#include <algorithm>
#include <cstring>

namespace vastmax {
namespace {

// The top of the tree: nodes that stay in the cache without prefetching, and that threads have copies of.
constexpr uint32_t kHotNodes = 256;
// Uses of a hot node, over all threads, between two exchanges. With more, the steps of the threads add up to one that
// is too long.
constexpr int kUsesOfAllThreads = 32;

// Vectors of four lanes, which every processor has, for the code that runs for each column of each block.
typedef float Quad __attribute__((vector_size(16)));
typedef uint32_t WordQuad __attribute__((vector_size(16)));
constexpr int kQuad = 4;
Quad load(const float* p) { return *reinterpret_cast<const Quad*>(p); }
void store(float* p, Quad x) { *reinterpret_cast<Quad*>(p) = x; }
static_assert(kMaxCentres == 2 * kQuad, "the weights of a column's centres are two quads");

// Whether the words of a plan are distinct.
bool distinct_words(const Plan& plan) {
    const int count = plan.centres + plan.negatives;
    const auto* quads = reinterpret_cast<const WordQuad*>(plan.word);
    WordQuad matches = {};  // lanes count down by one for each match
    for (int i = 0; i < count; ++i)
        for (int q = 0; q * kQuad < count; ++q) matches += (WordQuad)(quads[q] == plan.word[i]);
    return matches[0] + matches[1] + matches[2] + matches[3] == 0u - static_cast<uint32_t>(count);
}

}  // namespace

Stepper::Stepper(const Task& task, Matrices& matrices, const Kernels& kernels, int threads)
    : settings_(task.settings),
      paths_(task.paths),
      matrices_(matrices),
      kernels_(kernels),
      inputs_(matrices.vectors, task.inputs, kernels),
      outputs_(matrices.outputs, threads > 1 && !task.paths.empty() ? kHotNodes : 0,
               std::max(1, kUsesOfAllThreads / threads)) {
    const size_t dim = static_cast<size_t>(matrices.vectors.stride());
    const size_t score = (kMaxInputs + kRowMultiple) * kMaxOutputs, gradient = kMaxInputs * dim;
    const size_t weights = kMaxInputs * kMaxOutputs, hidden = kMaxCentres * dim;
    const size_t sizes[] = {score, gradient, kMaxInputs * kMaxCentres, weights, weights, hidden, hidden, gradient};
    size_t total = kRowMultiple;
    for (const size_t size : sizes) total += size;
    memory_.assign(total, 0.0f);
    const size_t misplaced = reinterpret_cast<size_t>(memory_.data()) / sizeof(float) % kRowMultiple;
    float* next = memory_.data() + (kRowMultiple - misplaced) % kRowMultiple;
    float** const parts[] = {
        &scratch_.score, &scratch_.input_gradient, &windows_, &positive_, &total_, &hidden_, &unused_, &scatter_};
    for (size_t i = 0; i < std::size(sizes); ++i) {
        *parts[i] = next;
        next += sizes[i];
    }
}

void Stepper::step(const Plan& plan, const Plan* next) {
    block_.fetches = 0;
    if (next) prefetch(*next);
    if (settings_.cbow || paths_.empty()) fill_windows(plan);  // a path is predicted from every column
    settings_.cbow ? step_cbow(plan) : step_skipgram(plan);
}

// Lists the plan's rows, which the kernels prefetch while they compute the previous plan.
void Stepper::prefetch(const Plan& plan) {
    const auto fetch = [this](const float* row) { block_.fetch_rows[block_.fetches++] = row; };
    // The columns of the previous plan are in the cache already. Bags are not prefetched: gathering waits for no
    // single row.
    if (inputs_.plain())
        for (int j = std::max(0, plan.columns - plan.centres - 1); j < plan.columns; ++j)
            fetch(matrices_.vectors.row(plan.context[j]));
    if (paths_.empty()) {
        for (int i = 0; i < plan.centres + plan.negatives; ++i) fetch(matrices_.outputs.row(plan.word[i]));
        return;
    }
    const int64_t end = std::min<int64_t>(plan.path_end, plan.path + kMaxOutputs);
    for (int64_t i = plan.path; i < end; ++i) {
        const uint32_t node = paths_.steps[i] >> 1;
        block_.fetch_rows[block_.fetches] = matrices_.outputs.row(node);
        block_.fetches += node >= kHotNodes;  // branch-free: a branch would often be mispredicted
    }
}

// windows_[j][t] = 1 if column j is in the window of centre t.
void Stepper::fill_windows(const Plan& plan) {
    for (int j = 0; j < plan.columns; ++j)
        for (int t = 0; t < kMaxCentres; ++t) windows_[j * kMaxCentres + t] = static_cast<float>(plan.in_window(j, t));
}

void Stepper::step_skipgram(const Plan& plan) {
    const int dim = matrices_.vectors.stride();
    block_.inputs = plan.columns;
    inputs_.take(plan.context, plan.columns, block_.input_rows);
    for (int t = 0; t < plan.centres; ++t)
        examples_ += static_cast<uint64_t>(plan.end[t] - plan.begin[t] -
                                           (plan.self[t] >= plan.begin[t] && plan.self[t] < plan.end[t]));
    for_outputs(plan, windows_, [&] { loss_ += kernels_.step(block_, dim, static_cast<float>(plan.rate), scratch_); });
}

// h_t = sum or mean of the rows in window t. The hidden vectors are the input rows of every output, and their gradient
// goes back to the context rows, divided by the window's size or not.
void Stepper::step_cbow(const Plan& plan) {
    const int dim = matrices_.vectors.stride();
    alignas(16) float examples[kMaxCentres * kMaxCentres] = {};  // [t][t] = 1 if window t is not empty
    float size[kMaxCentres] = {}, inverse[kMaxCentres];
    float* context[kMaxInputs];
    inputs_.take(plan.context, plan.columns, context);
    for (int j = 0; j < plan.columns; ++j)
        for (int t = 0; t < kMaxCentres; ++t) size[t] += windows_[j * kMaxCentres + t];
    int windows = 0;
    for (int t = 0; t < kMaxCentres; ++t) {
        windows += size[t] > 0;
        inverse[t] = size[t] > 0 ? 1.0f / size[t] : 0.0f;
        examples[t * kMaxCentres + t] = size[t] > 0 ? 1.0f : 0.0f;
        block_.input_rows[t] = hidden_ + t * dim;
    }
    if (windows == 0) return;
    examples_ += static_cast<uint64_t>(windows);
    const auto divide = [&](const float* by) {
        for (int j = 0; j < plan.columns; ++j)
            for (int t = 0; t < kMaxCentres; ++t) windows_[j * kMaxCentres + t] *= by[t];
    };
    if (settings_.cbow_mean) divide(inverse);
    kernels_.combine(block_.input_rows, plan.centres, context, plan.columns, windows_, kMaxCentres, 1, dim);
    if (settings_.cbow_mean != settings_.cbow_divides) divide(settings_.cbow_divides ? inverse : size);
    block_.inputs = plan.centres;
    for_outputs(plan, examples, [&] {
        loss_ += kernels_.step_outputs(block_, dim, static_cast<float>(plan.rate), scratch_);
        const float* gradient[kMaxCentres];
        float* scatter[kMaxInputs];
        for (int t = 0; t < plan.centres; ++t) gradient[t] = scratch_.input_gradient + t * dim;
        for (int j = 0; j < plan.columns; ++j) scatter[j] = scatter_ + j * dim;
        kernels_.combine(scatter, plan.columns, gradient, plan.centres, windows_, 1, kMaxCentres, dim);
        kernels_.add_rows(context, plan.columns, scatter_, dim);
    });
}

// Sets the output rows of the plan and their weights, and calls `step`. examples[j][t] is 1 if centre t is predicted
// from input row j.
template <typename Step>
void Stepper::for_outputs(const Plan& plan, float* examples, Step&& step) {
    if (!paths_.empty()) return for_path(plan, step);
    name_targets_and_noise(plan, examples);
    step();
}

// Sets the output rows to the centres and the shared negatives, each row once. Let e_t = 1 if centre t is predicted
// from an input, n = sum e_t, the number of predictions from it, and w = negatives / drawn. If centre t was also drawn
// c times as a negative, the input's weights on it are
//
//     P = e_t,   A = e_t + w c (n - e_t):
//
// a drawn word is a negative of every prediction except those whose target it is, as in the published code, which
// skips such a draw. For a word that is no centre and was drawn c times, P = 0 and A = w c n.
void Stepper::name_targets_and_noise(const Plan& plan, float* examples) {
    const int words = plan.centres + plan.negatives;
    const float weight = static_cast<float>(settings_.negatives) / static_cast<float>(settings_.drawn);
    const bool distinct = distinct_words(plan);
    alignas(16) float drawn[kMaxOutputs] = {};  // w c
    int count = plan.centres;
    for (int t = 0; t < plan.centres; ++t) block_.output_rows[t] = matrices_.outputs.row(plan.word[t]);
    if (distinct) {
        for (; count < words; ++count) {
            block_.output_rows[count] = matrices_.outputs.row(plan.word[count]);
            drawn[count] = weight;
        }
    } else {
        for (int t = 1; t < plan.centres; ++t) {
            const int first = static_cast<int>(std::find(plan.word, plan.word + t, plan.word[t]) - plan.word);
            if (first == t) continue;
            // Two centres of the same word: the first row gets both examples, and a row of zeros replaces the second.
            block_.output_rows[t] = unused_ + t * matrices_.outputs.stride();
            for (int j = 0; j < block_.inputs; ++j) {
                examples[j * kMaxCentres + first] += examples[j * kMaxCentres + t];
                examples[j * kMaxCentres + t] = 0;
            }
        }
        int slot[kMaxOutputs];
        for (int i = 0; i < words; ++i) {
            const int first = static_cast<int>(std::find(plan.word, plan.word + i, plan.word[i]) - plan.word);
            slot[i] = first < i ? slot[first] : i < plan.centres ? i : count;
            if (slot[i] == count) block_.output_rows[count++] = matrices_.outputs.row(plan.word[i]);
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

// Sets the output rows to the inner nodes on the path of the plan's only centre, which is predicted from every input
// row, and calls `step`. A path with more nodes than a block has rows is stepped in parts.
template <typename Step>
void Stepper::for_path(const Plan& plan, Step&& step) {
    const uint32_t* steps = paths_.steps.data();
    for (int64_t begin = plan.path; begin < plan.path_end; begin += kMaxOutputs) {
        const int count = static_cast<int>(std::min<int64_t>(plan.path_end - begin, kMaxOutputs));
        std::memset(positive_, 0, sizeof(float) * static_cast<size_t>(padded(count)));
        std::memset(total_, 0, sizeof(float) * static_cast<size_t>(padded(count)));
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
