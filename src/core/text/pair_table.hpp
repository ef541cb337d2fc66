// A hash table from pairs of words to numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "text/word_table.hpp"

namespace vastmax {

struct PairKey {
    uint32_t first, last;
    uint32_t between;  // number of the run of connectors in `Sequences`

    uint64_t ends() const { return static_cast<uint64_t>(first) << 32 | last; }
    uint64_t hash() const { return multiply_fold(ends() ^ 0xa0761d6478bd642full, between ^ 0xe7037ed1a0b428dbull); }
    bool operator==(const PairKey& other) const {
        return first == other.first && last == other.last && between == other.between;
    }
};

// Open addressing; value 0 means absent.
class PairTable {
public:
    struct Slot {
        PairKey key;
        uint64_t value;
    };

    PairTable() : slots_(size_t{1} << 12), shift_(64 - 12) {}

    // The value of `key`, 0 if it is new; the caller must then set another value before the next call.
    uint64_t& operator[](const PairKey& key) {
        if (2 * size_ >= slots_.size()) grow();
        Slot& slot = slots_[place_of(key)];
        if (slot.value == 0) {
            slot.key = key;
            ++size_;
        }
        return slot.value;
    }

    uint64_t find(const PairKey& key) const { return slots_[place_of(key)].value; }
    void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash >> shift_]); }
    const std::vector<Slot>& slots() const { return slots_; }  // including empty ones

private:
    size_t place_of(const PairKey& key) const {
        size_t place = key.hash() >> shift_;
        while (slots_[place].value != 0 && !(slots_[place].key == key)) place = (place + 1) & (slots_.size() - 1);
        return place;
    }

    void grow() {
        std::vector<Slot> old(2 * slots_.size());
        old.swap(slots_);
        --shift_;
        for (const Slot& slot : old)
            if (slot.value != 0) slots_[place_of(slot.key)] = slot;
    }

    std::vector<Slot> slots_;
    int shift_;
    size_t size_ = 0;
};

}  // namespace vastmax
