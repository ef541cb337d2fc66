// A hash table from words to consecutive numbers, with counts: the basis of every scan.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace vastmax {

constexpr uint32_t kNoWord = 0xFFFFFFFFu;  // in tables of ids: this word is dropped
constexpr uint64_t kMaxTypes = 0xFFFFFFFEu;

// Bytes that must be readable from the start of every word passed to `key_of`, which always loads sixteen.
constexpr size_t kWordPadding = 16;

// Words of up to sixteen bytes, nearly all of running text, are their own key: a lookup takes one comparison of two
// registers and one cache line. Longer words carry their hash in `low` and are compared in the arena.
struct WordKey {
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t hash = 0;
    const char* begin = nullptr;
    uint32_t length = 0;
};

inline uint64_t multiply_fold(uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t load_u64(const char* p) {
    uint64_t value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

inline uint64_t hash_short(uint64_t low, uint64_t high, uint64_t length) {
    return multiply_fold(low ^ 0xa0761d6478bd642full, high ^ (length * 0x9e3779b97f4a7c15ull) ^ 0xe7037ed1a0b428dbull);
}

uint64_t hash_long(const char* begin, size_t length);

struct KeyMask {
    uint64_t low, high;
};
extern const KeyMask kKeyMasks[17];

// The key of `length` bytes at `begin`; kWordPadding bytes from `begin` on must be readable.
inline WordKey key_of(const char* begin, size_t length) {
    WordKey key;
    key.begin = begin;
    key.length = static_cast<uint32_t>(length);
    if (length <= 16) {
        key.low = load_u64(begin) & kKeyMasks[length].low;
        key.high = load_u64(begin + 8) & kKeyMasks[length].high;
        key.hash = hash_short(key.low, key.high, length);
    } else {
        key.hash = hash_long(begin, length);
        key.low = key.hash;
    }
    return key;
}

// As key_of, for bytes without padding.
WordKey key_of_unpadded(const char* begin, size_t length);

class WordTable {
public:
    WordTable();

    // Number of `key`, which is inserted if new; adds `count` to its count.
    uint32_t add(const WordKey& key, uint64_t count) {
        size_t place = key.hash >> shift_;
        for (;;) {
            Slot& slot = slots_[place];
            if (slot.number == 0) return insert(key, count);
            if (slot.low == key.low && slot.length == key.length &&
                (key.length <= 16 ? slot.high == key.high : same_long(slot, key))) {
                slot.count += count;
                return slot.number - 1;
            }
            place = (place + 1) & mask_;
        }
    }

    // Number of `key`, or kNoWord.
    uint32_t find(const WordKey& key) const;

    void prefetch(const WordKey& key) const { __builtin_prefetch(&slots_[key.hash >> shift_], 1); }

    size_t size() const { return begins_.size() - 1; }
    size_t text_size() const { return arena_.size(); }
    std::string_view word(uint32_t number) const {
        return {arena_.data() + begins_[number], begins_[number + 1] - begins_[number]};
    }
    std::vector<uint64_t> counts() const;

private:
    struct Slot {
        uint64_t low, high;  // longer words: hash, offset of the word in the arena
        uint64_t count;
        uint32_t number;  // plus 1; 0 if empty
        uint32_t length;
    };
    struct Release {
        void operator()(Slot* slots) const;
    };
    using Slots = std::unique_ptr<Slot[], Release>;

    static Slots allocate(size_t count);
    uint32_t insert(const WordKey& key, uint64_t count);
    bool same_long(const Slot& slot, const WordKey& key) const {
        return std::memcmp(arena_.data() + slot.high, key.begin, key.length) == 0;
    }
    void grow();

    Slots slots_;
    size_t mask_;
    int shift_;
    std::vector<char> arena_;       // the words' bytes, concatenated in the order of their numbers
    std::vector<uint64_t> begins_;  // offset of each word, and the end
};

}  // namespace vastmax
