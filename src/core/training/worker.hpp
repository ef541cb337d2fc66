// One thread's part of the training: turns a chunk of the corpus into blocks for the kernels.
#pragma once
#include <vector>

#include "random.hpp"
#include "trainer.hpp"

namespace vastmax {

constexpr int kMaxCentres = 8;

// Columns of a matrix of weights, padded to whole vectors.
inline int padded(int columns) { return (columns + kRowMultiple - 1) / kRowMultiple * kRowMultiple; }

// Consecutive centres with the columns (context positions) of their windows.
struct Plan {
    int centres = 0;
    int columns = 0;
    std::uint32_t centre[kMaxCentres];
    std::uint32_t context[kMaxInputs];                // words of the columns
    int begin[kMaxCentres], end[kMaxCentres], self[kMaxCentres];  // window of each centre, in columns; self is left out
    double rate = 0;
    int negatives = 0;
    std::uint32_t negative[kMaxOutputs];
};

class Worker {
public:
    explicit Worker(Trainer& trainer);
    void train(std::size_t epoch, std::size_t chunk);
    const Statistics& statistics() const { return statistics_; }

private:
    // -- from the chunk to plans (worker.cpp)
    void subsample(const std::uint32_t* ids, std::size_t size, Random& random);
    void plan_windows(std::size_t position, std::size_t centres, Random& random);
    void prefetch(const Plan& plan);

    // -- from a plan to a block (block.cpp)
    void execute(const Plan& plan);
    void fill_window_weights(const Plan& plan);
    void execute_skipgram(const Plan& plan);
    void execute_cbow(const Plan& plan);
    template <class Step>
    void for_outputs(const Plan& plan, const float* weights, int columns, Step&& step);
    template <class Step>
    void for_negative_sampling(const Plan& plan, const float* weights, int columns, Step&& step);
    template <class Step>
    void for_tree_paths(const Plan& plan, const float* weights, int columns, Step&& step);
    void own_weights(int output, int stride);

    Trainer& trainer_;
    const Settings& settings_;
    Statistics statistics_;
    std::vector<std::uint32_t> kept_;        // words of the chunk after subsampling
    std::vector<std::size_t> sentence_end_;  // in kept_
    std::size_t sentence_ = 0;               // of the next centre
    double rate_ = 0;
    Plan plans_[2];
    int current_ = 0;
    bool pending_ = false;

    Block block_;
    Scratch scratch_;
    std::vector<float> memory_;
    float* window_weights_;   // kMaxCentres rows: 1 where the column is in the centre's window
    float* shared_total_;     // one row: weight of a shared negative
    float* zeros_;            // one row
    float* own_positive_;     // kMaxOutputs rows, used where rows of P or A are not shared
    float* own_total_;
    float* hidden_;           // kMaxCentres rows of the padded dimension (CBOW)
    float* scatter_;          // kMaxInputs rows of the padded dimension (CBOW)
};

}  // namespace vastmax
