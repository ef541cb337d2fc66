// Draws from a fixed distribution in constant time: Vose's alias method.
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
    AliasTable(const double* weights, std::size_t size) : slots_(size) {
        double total = 0;
        for (std::size_t i = 0; i < size; ++i) total += weights[i];
        if (!(total > 0) || !std::isfinite(total)) throw std::invalid_argument("the noise distribution has no mass");
        std::vector<double> scaled(size);
        std::vector<std::uint32_t> small, large;
        for (std::size_t i = 0; i < size; ++i) {
            scaled[i] = weights[i] * static_cast<double>(size) / total;
            (scaled[i] < 1 ? small : large).push_back(static_cast<std::uint32_t>(i));
        }
        while (!small.empty() && !large.empty()) {
            const std::uint32_t s = small.back(), l = large.back();
            small.pop_back();
            slots_[s] = {threshold(scaled[s]), l};
            scaled[l] -= 1 - scaled[s];
            if (scaled[l] < 1) {
                large.pop_back();
                small.push_back(l);
            }
        }
        // What is left has mass one up to rounding: such a slot always answers with itself.
        for (const std::uint32_t i : large) slots_[i] = {0xFFFFFFFFu, i};
        for (const std::uint32_t i : small) slots_[i] = {0xFFFFFFFFu, i};
    }

    // Fills drawn[0, count). In two passes, so that the table's cache lines come while other draws are made.
    void draw(Random& random, std::uint32_t* drawn, std::size_t count) const {
        constexpr std::size_t kBatch = 128;
        std::uint64_t bits[kBatch];
        for (std::size_t done = 0; done < count; done += kBatch) {
            const std::size_t batch = count - done < kBatch ? count - done : kBatch;
            for (std::size_t i = 0; i < batch; ++i) {
                bits[i] = random.next();
                __builtin_prefetch(&slots_[slot(bits[i])]);
            }
            for (std::size_t i = 0; i < batch; ++i) {
                const std::uint32_t self = slot(bits[i]);
                const Slot at = slots_[self];
                // No branch: half of the draws would be predicted wrong.
                const std::uint32_t stays = 0u - (static_cast<std::uint32_t>(bits[i]) < at.threshold);
                drawn[done + i] = at.alias ^ ((at.alias ^ self) & stays);
            }
        }
    }

    std::uint32_t size() const { return static_cast<std::uint32_t>(slots_.size()); }

private:
    struct Slot {
        std::uint32_t threshold;
        std::uint32_t alias;
    };
    std::uint32_t slot(std::uint64_t bits) const { return Random::below(static_cast<std::uint32_t>(bits >> 32), size()); }
    static std::uint32_t threshold(double mass) {
        const double scaled = mass * 4294967296.0;
        return scaled >= 4294967295.0 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(scaled);
    }
    std::vector<Slot> slots_;
};

}  // namespace vastmax
