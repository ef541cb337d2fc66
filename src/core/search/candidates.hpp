// Rows that may be among the k nearest to one query, given bounds on their cosines.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "search/nearest.hpp"

namespace vastmax {

struct Candidate {
    double lower, upper;  // equal once the cosine is known
    int64_t id;
};

inline bool better(const Candidate& a, const Candidate& b) {
    return a.lower != b.lower ? a.lower > b.lower : a.id < b.id;
}

// Holds at most a fixed number of rows: if bounds cannot separate more, `exact` decides.
class Candidates {
public:
    explicit Candidates(size_t k) : k_(k), room_(k + std::max<size_t>(k / 4, 1024)) {}

    // The k-th greatest lower bound, -inf with fewer than k rows; a row whose upper bound is less is no answer.
    double least() const { return lowers_.size() == k_ ? lowers_.front() : -std::numeric_limits<double>::infinity(); }

    template <typename Exact>
    void offer(const Candidate& row, Exact&& exact) {
        rows_.push_back(row);
        know(row.lower);
        if (rows_.size() < room_) return;
        drop();
        if (rows_.size() > k_ + (room_ - k_) / 2) decide(exact);
    }

    // The k best of the candidates of several threads, with their cosines.
    template <typename Exact>
    static std::vector<Answer> best(const std::vector<Candidates*>& parts, Exact&& exact) {
        Candidates all(parts.front()->k_);
        for (const Candidates* part : parts) {
            all.rows_.insert(all.rows_.end(), part->rows_.begin(), part->rows_.end());
            for (const double lower : part->lowers_) all.know(lower);
        }
        all.drop();
        all.decide(exact);
        std::vector<Answer> answers;
        answers.reserve(all.rows_.size());
        for (const Candidate& row : all.rows_) answers.push_back({row.id, row.lower});
        return answers;
    }

private:
    void know(double lower) {
        if (lowers_.size() == k_) {
            if (lower <= lowers_.front()) return;
            std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
            lowers_.back() = lower;
        } else {
            lowers_.push_back(lower);
        }
        std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    }

    void drop() {
        const double needed = least();
        rows_.erase(
            std::remove_if(rows_.begin(), rows_.end(), [&](const Candidate& row) { return row.upper < needed; }),
            rows_.end());
    }

    // Computes the cosines of all rows, and keeps the k best in order.
    template <typename Exact>
    void decide(Exact&& exact) {
        for (Candidate& row : rows_)
            if (row.lower != row.upper) row.lower = row.upper = exact(row.id);
        const size_t kept = std::min(k_, rows_.size());
        std::partial_sort(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(kept), rows_.end(), better);
        rows_.resize(kept);
        lowers_.clear();
        for (const Candidate& row : rows_) know(row.lower);
    }

    size_t k_, room_;
    std::vector<Candidate> rows_;
    std::vector<double> lowers_;  // min-heap of the k greatest lower bounds
};

}  // namespace vastmax
