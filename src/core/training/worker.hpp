// One thread's part of the training: turns a chunk of the corpus into blocks for the kernels.
#pragma once
#include <vector>

#include "random.hpp"
#include "replicas.hpp"
#include "trainer.hpp"

namespace vastmax {

constexpr int kMaxCentres = 8;

// Consecutive centres with the columns (context positions) of their windows.
struct Plan {
    int centres = 0;
    int columns = 0;
    int negatives = 0;
    alignas(16) std::uint32_t word[kMaxOutputs + 4];  // the centres, then the negatives; kEndOfSentence behind them
    std::uint32_t context[kMaxInputs];                // words of the columns
    // The window of each centre, in columns, and the column that is the centre itself and no context. Centres past the last
    // have empty windows.
    int begin[kMaxCentres] = {}, end[kMaxCentres] = {}, self[kMaxCentres] = {};
    std::int64_t path = 0;  // of the centre (hierarchical softmax)
    std::int64_t path_end = 0;
    double rate = 0;
};

class Worker {
public:
    Worker(Trainer& trainer, int threads);
    void train(std::size_t epoch, std::size_t chunk);
    const Statistics& statistics() const { return statistics_; }

private:
    // -- from the chunk to plans (worker.cpp)
    void subsample(const std::uint32_t* ids, std::size_t size, Random& random);
    void plan_windows(std::size_t position, std::size_t centres, Random& random);
    void draw_negatives(Plan& plan, Random& random);
    void prefetch_paths(std::size_t position) const;
    void prefetch(const Plan& plan);

    // -- from a plan to a block (block.cpp)
    void execute(const Plan& plan);
    void fill_windows(const Plan& plan);
    void execute_skipgram(const Plan& plan);
    void execute_cbow(const Plan& plan);
    template <class Step>
    void for_outputs(const Plan& plan, float* examples, Step&& step);
    void name_targets_and_noise(const Plan& plan, float* examples);
    template <class Step>
    void for_path(const Plan& plan, Step&& step);

    Trainer& trainer_;
    const Settings& settings_;
    Statistics statistics_;
    std::vector<std::uint32_t> kept_;        // words of the chunk after subsampling
    std::vector<std::size_t> sentence_end_;  // in kept_
    std::size_t sentence_ = 0;               // of the next centre
    double rate_ = 0;
    std::vector<std::uint32_t> noise_;       // drawn ahead
    std::size_t next_noise_ = 0;
    Plan plans_[2];
    int current_ = 0;
    bool pending_ = false;

    Replicas outputs_;
    Block block_;
    Scratch scratch_;
    std::vector<float> memory_;
    float* windows_;   // kMaxInputs rows of kMaxCentres: 1 where column j is in the window of centre t
    float* positive_;  // kMaxInputs rows of kMaxOutputs
    float* total_;     // kMaxInputs rows of kMaxOutputs
    float* hidden_;    // kMaxCentres rows of the padded dimension (CBOW)
    float* unused_;    // kMaxCentres rows of zeros, which stand where a block has no output row
    float* scatter_;   // kMaxInputs rows of the padded dimension (CBOW)
};

}  // namespace vastmax
