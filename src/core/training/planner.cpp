#include "training/planner.hpp"

#include <algorithm>

#include "base/ids.hpp"

namespace vastmax {
namespace {

constexpr size_t kPathsAhead = 8;
constexpr size_t kNoiseBatch = 1024;

}  // namespace

Planner::Planner(const Task& task) : task_(task), random_(0, 0, 0), noise_(kNoiseBatch) {}

void Planner::begin(size_t epoch, size_t chunk) {
    const Corpus& corpus = task_.corpus;
    const size_t start = chunk * task_.settings.chunk, size = std::min(task_.settings.chunk, corpus.size - start);
    random_ = Random(task_.settings.seed, epoch, chunk);
    subsample(corpus.ids + start, size);
    first_id_ = static_cast<double>(epoch) * static_cast<double>(corpus.size) + static_cast<double>(start);
    ids_a_word_ = kept_.empty() ? 0 : static_cast<double>(size) / static_cast<double>(kept_.size());
    next_noise_ = noise_.size();  // discards the draws left from the previous chunk
    sentence_ = position_ = centres_ = column_ = last_column_ = 0;
}

// Fills kept_ with the words that are kept and sentence_end_ with the ends of their sentences. The last sentence ends
// with the chunk.
void Planner::subsample(const uint32_t* ids, size_t size) {
    kept_.resize(size);
    sentence_end_.clear();
    const uint32_t* keep = task_.corpus.keep;
    size_t count = 0;
    for (size_t i = 0; i < size; ++i) {
        if (ids[i] == kEndOfSentence) {
            sentence_end_.push_back(count);
            continue;
        }
        ++words_;
        kept_[count] = ids[i];
        // branch-free: a branch would often be mispredicted
        count += static_cast<uint32_t>(random_.next() >> 32) <= keep[ids[i]];
    }
    sentence_end_.push_back(count);
    kept_.resize(count);
}

bool Planner::next(Plan& plan) {
    do {
        if (column_ == last_column_ && !next_block()) return false;
        plan_columns(plan);
    } while (plan.columns == 0);
    plan.rate = rate_;
    if (task_.paths.empty()) {
        draw_negatives(plan);
    } else {
        plan.path = task_.paths.offsets[plan.word[0]];
        plan.path_end = task_.paths.offsets[plan.word[0] + 1];
        prefetch_paths();
    }
    return true;
}

// Moves on to the next centres and draws their windows; false at the end of the chunk.
bool Planner::next_block() {
    position_ += centres_;
    if (position_ == kept_.size()) return false;
    const Settings& settings = task_.settings;
    const size_t window = static_cast<size_t>(settings.window);
    centres_ = std::min(static_cast<size_t>(settings.block), kept_.size() - position_);
    rate_ = task_.learning_rate(first_id_ + static_cast<double>(position_) * ids_a_word_);
    column_ = kept_.size();
    last_column_ = 0;
    if (!task_.inputs.bags.empty()) prefetch_bags();
    for (size_t t = 0; t < centres_; ++t) {
        const size_t j = position_ + t;
        while (j >= sentence_end_[sentence_]) ++sentence_;
        const size_t sentence_begin = sentence_ ? sentence_end_[sentence_ - 1] : 0;
        size_t width = window;
        if (settings.shrink_window)
            width = 1 + Random::below(static_cast<uint32_t>(random_.next() >> 32), static_cast<uint32_t>(window));
        begin_[t] = j - std::min(width, j - sentence_begin);
        end_[t] = std::min(j + width + 1, sentence_end_[sentence_]);
        column_ = std::min(column_, begin_[t]);
        last_column_ = std::max(last_column_, end_[t]);
    }
    return true;
}

// Plans the next columns of the block, with the windows of its centres. Without sharing every pair is a plan of its
// own; otherwise the block is one plan.
void Planner::plan_columns(Plan& plan) {
    const bool pairs = task_.settings.sharing == Sharing::pair && !task_.settings.cbow;
    const size_t first = column_, stop = pairs ? first + 1 : last_column_;
    plan.columns = 0;
    for (; column_ < stop; ++column_)
        if (centres_ > 1 || column_ != position_) plan.context[plan.columns++] = kept_[column_];
    plan.centres = static_cast<int>(centres_);
    for (size_t t = 0; t < centres_; ++t) {
        plan.word[t] = kept_[position_ + t];
        plan.begin[t] = static_cast<int>(std::max(begin_[t], first) - first);
        plan.end[t] = static_cast<int>(std::min(end_[t], stop) - first);
        plan.self[t] = static_cast<int>(position_ + t - first);
    }
    if (centres_ == 1) plan.begin[0] = 0, plan.end[0] = plan.columns, plan.self[0] = -1;  // the centre has no column
    for (size_t t = centres_; t < static_cast<size_t>(task_.settings.block); ++t) plan.begin[t] = plan.end[t] = 0;
}

void Planner::draw_negatives(Plan& plan) {
    const size_t count = static_cast<size_t>(task_.settings.drawn);
    if (next_noise_ + count > noise_.size()) {
        task_.noise.draw(random_, noise_.data(), noise_.size());
        next_noise_ = 0;
    }
    plan.negatives = task_.settings.drawn;
    std::copy_n(noise_.data() + next_noise_, count, plan.word + plan.centres);
    std::fill_n(plan.word + plan.centres + count, 4, kEndOfSentence);
    next_noise_ += count;
}

// Prefetches the paths of upcoming centres: first their offsets, then their steps.
void Planner::prefetch_paths() const {
    const PackedPaths& paths = task_.paths;
    if (position_ + 2 * kPathsAhead < kept_.size())
        __builtin_prefetch(&paths.offsets[kept_[position_ + 2 * kPathsAhead]]);
    if (position_ + kPathsAhead < kept_.size()) {
        const uint32_t* steps = paths.steps.data() + paths.offsets[kept_[position_ + kPathsAhead]];
        __builtin_prefetch(steps);
        __builtin_prefetch(steps + 15);
    }
}

// Prefetches the bags of words that will soon enter the windows: first their offsets, then their row numbers.
void Planner::prefetch_bags() const {
    const Bags& bags = task_.inputs.bags;
    for (size_t t = 0; t < centres_; ++t) {
        const size_t soon = position_ + static_cast<size_t>(task_.settings.window) + kPathsAhead + t;
        if (soon + kPathsAhead < kept_.size()) __builtin_prefetch(&bags.offsets[kept_[soon + kPathsAhead]]);
        if (soon >= kept_.size()) continue;
        const uint32_t* rows = bags.rows + bags.begin(kept_[soon]);
        __builtin_prefetch(rows);
        __builtin_prefetch(rows + 15);
    }
}

}  // namespace vastmax
