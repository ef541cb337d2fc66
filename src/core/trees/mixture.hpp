// A mixture of two spherical Gaussians, or two means, fitted to a subset of the rows of a matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.hpp"

namespace vastmax {

// A copy of a (rows, dim) matrix with its mean subtracted, so that float32 precision is spent on the differences
// between rows. Rows are zero-padded to a multiple of kLanes.
class Points {
public:
    Points(const float* rows, int64_t num_rows, int64_t dim, size_t threads);

    static constexpr int64_t kLanes = 16;
    const float* row(int64_t i) const { return rows_.data() + i * stride_; }
    int64_t size() const { return num_rows_; }
    int64_t dim() const { return dim_; }
    int64_t stride() const { return stride_; }
    const std::vector<double>& mean() const { return mean_; }

private:
    int64_t num_rows_, dim_, stride_;
    std::vector<double> mean_;
    std::vector<float> rows_;
};

struct Gaussian {
    std::vector<double> mean;  // (stride,), relative to the centre of the members
    double variance;           // per coordinate
    double mixing;
};

// Sums are taken over blocks of fixed size and added in order, so that results are the same, bit for bit, with any
// number of threads.
class Mixture {
public:
    Mixture(const Points& points, const std::vector<int32_t>& members, bool hard, size_t threads);

    // Whether all members are equal, so that there is nothing to fit.
    bool flat() const { return variance_ <= 0; }

    // Initialises the means to two members, the second drawn in proportion to its squared distance from the first
    // (Arthur & Vassilvitskii 2007).
    void start(Random& random);

    // One iteration of EM (of Lloyd's algorithm if hard). Returns the mean absolute change of the responsibilities; 0,
    // with `parts` unchanged, if one part has all the weight.
    double step();

    void fit(Random& random, int iterations);

    // log P(first | member) - log P(second | member) under the current parameters.
    std::vector<double> log_ratios() const;

    Gaussian parts[2];
    const std::vector<float>& responsibilities() const { return responsibility_; }  // of part 0, at the last step
    const std::vector<float>& centre() const { return centre_; }

private:
    struct Rule;
    Rule rule() const;
    template <typename Work>
    void for_blocks(Work&& work) const;

    const Points& points_;
    const std::vector<int32_t>& members_;
    bool hard_;
    size_t threads_;
    std::vector<float> centre_;
    std::vector<float> squared_;  // squared distance of every member from the centre
    std::vector<float> responsibility_;
    double total_squared_ = 0;
    double variance_ = 0;
};

}  // namespace vastmax
