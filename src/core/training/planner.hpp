// Turns a chunk of the corpus into plans: subsampling, windows, negatives and the learning rate.
//
// All random numbers of training are drawn here, from (seed, epoch, chunk).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.hpp"
#include "training/plan.hpp"
#include "training/task.hpp"

namespace vastmax {

// The planner of one thread; the task must outlive it.
class Planner {
public:
    explicit Planner(const Task& task);

    void begin(size_t epoch, size_t chunk);

    // Fills in the next plan of the chunk; false if there is none.
    bool next(Plan& plan);

    uint64_t words() const { return words_; }  // before subsampling, in all chunks begun

private:
    void subsample(const uint32_t* ids, size_t size);
    bool next_block();
    void plan_columns(Plan& plan);
    void draw_negatives(Plan& plan);
    void prefetch_paths() const;
    void prefetch_bags() const;

    const Task& task_;
    Random random_;
    uint64_t words_ = 0;
    // -- of the chunk
    std::vector<uint32_t> kept_;        // its words after subsampling
    std::vector<size_t> sentence_end_;  // in kept_
    double first_id_ = 0;               // where it starts, in ids over all epochs
    double ids_a_word_ = 0;             // corpus ids per word kept
    std::vector<uint32_t> noise_;       // drawn ahead
    size_t next_noise_ = 0;
    // -- of the block of centres that is being planned; positions are those in kept_
    size_t sentence_ = 0;  // of the next centre
    size_t position_ = 0;  // of the first centre
    size_t centres_ = 0;
    size_t begin_[kMaxCentres], end_[kMaxCentres];  // windows
    size_t column_ = 0, last_column_ = 0;           // columns not planned yet
    double rate_ = 0;
};

}  // namespace vastmax
