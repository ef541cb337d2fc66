#include "text/word_table.hpp"

#include <stdlib.h>

#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vastmax {
namespace {
constexpr size_t kFirstSlots = size_t{1} << 14;
constexpr size_t kHugePage = size_t{1} << 21;

constexpr uint64_t low_bytes(int count) noexcept {
    return count >= 8 ? ~0ull : count <= 0 ? 0ull : (1ull << (8 * count)) - 1;
}

uint64_t load_tail(const char* p, size_t length) {
    uint64_t value = 0;
    std::memcpy(&value, p, length);
    return value;
}
}  // namespace

#define MASK(n) {low_bytes(n), low_bytes((n) - 8)}
const KeyMask kKeyMasks[17] = {MASK(0), MASK(1),  MASK(2),  MASK(3),  MASK(4),  MASK(5),  MASK(6),  MASK(7), MASK(8),
                               MASK(9), MASK(10), MASK(11), MASK(12), MASK(13), MASK(14), MASK(15), MASK(16)};
#undef MASK

uint64_t hash_long(const char* begin, size_t length) {
    uint64_t state = length * 0x9e3779b97f4a7c15ull;
    size_t at = 0;
    for (; at + 16 <= length; at += 16)
        state = multiply_fold(load_u64(begin + at) ^ 0xa0761d6478bd642full,
                              load_u64(begin + at + 8) ^ state ^ 0xe7037ed1a0b428dbull);
    const size_t rest = length - at;
    const uint64_t low = load_tail(begin + at, rest < 8 ? rest : 8);
    const uint64_t high = rest > 8 ? load_tail(begin + at + 8, rest - 8) : 0;
    return multiply_fold(low ^ 0x8ebc6af09c88c6e3ull, high ^ state ^ 0x589965cc75374cc3ull);
}

WordKey key_of_unpadded(const char* begin, size_t length) {
    if (length > 16) return key_of(begin, length);
    char padded[kWordPadding] = {};
    std::memcpy(padded, begin, length);
    const WordKey key = key_of(padded, length);
    return {key.low, key.high, key.hash, begin, key.length};
}

void WordTable::Release::operator()(Slot* slots) const { free(slots); }

WordTable::Slots WordTable::allocate(size_t count) {
    const size_t bytes = count * sizeof(Slot);
    const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    void* memory = nullptr;
    // Not std::aligned_alloc, which macOS lacks before 10.15.
    if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
#if defined(__linux__)
    // Rare words fall anywhere in the table: with small pages each of them would also miss the TLB.
    if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    return Slots(static_cast<Slot*>(memory));
}

WordTable::WordTable() : slots_(allocate(kFirstSlots)), mask_(kFirstSlots - 1), shift_(64 - 14), begins_{0} {}

uint32_t WordTable::find(const WordKey& key) const {
    for (size_t place = key.hash >> shift_;; place = (place + 1) & mask_) {
        const Slot& slot = slots_[place];
        if (slot.number == 0) return kNoWord;
        if (slot.low == key.low && slot.length == key.length &&
            (key.length <= 16 ? slot.high == key.high : same_long(slot, key)))
            return slot.number - 1;
    }
}

uint32_t WordTable::insert(const WordKey& key, uint64_t count) {
    if (size() >= kMaxTypes)
        throw std::length_error("the corpus has more than 4,294,967,294 distinct words: give a smaller one");
    if (2 * (size() + 1) > mask_) grow();
    size_t place = key.hash >> shift_;
    while (slots_[place].number != 0) place = (place + 1) & mask_;
    const auto number = static_cast<uint32_t>(size());
    slots_[place] = {key.low, key.length <= 16 ? key.high : arena_.size(), count, number + 1, key.length};
    arena_.insert(arena_.end(), key.begin, key.begin + key.length);
    begins_.push_back(arena_.size());
    return number;
}

void WordTable::grow() {
    const size_t old_count = mask_ + 1;
    Slots old = std::move(slots_);
    slots_ = allocate(2 * old_count);
    mask_ = 2 * old_count - 1;
    --shift_;
    for (size_t i = 0; i < old_count; ++i) {
        const Slot& slot = old[i];
        if (slot.number == 0) continue;
        const uint64_t hash = slot.length <= 16 ? hash_short(slot.low, slot.high, slot.length) : slot.low;
        size_t place = hash >> shift_;
        while (slots_[place].number != 0) place = (place + 1) & mask_;
        slots_[place] = slot;
    }
}

std::vector<uint64_t> WordTable::counts() const {
    std::vector<uint64_t> result(size());
    for (size_t i = 0; i <= mask_; ++i)
        if (slots_[i].number != 0) result[slots_[i].number - 1] = slots_[i].count;
    return result;
}

}  // namespace vastmax
