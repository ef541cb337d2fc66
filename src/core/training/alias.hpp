// Draws from a fixed distribution in constant time: Vose's alias method.
//
// A slot takes 8 bytes and a draw one random number, because memory access dominates the cost of a draw: 32 bits
// select the slot and 32 the word in it, so a slot's probability has a relative error of up to V / 2^32. That suffices
// for draws whose probabilities are not used; the table of vastmax.proposals, whose probabilities enter a loss, is
// exact to 62 bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/random.hpp"

namespace vastmax {

class AliasTable {
public:
    AliasTable() = default;

    // weights: non-negative, not all zero, need not sum to one.
    AliasTable(const double* weights, size_t size) : slots_(size) {
        double total = 0;
        for (size_t i = 0; i < size; ++i) total += weights[i];
        if (!(total > 0) || !std::isfinite(total)) throw std::invalid_argument("the noise distribution has no mass");
        std::vector<double> scaled(size);
        std::vector<uint32_t> small, large;
        for (size_t i = 0; i < size; ++i) {
            scaled[i] = weights[i] * static_cast<double>(size) / total;
            (scaled[i] < 1 ? small : large).push_back(static_cast<uint32_t>(i));
        }
        while (!small.empty() && !large.empty()) {
            const uint32_t s = small.back(), l = large.back();
            small.pop_back();
            slots_[s] = {threshold(scaled[s]), l};
            scaled[l] -= 1 - scaled[s];
            if (scaled[l] < 1) {
                large.pop_back();
                small.push_back(l);
            }
        }
        // The remaining slots have mass one up to rounding and always return themselves.
        for (const uint32_t i : large) slots_[i] = {0xFFFFFFFFu, i};
        for (const uint32_t i : small) slots_[i] = {0xFFFFFFFFu, i};
    }

    // Fills drawn[0, count). In two passes, so that the table's cache lines are fetched while other draws are made.
    void draw(Random& random, uint32_t* drawn, size_t count) const {
        uint64_t bits[kBatch];
        for (size_t done = 0; done < count; done += kBatch) {
            const size_t batch = count - done < kBatch ? count - done : kBatch;
            for (size_t i = 0; i < batch; ++i) {
                bits[i] = random.next();
                __builtin_prefetch(&slots_[slot(bits[i])]);
            }
            for (size_t i = 0; i < batch; ++i) {
                const uint32_t self = slot(bits[i]);
                const Slot at = slots_[self];
                // Branch-free: half of the draws would be mispredicted.
                const uint32_t stays = 0u - (static_cast<uint32_t>(bits[i]) < at.threshold);
                drawn[done + i] = at.alias ^ ((at.alias ^ self) & stays);
            }
        }
    }

    uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }

private:
    static constexpr size_t kBatch = 128;
    struct Slot {
        uint32_t threshold;
        uint32_t alias;
    };
    uint32_t slot(uint64_t bits) const { return Random::below(static_cast<uint32_t>(bits >> 32), size()); }
    static uint32_t threshold(double mass) {
        const double scaled = mass * 4294967296.0;
        return scaled >= 4294967295.0 ? 0xFFFFFFFFu : static_cast<uint32_t>(scaled);
    }
    std::vector<Slot> slots_;
};

}  // namespace vastmax
