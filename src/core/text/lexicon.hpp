// The words of a corpus and their counts, for the vocabulary to be chosen from. Lists of words travel as one text,
// U+001F between words: Python splits or joins a hundred thousand in a millisecond or two.
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

    // Ids of `joined` words, added with count zero where they are new.
    std::vector<uint32_t> intern(std::string_view joined);

    // Ids of the words with a count of at least `min_count`, in falling order of count, equal counts in the order of
    // their code points (which is the order of their bytes), the first `max_size` of them.
    std::vector<uint32_t> ranked(uint64_t min_count, size_t max_size) const;

    std::string joined(const uint32_t* ids, size_t count) const;
    std::string joined() const;

    // For each of `joined` words its id or kNoWord.
    std::vector<uint32_t> find(std::string_view joined) const;

    // The lexicon in which word i is called by the i-th of `joined`, words of one name merged; table[i] is its new id.
    Lexicon renamed(std::string_view joined, std::vector<uint32_t>& table) const;

private:
    WordTable table_;
    std::vector<uint64_t> counts_;
};

}  // namespace vastmax
