// Counts of neighbouring words, and the joining of pairs that form a phrase.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "text/spool.hpp"

namespace vastmax {

constexpr uint32_t kNoSequence = 0xFFFFFFFFu;  // a run of connectors that no known phrase has

// Numbered runs of connector words between the ends of a pair ("of the" in "state of the art"); the empty run is 0.
class Sequences {
public:
    uint32_t extend(uint32_t sequence, uint32_t word);      // adds new runs
    uint32_t find(uint32_t sequence, uint32_t word) const;  // kNoSequence if unknown
    void append_words(uint32_t sequence, std::vector<uint32_t>& words) const;

private:
    struct Link {
        uint32_t before, word;
    };
    std::unordered_map<uint64_t, uint32_t> numbers_;  // (run before, word) -> run
    std::vector<Link> links_{{0, 0}};
};

// Pairs as parallel arrays; the words between the ends of pair i are between[offsets[i]:offsets[i + 1]].
struct Pairs {
    std::vector<uint32_t> first, last, between;
    std::vector<uint64_t> offsets{0};
    std::vector<uint64_t> counts;
};

// All pairs that occur at least `min_count` times, with exact counts, in no particular order. A pair is a word that is
// no connector, any number of connectors, and the next word of the sentence that is no connector. `word_counts` are
// those of the stream.
//
// The stream is read twice. The first pass counts hashes in a table of fixed size, which bounds each pair's count from
// above; the second counts only the pairs whose bound reaches `min_count`, so that memory goes to frequent pairs. With
// a `min_count` of 1 the first pass is skipped.
Pairs count_pairs(const Spool& spool, const int64_t* word_counts, const uint8_t* is_connector, size_t num_words,
                  uint64_t min_count, size_t threads);

// Replaces each pair i, from left to right and in place, by the id joined[i]; a word becomes part of at most one
// phrase. Returns the number of occurrences of each id below `num_words` afterwards.
std::vector<uint64_t> join_pairs(Spool& spool, const Pairs& pairs, const std::vector<uint32_t>& joined,
                                 const uint8_t* is_connector, size_t num_words);

}  // namespace vastmax
