// One thread's copies of the output rows that every thread writes at every step: the top of the tree in hierarchical
// softmax, whose nodes come first.
//
// Two threads that step on the same row contend for its cache lines, which costs more than the step itself. The cost
// depends on where the system has placed the threads, and was measured at anything from nothing to half of the speed.
// So a thread works on its copy and exchanges it every few uses: it adds its own changes to the shared row and takes
// over those of other threads. Nothing is lost, changes only arrive later, as in Hogwild itself. Negative sampling
// gains nothing from copies: its threads rarely meet on a row.
#pragma once

#include <algorithm>
#include <vector>

#include "base/races.hpp"
#include "training/matrix.hpp"

namespace vastmax {

class Replicas {
public:
    // Copies of rows [0, count); each is exchanged when it has been used `uses` times.
    Replicas(Matrix& shared, size_t count, int uses)
        : shared_(shared),
          count_(std::min(count, shared.rows())),
          uses_(uses),
          used_(count_),
          own_(count_, shared.dim()),
          base_(count_, shared.dim()) {
        copy();
    }

    // The row to work on.
    float* row(size_t i) {
        if (i >= count_) return shared_.row(i);
        if (used_[i] == uses_) exchange(i);
        // Counted after the exchange, which cannot include what the caller is about to add.
        if (++used_[i] == uses_)
            for (int x = 0; x < shared_.stride(); x += kRowMultiple) __builtin_prefetch(shared_.row(i) + x, 1, 3);
        return own_.row(i);
    }

    void exchange_all() {
        for (size_t i = 0; i < count_; ++i)
            if (used_[i]) exchange(i);
    }

private:
    VASTMAX_RACES void copy() {
        const size_t size = count_ * static_cast<size_t>(shared_.stride());
        for (size_t x = 0; x < size; ++x) own_.data()[x] = base_.data()[x] = shared_.data()[x];
    }

    VASTMAX_RACES void exchange(size_t i) {
        float* shared = shared_.row(i);
        float* own = own_.row(i);
        float* base = base_.row(i);
        for (int x = 0; x < shared_.stride(); ++x) {
            const float merged = shared[x] + (own[x] - base[x]);
            shared[x] = own[x] = base[x] = merged;
        }
        used_[i] = 0;
    }

    Matrix& shared_;
    size_t count_;
    int uses_;
    std::vector<int> used_;
    Matrix own_;
    Matrix base_;  // the copy as it was after the last exchange
};

}  // namespace vastmax
