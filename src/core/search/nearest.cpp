#include "search/nearest.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/parallel.hpp"
#include "search/candidates.hpp"

namespace vastmax {
namespace {

constexpr size_t kBlocksAtATime = 32;
constexpr double kRounding = 1e-6;  // exceeds the error of a bound in single precision

// Queries as codes, and the error of each.
class Coded {
public:
    Coded(const Asked& asked, size_t width)
        : stride_(padded(width)),
          bytes_(asked.count * stride_),
          shorts_(asked.count * stride_),
          sums_(asked.count),
          scales(asked.count),
          errors(asked.count) {
        for (size_t n = 0; n < asked.count; ++n) {
            const double* query = asked.queries + n * width;
            double largest = 0, square = 0;
            for (size_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(query[i]));
            scales[n] = largest / 127;
            for (size_t i = 0; i < width; ++i) {
                const double code = largest > 0 ? std::rint(query[i] / scales[n]) : 0;
                const double lost = query[i] - scales[n] * code;
                square += lost * lost;
                bytes_[n * stride_ + i] = static_cast<int8_t>(code);
                shorts_[n * stride_ + i] = static_cast<int16_t>(code);
                sums_[n] += static_cast<int32_t>(code);
            }
            errors[n] = std::sqrt(square) + kRounding;
        }
    }

    QueryCodes codes() const { return {bytes_.data(), shorts_.data(), sums_.data(), stride_}; }

private:
    size_t stride_;
    std::vector<int8_t> bytes_;
    std::vector<int16_t> shorts_;
    std::vector<int32_t> sums_;

public:
    std::vector<double> scales, errors;  // t and |f| + kRounding
};

// The cosine of a unit query with a row, in double precision, summed in the same order on every processor.
template <typename Read>
double cosine(const double* query, size_t width, Read&& read) {
    constexpr size_t lanes = 8;
    double dots[lanes] = {}, squares[lanes] = {};
    size_t i = 0;
    const auto add = [&](size_t lane) {
        const double value = read(i + lane);
        dots[lane] += query[i + lane] * value;
        squares[lane] += value * value;
    };
    for (; i + lanes <= width; i += lanes)
        for (size_t lane = 0; lane < lanes; ++lane) add(lane);
    for (size_t lane = 0; i + lane < width; ++lane) add(lane);
    for (size_t half = lanes / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; ++lane) {
            dots[lane] += dots[lane + half];
            squares[lane] += squares[lane + half];
        }
    return squares[0] > 0 ? std::clamp(dots[0] / std::sqrt(squares[0]), -1.0, 1.0) : 0;
}

double cosine(const double* query, const Vectors& vectors, size_t id, size_t width) {
    const size_t start = id * vectors.stride;
    if (vectors.floats) return cosine(query, width, [row = vectors.floats + start](size_t i) { return row[i]; });
    if (vectors.halves)
        return cosine(query, width, [row = vectors.halves + start](size_t i) { return from_half(row[i]); });
    return cosine(query, width, [row = vectors.codes + start, scale = vectors.scales[id]](size_t i) {
        return scale * static_cast<float>(row[i]);
    });
}

// The state of one thread: each query's candidates, and the threshold for products.
class Worker {
public:
    Worker(const CodedRows& rows, const Vectors& vectors, const Asked& asked, const Coded& coded,
           const ScanKernels& kernels)
        : rows_(rows),
          vectors_(vectors),
          asked_(asked),
          coded_(coded),
          kernels_(kernels),
          room_(packed_bytes(rows.width) + 63),
          none_(rows.width),
          weights_(asked.count),
          least_(asked.count, -std::numeric_limits<float>::infinity()),
          best(asked.count, Candidates(asked.k)) {
        packed_ = room_.data() + (-reinterpret_cast<uintptr_t>(room_.data()) & 63);
        for (size_t n = 0; n < asked.count; ++n) weights_[n] = static_cast<float>((1 + coded.errors[n]) / scale(n));
    }

    // Scans a block of rows, starting at position `first` of the rows asked about.
    void scan(size_t first) {
        first_ = first;
        const size_t count = std::min(kBlockRows, asked_.rows - first);
        const float* factors = rows_.factors + first;
        const float* slacks = rows_.slacks ? rows_.slacks + first : zeros_;
        if (count == kBlockRows && !asked_.among) {
            for (size_t r = 0; r < kBlockRows; ++r) codes_[r] = rows_.codes + (first + r) * rows_.width;
        } else {
            for (size_t r = 0; r < kBlockRows; ++r) {
                const bool there = r < count;
                const size_t row = there ? static_cast<size_t>(id(r)) : 0;
                codes_[r] = there ? rows_.codes + row * rows_.width : none_.data();
                factors_[r] = there ? rows_.factors[row] : 0;
                slacks_[r] = there && rows_.slacks ? rows_.slacks[row] : 0;
            }
            factors = factors_;
            slacks = slacks_;
        }
        kernels_.pack(codes_, rows_.width, packed_);
        const QueryCodes codes = coded_.codes();
        for (size_t n = 0; n < asked_.count; n += kQueryTile) {
            const size_t together = std::min(kQueryTile, asked_.count - n);
            kernels_.products(packed_, codes, n, together, products_);
            for (size_t q = 0; q < together; ++q) {
                const int32_t* products = products_ + q * kBlockRows;
                if (kernels_.any_reaches(products, factors, slacks, weights_[n + q], least_[n + q]))
                    take(n + q, products, factors, slacks, count);
            }
        }
    }

private:
    // The id of a row of the block.
    int64_t id(size_t r) const { return asked_.among ? asked_.among[first_ + r] : static_cast<int64_t>(first_ + r); }

    double scale(size_t n) const { return std::max(coded_.scales[n], 1e-30); }  // of a zero query: any number > 0

    void take(size_t n, const int32_t* products, const float* factors, const float* slacks, size_t count) {
        const double error = coded_.errors[n];
        const int64_t* const from = asked_.exclude + asked_.exclude_from[n];
        const int64_t* const to = asked_.exclude + asked_.exclude_from[n + 1];
        double least = best[n].least();
        for (size_t r = 0; r < count; ++r) {
            const double about = coded_.scales[n] * products[r] * double{factors[r]};
            const double bound = error + (1 + error) * slacks[r];
            if (about + bound < least || std::binary_search(from, to, id(r))) continue;
            best[n].offer({about - bound, about + bound, id(r)}, [&](int64_t id) {
                return cosine(asked_.queries + n * rows_.width, vectors_, static_cast<size_t>(id), rows_.width);
            });
            least = best[n].least();
        }
        least_[n] = static_cast<float>((least - error - kRounding) / scale(n));
    }

    const CodedRows& rows_;
    const Vectors& vectors_;
    const Asked& asked_;
    const Coded& coded_;
    const ScanKernels& kernels_;
    std::vector<uint8_t> room_;
    std::vector<int8_t> none_;  // a row of zeros
    uint8_t* packed_;
    std::vector<float> weights_, least_;
    size_t first_ = 0;
    const int8_t* codes_[kBlockRows];
    float factors_[kBlockRows], slacks_[kBlockRows], zeros_[kBlockRows] = {};
    int32_t products_[kQueryTile * kBlockRows];

public:
    std::vector<Candidates> best;
};

}  // namespace

std::vector<std::vector<Answer>> nearest(const CodedRows& rows, const Vectors& vectors, const Asked& asked,
                                         const ScanKernels& kernels, size_t threads) {
    const Coded coded(asked, rows.width);
    const size_t blocks = (asked.rows + kBlockRows - 1) / kBlockRows;
    const size_t chunks = (blocks + kBlocksAtATime - 1) / kBlocksAtATime;
    std::vector<std::unique_ptr<Worker>> workers(std::max<size_t>(1, std::min(threads, chunks)));
    parallel_for(chunks, workers.size(), [&](size_t number, size_t chunk) {
        auto& worker = workers[number];
        if (!worker) worker = std::make_unique<Worker>(rows, vectors, asked, coded, kernels);
        for (size_t block = chunk * kBlocksAtATime; block < std::min(blocks, (chunk + 1) * kBlocksAtATime); ++block)
            worker->scan(block * kBlockRows);
    });
    std::vector<std::vector<Answer>> answers(asked.count);
    parallel_for(asked.count, threads, [&](size_t, size_t n) {
        std::vector<Candidates*> parts;
        for (const auto& worker : workers)
            if (worker) parts.push_back(&worker->best[n]);
        if (parts.empty()) return;
        answers[n] = Candidates::best(parts, [&](int64_t id) {
            return cosine(asked.queries + n * rows.width, vectors, static_cast<size_t>(id), rows.width);
        });
    });
    return answers;
}

}  // namespace vastmax
