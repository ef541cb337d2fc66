// The words of a corpus and their counts, from which the vocabulary is chosen. Lists of words are passed as one text,
// joined by U+001F: Python splits or joins a hundred thousand words in a millisecond or two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_table.hpp"

namespace vastmax {

class Lexicon {
public:
    explicit Lexicon(WordTable table) : table_(std::move(table)), counts_(table_.counts()) {}

    size_t size() const { return table_.size(); }
    const std::vector<uint64_t>& counts() const { return counts_; }
    void set_counts(std::vector<uint64_t> counts);
    std::string_view word(uint32_t id) const { return table_.word(id); }

    // The ids of the words of `joined`; new words are added with count zero.
    std::vector<uint32_t> intern(std::string_view joined);

    // The ids of the first `max_size` words that have a count of at least `min_count`, and at least 1, in descending
    // order of count; equal counts are in code-point order, which is also the order of their bytes.
    std::vector<uint32_t> ranked(uint64_t min_count, size_t max_size) const;

    std::string joined(const uint32_t* ids, size_t count) const;
    std::string joined() const;

    // For each word of `joined` its id, or kNoWord.
    std::vector<uint32_t> find(std::string_view joined) const;

    // The lexicon with word i renamed to the i-th word of `joined`; words of the same name are merged. table[i]
    // becomes the new id of word i.
    Lexicon renamed(std::string_view joined, std::vector<uint32_t>& table) const;

private:
    WordTable table_;
    std::vector<uint64_t> counts_;
};

}  // namespace vastmax
