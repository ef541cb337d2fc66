// Neighbouring words: which are seen together, and the joining of those that are one phrase.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "text/spool.hpp"

namespace vastmax {

constexpr uint32_t kNoSequence = 0xFFFFFFFFu;  // words between that no known phrase has

// Runs of connector words between the two ends of a pair ("of the" in "state of the art"), each with a number; the
// empty run is 0.
class Sequences {
public:
    uint32_t extend(uint32_t sequence, uint32_t word);      // adds what is new
    uint32_t find(uint32_t sequence, uint32_t word) const;  // kNoSequence where it is unknown
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

// Every pair that occurs at least `min_count` times, with its exact count, in no particular order. A pair is a word,
// any number of connectors, and the next word of the sentence that is none; `word_counts` are the stream's.
//
// The stream is read twice. First hashes are counted, which bounds each pair's count from above in a table of fixed
// size; then only pairs whose bound reaches `min_count` are counted for themselves. So memory goes to frequent pairs.
// With a `min_count` of 1 it is read once.
Pairs count_pairs(const Spool& spool, const int64_t* word_counts, const uint8_t* is_connector, size_t num_words,
                  uint64_t min_count, size_t threads);

// Replaces, from left to right, each pair that is listed by its id in `joined`; a word is part of one phrase at most.
// In place; returns how often each id below `num_words` occurs afterwards.
std::vector<uint64_t> join_pairs(Spool& spool, const Pairs& pairs, const std::vector<uint32_t>& joined,
                                 const uint8_t* is_connector, size_t num_words);

}  // namespace vastmax
