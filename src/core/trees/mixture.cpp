#include "trees/mixture.hpp"

#include <algorithm>
#include <cmath>

#include "base/parallel.hpp"

namespace vastmax {
namespace {

constexpr int64_t kBlock = 256;             // rows summed in float32 before their sum is added in float64
constexpr double kSmallestVariance = 1e-3;  // relative to that of all members: one word alone must not become a point
constexpr double kSettled = 1e-3;           // mean change of responsibilities below which fitting stops
constexpr double kSame = 1e-12;             // squared distances below this share of the squared length are rounding

int64_t num_blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

double sum_lanes(const float (&lanes)[Points::kLanes]) {
    double sum = 0;
    for (float lane : lanes) sum += lane;
    return sum;
}

double squared_distance(const float* a, const float* b, int64_t stride) {
    float lanes[Points::kLanes] = {};
    for (int64_t i = 0; i < stride; i += Points::kLanes)
        for (int64_t lane = 0; lane < Points::kLanes; ++lane) {
            const float difference = a[i + lane] - b[i + lane];
            lanes[lane] += difference * difference;
        }
    return sum_lanes(lanes);
}

double squared_length(const std::vector<double>& x) {
    double sum = 0;
    for (double value : x) sum += value * value;
    return sum;
}

}  // namespace

Points::Points(const float* rows, int64_t num_rows, int64_t dim, size_t threads)
    : num_rows_(num_rows),
      dim_(dim),
      stride_((dim + kLanes - 1) / kLanes * kLanes),
      mean_(dim, 0.0),
      rows_(num_rows * stride_, 0.0f) {
    for (int64_t i = 0; i < num_rows; ++i)
        for (int64_t k = 0; k < dim; ++k) mean_[k] += rows[i * dim + k];
    for (double& value : mean_) value /= static_cast<double>(num_rows);
    parallel_for(num_blocks(num_rows), threads, [&](size_t, size_t block) {
        const int64_t last = std::min<int64_t>(num_rows, (block + 1) * kBlock);
        for (int64_t i = block * kBlock; i < last; ++i)
            for (int64_t k = 0; k < dim; ++k) rows_[i * stride_ + k] = static_cast<float>(rows[i * dim + k] - mean_[k]);
    });
}

// log_ratio = bias + quadratic * |x|^2 + weights . x, with x relative to the centre: one dot product per member.
struct Mixture::Rule {
    double bias, quadratic;
    std::vector<float> weights;

    double operator()(const float* x, const float* centre, double squared) const {
        float lanes[Points::kLanes] = {};
        const int64_t stride = static_cast<int64_t>(weights.size());
        for (int64_t i = 0; i < stride; i += Points::kLanes)
            for (int64_t lane = 0; lane < Points::kLanes; ++lane)
                lanes[lane] += (x[i + lane] - centre[i + lane]) * weights[i + lane];
        return bias + quadratic * squared + sum_lanes(lanes);
    }
};

template <typename Work>
void Mixture::for_blocks(Work&& work) const {
    const int64_t n = static_cast<int64_t>(members_.size());
    parallel_for(num_blocks(n), threads_, [&](size_t, size_t block) {
        work(block, static_cast<int64_t>(block) * kBlock, std::min<int64_t>(n, (block + 1) * kBlock));
    });
}

Mixture::Mixture(const Points& points, const std::vector<int32_t>& members, bool hard, size_t threads)
    : points_(points),
      members_(members),
      hard_(hard),
      threads_(threads),
      centre_(points.stride()),
      squared_(members.size()),
      responsibility_(members.size(), 0.5f) {
    const int64_t stride = points.stride();
    const double n = static_cast<double>(members.size());
    std::vector<std::vector<float>> sums(num_blocks(members.size()));
    for_blocks([&](size_t block, int64_t first, int64_t last) {
        std::vector<float>& sum = sums[block];
        sum.assign(stride, 0.0f);
        for (int64_t i = first; i < last; ++i) {
            const float* x = points_.row(members_[i]);
            for (int64_t k = 0; k < stride; ++k) sum[k] += x[k];
        }
    });
    double length = 0;
    for (int64_t k = 0; k < stride; ++k) {
        double total = 0;
        for (const auto& sum : sums) total += sum[k];
        centre_[k] = static_cast<float>(total / n);
        length += centre_[k] * static_cast<double>(centre_[k]);
    }
    for_blocks([&](size_t, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
            squared_[i] = static_cast<float>(squared_distance(points_.row(members_[i]), centre_.data(), stride));
    });
    for (float squared : squared_) total_squared_ += squared;
    if (total_squared_ > kSame * n * length) variance_ = total_squared_ / (n * static_cast<double>(points.dim()));
}

void Mixture::start(Random& random) {
    const int64_t stride = points_.stride();
    const uint32_t n = static_cast<uint32_t>(members_.size());
    const float* means[2];
    means[0] = points_.row(members_[Random::below(static_cast<uint32_t>(random.next() >> 32), n)]);
    std::vector<double> distance(n);
    for_blocks([&](size_t, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
            distance[i] = squared_distance(points_.row(members_[i]), means[0], stride);
    });
    double total = 0;
    for (double& value : distance) value = total += value;
    const double drawn = random.uniform() * total;
    const auto found = std::upper_bound(distance.begin(), distance.end(), drawn) - distance.begin();
    means[1] = points_.row(members_[std::min<int64_t>(found, n - 1)]);
    for (int part = 0; part < 2; ++part) {
        parts[part] = {std::vector<double>(stride), variance_, 0.5};
        for (int64_t k = 0; k < stride; ++k) parts[part].mean[k] = means[part][k] - static_cast<double>(centre_[k]);
    }
}

Mixture::Rule Mixture::rule() const {
    const auto& [mean, variance, mixing] = parts[0];
    const auto& [other_mean, other_variance, other_mixing] = parts[1];
    Rule rule{0, 0, std::vector<float>(mean.size())};
    if (hard_) {
        rule.bias = (squared_length(other_mean) - squared_length(mean)) / 2;
        for (size_t k = 0; k < mean.size(); ++k) rule.weights[k] = static_cast<float>(mean[k] - other_mean[k]);
        return rule;
    }
    rule.bias = std::log(mixing / other_mixing) -
                static_cast<double>(points_.dim()) / 2 * std::log(variance / other_variance) -
                squared_length(mean) / (2 * variance) + squared_length(other_mean) / (2 * other_variance);
    rule.quadratic = 1 / (2 * other_variance) - 1 / (2 * variance);
    for (size_t k = 0; k < mean.size(); ++k)
        rule.weights[k] = static_cast<float>(mean[k] / variance - other_mean[k] / other_variance);
    return rule;
}

double Mixture::step() {
    const int64_t stride = points_.stride();
    const double n = static_cast<double>(members_.size());
    struct Sums {
        double weight = 0, squared = 0, change = 0;
        std::vector<float> weighted;
    };
    std::vector<Sums> sums(num_blocks(members_.size()));
    const Rule log_ratio = rule();
    for_blocks([&](size_t block, int64_t first, int64_t last) {
        Sums& sum = sums[block];
        sum.weighted.assign(stride, 0.0f);
        for (int64_t i = first; i < last; ++i) {
            const float* x = points_.row(members_[i]);
            const double ratio = log_ratio(x, centre_.data(), squared_[i]);
            const float share = static_cast<float>(hard_ ? ratio > 0 : 1 / (1 + std::exp(-ratio)));
            sum.weight += share;
            sum.squared += static_cast<double>(share) * squared_[i];
            sum.change += std::abs(share - responsibility_[i]);
            responsibility_[i] = share;
            for (int64_t k = 0; k < stride; ++k) sum.weighted[k] += share * (x[k] - centre_[k]);
        }
    });
    Sums all;
    std::vector<double> weighted(stride, 0.0);
    for (const Sums& sum : sums) {
        all.weight += sum.weight;
        all.squared += sum.squared;
        all.change += sum.change;
        for (int64_t k = 0; k < stride; ++k) weighted[k] += sum.weighted[k];
    }
    const double weights[2] = {all.weight, n - all.weight};
    if (std::min(weights[0], weights[1]) < 1e-6 * n) return 0;  // one part has all the weight
    const double squares[2] = {all.squared, total_squared_ - all.squared};
    for (int part = 0; part < 2; ++part) {
        // Relative to their centre the members sum to zero, so the sums of the two parts are opposite.
        for (int64_t k = 0; k < stride; ++k) parts[part].mean[k] = (part ? -weighted[k] : weighted[k]) / weights[part];
        const double around = squares[part] / weights[part] - squared_length(parts[part].mean);
        parts[part].variance = std::max(around / static_cast<double>(points_.dim()), kSmallestVariance * variance_);
        parts[part].mixing = weights[part] / n;
    }
    return all.change / n;
}

void Mixture::fit(Random& random, int iterations) {
    start(random);
    for (int i = 0; i < iterations; ++i)
        if (step() < kSettled && i > 0) break;
}

std::vector<double> Mixture::log_ratios() const {
    std::vector<double> ratios(members_.size());
    const Rule log_ratio = rule();
    for_blocks([&](size_t, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
            ratios[i] = log_ratio(points_.row(members_[i]), centre_.data(), squared_[i]);
    });
    return ratios;
}

}  // namespace vastmax
