// Converts bytes to ids: the inner loop of every scan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.hpp"
#include "text/separators.hpp"
#include "text/word_table.hpp"

namespace vastmax {

constexpr size_t kPiecePadding = 64 + kWordPadding;  // readable bytes that must follow a piece

// Looks words up in batches, so that every slot of a batch is prefetched before the first is needed.
class BatchLookup {
public:
    BatchLookup(WordTable& table, std::vector<uint32_t>* ids) : table_(table), ids_(ids) {}

    void add_word(const char* begin, size_t length) {
        WordKey& key = keys_[filled_++];
        key = key_of(begin, length);
        table_.prefetch(key);
    }

    void end_sentence() {
        if (ids_ == nullptr) return;
        if (filled_ == 0) {
            if (!ids_->empty() && ids_->back() == kEndOfSentence) return;
        } else if (keys_[filled_ - 1].length == 0) {
            return;
        }
        keys_[filled_++].length = 0;
    }

    // Keeps room for the words and sentence ends of 64 bytes.
    void flush_if_full() {
        if (filled_ >= kSize - 64) flush();
    }

    void flush() {
        for (size_t i = 0; i < filled_; ++i) {
            if (keys_[i].length == 0) {
                ids_->push_back(kEndOfSentence);
                continue;
            }
            const uint32_t number = table_.add(keys_[i], 1);
            ++words_;
            if (ids_ != nullptr) ids_->push_back(number);
        }
        filled_ = 0;
    }

    uint64_t words() const { return words_; }

private:
    static constexpr size_t kSize = 128;
    WordTable& table_;
    std::vector<uint32_t>* ids_;
    WordKey keys_[kSize];
    size_t filled_ = 0;
    uint64_t words_ = 0;
};

// Counts the words of a piece in `table`, appends their ids to `ids` (null: counts only), and returns their number.
// The piece must end where a word ends and have kPiecePadding readable bytes after it. With `unicode` it must be valid
// UTF-8 and is also split at non-ASCII whitespace.
template <Mode mode, bool unicode>
uint64_t tokenize(const char* begin, size_t size, WordTable& table, std::vector<uint32_t>* ids) {
    BatchLookup lookup(table, ids);
    const char* word = begin;
    uint64_t carried = 0;  // bytes of a whitespace character that began in the previous chunk
    for (size_t base = 0; base < size; base += 64) {
        const char* chunk = begin + base;
        const ByteMasks masks = byte_masks<mode, unicode>(chunk);
        uint64_t separators = masks.separator | carried;
        uint64_t ends = masks.sentence_end;
        carried = 0;
        if (unicode) {
            for (uint64_t leads = masks.space_lead; leads != 0; leads &= leads - 1) {
                const int at = __builtin_ctzll(leads);
                const int length = unicode_space(chunk + at);
                if (length == 0) continue;
                const uint64_t bytes = length == 2 ? 3u : 7u;
                separators |= bytes << at;
                if (at + length > 64) carried = bytes >> (64 - at);
            }
        }
        if (size - base < 64) {
            const uint64_t inside = (1ull << (size - base)) - 1;
            separators &= inside;
            ends &= inside;
        }
        for (; separators != 0; separators &= separators - 1) {
            const int at = __builtin_ctzll(separators);
            const char* stop = chunk + at;
            if (stop > word) lookup.add_word(word, static_cast<size_t>(stop - word));
            if ((ends >> at) & 1) lookup.end_sentence();
            word = stop + 1;
        }
        lookup.flush_if_full();
    }
    if (begin + size > word) lookup.add_word(word, static_cast<size_t>(begin + size - word));
    lookup.flush();
    return lookup.words();
}

}  // namespace vastmax
