// From a chunk of the corpus to plans: subsampling, windows, negatives, and fetching the rows of the next plan early.
#include "worker.hpp"

#include <algorithm>
#include <cstring>

namespace vastmax {
namespace {

// The top of the tree: nodes that stay in the cache by themselves, and that threads have copies of.
constexpr std::uint32_t kHotNodes = 256;
// Uses of a hot node, over all threads, between two exchanges: more would let the threads' steps add up to one too long.
constexpr int kUsesOfAllThreads = 32;
constexpr std::size_t kPathsAhead = 8;
constexpr std::size_t kNoiseBatch = 1024;

}  // namespace

Worker::Worker(Trainer& trainer, int threads)
    : trainer_(trainer),
      settings_(trainer.settings_),
      noise_(kNoiseBatch),
      outputs_(trainer.outputs, threads > 1 && !trainer.paths_.empty() ? kHotNodes : 0,
               std::max(1, kUsesOfAllThreads / threads)) {
    const std::size_t dim = static_cast<std::size_t>(trainer.vectors.stride());
    const std::size_t score = (kMaxInputs + kRowMultiple) * kMaxOutputs, gradient = kMaxInputs * dim;
    const std::size_t weights = kMaxInputs * kMaxOutputs, hidden = kMaxCentres * dim;
    const std::size_t sizes[] = {score, gradient, kMaxInputs * kMaxCentres, weights, weights, hidden, hidden, gradient};
    std::size_t total = kRowMultiple;
    for (const std::size_t size : sizes) total += size;
    memory_.assign(total, 0.0f);
    const std::size_t misplaced = reinterpret_cast<std::size_t>(memory_.data()) / sizeof(float) % kRowMultiple;
    float* next = memory_.data() + (kRowMultiple - misplaced) % kRowMultiple;
    float** const parts[] = {&scratch_.score, &scratch_.input_gradient, &windows_, &positive_, &total_, &hidden_, &unused_, &scatter_};
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
        *parts[i] = next;
        next += sizes[i];
    }
}

void Worker::train(std::size_t epoch, std::size_t chunk) {
    const Corpus& corpus = trainer_.corpus_;
    const std::size_t start = chunk * settings_.chunk, size = std::min(settings_.chunk, corpus.size - start);
    Random random(settings_.seed, epoch, chunk);
    subsample(corpus.ids + start, size, random);
    const double position = static_cast<double>(epoch) * static_cast<double>(corpus.size) + static_cast<double>(start);
    const double per_word = kept_.empty() ? 0 : static_cast<double>(size) / static_cast<double>(kept_.size());
    const std::size_t step = static_cast<std::size_t>(settings_.block);
    for (std::size_t i = 0; i < kept_.size(); i += step) {
        rate_ = trainer_.learning_rate(position + static_cast<double>(i) * per_word);
        plan_windows(i, std::min(step, kept_.size() - i), random);
    }
    if (pending_) execute(plans_[current_]);
    pending_ = false;
    outputs_.exchange_all();
}

// Fills kept_ with the words that stay, and sentence_end_ with where their sentences end. Sentences are cut at the chunk.
void Worker::subsample(const std::uint32_t* ids, std::size_t size, Random& random) {
    kept_.resize(size);
    sentence_end_.clear();
    const std::uint32_t* keep = trainer_.corpus_.keep;
    std::size_t count = 0;
    for (std::size_t i = 0; i < size; ++i) {
        if (ids[i] == kEndOfSentence) {
            sentence_end_.push_back(count);
            continue;
        }
        ++statistics_.words;
        kept_[count] = ids[i];
        count += static_cast<std::uint32_t>(random.next() >> 32) <= keep[ids[i]];  // no branch: it would be missed often
    }
    sentence_end_.push_back(count);
    kept_.resize(count);
    sentence_ = 0;
    next_noise_ = noise_.size();  // draws left from the chunk before are not this chunk's
}

// One block of centres and their windows.
void Worker::plan_windows(std::size_t position, std::size_t centres, Random& random) {
    const std::size_t window = static_cast<std::size_t>(settings_.window);
    std::size_t begin[kMaxCentres], end[kMaxCentres], first = kept_.size(), last = 0;
    for (std::size_t t = 0; t < centres; ++t) {
        const std::size_t j = position + t;
        while (j >= sentence_end_[sentence_]) ++sentence_;
        const std::size_t sentence_begin = sentence_ ? sentence_end_[sentence_ - 1] : 0;
        std::size_t width = window;
        if (settings_.shrink_window)
            width = 1 + Random::below(static_cast<std::uint32_t>(random.next() >> 32), static_cast<std::uint32_t>(window));
        begin[t] = j - std::min(width, j - sentence_begin);
        end[t] = std::min(j + width + 1, sentence_end_[sentence_]);
        first = std::min(first, begin[t]);
        last = std::max(last, end[t]);
    }
    // Without sharing every pair is a plan of its own; else the block is one plan.
    const bool pairs = settings_.sharing == Sharing::pair && !settings_.cbow;
    for (std::size_t column = first; column < last;) {
        Plan& plan = plans_[1 - current_];
        const std::size_t begin_column = column, stop = pairs ? column + 1 : last;
        plan.columns = 0;
        for (; column < stop; ++column)
            if (centres > 1 || column != position) plan.context[plan.columns++] = kept_[column];
        if (plan.columns == 0) continue;
        plan.centres = static_cast<int>(centres);
        plan.rate = rate_;
        for (std::size_t t = 0; t < centres; ++t) {
            plan.word[t] = kept_[position + t];
            plan.begin[t] = static_cast<int>(std::max(begin[t], begin_column) - begin_column);
            plan.end[t] = static_cast<int>(std::min(end[t], stop) - begin_column);
            plan.self[t] = static_cast<int>(position + t - begin_column);
        }
        if (centres == 1) plan.begin[0] = 0, plan.end[0] = plan.columns, plan.self[0] = -1;  // the centre is no column
        for (std::size_t t = centres; t < static_cast<std::size_t>(settings_.block); ++t) plan.begin[t] = plan.end[t] = 0;
        if (trainer_.paths_.empty()) {
            draw_negatives(plan, random);
        } else {
            plan.path = trainer_.paths_.offsets[plan.word[0]];
            plan.path_end = trainer_.paths_.offsets[plan.word[0] + 1];
            prefetch_paths(position);
        }
        prefetch(plan);
        if (pending_) execute(plans_[current_]);
        current_ = 1 - current_;
        pending_ = true;
    }
}

void Worker::draw_negatives(Plan& plan, Random& random) {
    const std::size_t count = static_cast<std::size_t>(settings_.drawn);
    if (next_noise_ + count > noise_.size()) {
        trainer_.noise_.draw(random, noise_.data(), noise_.size());
        next_noise_ = 0;
    }
    plan.negatives = settings_.drawn;
    std::copy_n(noise_.data() + next_noise_, count, plan.word + plan.centres);
    std::fill_n(plan.word + plan.centres + count, 4, kEndOfSentence);
    next_noise_ += count;
}

// Asks for the paths of centres to come: first where they lie, then the steps.
void Worker::prefetch_paths(std::size_t position) const {
    const Paths& paths = trainer_.paths_;
    if (position + 2 * kPathsAhead < kept_.size())
        __builtin_prefetch(&paths.offsets[kept_[position + 2 * kPathsAhead]]);
    if (position + kPathsAhead < kept_.size()) {
        const std::uint32_t* steps = paths.steps.data() + paths.offsets[kept_[position + kPathsAhead]];
        __builtin_prefetch(steps);
        __builtin_prefetch(steps + 15);
    }
}

// Lists the plan's rows for the kernels to fetch while they compute the plan before it.
void Worker::prefetch(const Plan& plan) {
    block_.fetches = 0;
    const auto fetch = [this](const float* row) { block_.fetch_rows[block_.fetches++] = row; };
    // The columns of the plan before are in the cache already.
    for (int j = std::max(0, plan.columns - plan.centres - 1); j < plan.columns; ++j)
        fetch(trainer_.vectors.row(plan.context[j]));
    if (trainer_.paths_.empty()) {
        for (int i = 0; i < plan.centres + plan.negatives; ++i) fetch(trainer_.outputs.row(plan.word[i]));
        return;
    }
    const std::int64_t end = std::min<std::int64_t>(plan.path_end, plan.path + kMaxOutputs);
    for (std::int64_t i = plan.path; i < end; ++i) {
        const std::uint32_t node = trainer_.paths_.steps[i] >> 1;
        block_.fetch_rows[block_.fetches] = trainer_.outputs.row(node);
        block_.fetches += node >= kHotNodes;  // no branch: it would be missed often
    }
}

}  // namespace vastmax
