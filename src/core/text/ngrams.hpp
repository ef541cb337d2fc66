// Character n-grams of words, and the buckets they are hashed to.
//
// References: Bojanowski, Grave, Joulin, Mikolov, Enriching Word Vectors with Subword Information, 2017,
// https://arxiv.org/abs/1607.04606; floret, https://github.com/explosion/floret.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace vastmax {

struct NgramRule {
    int shortest;  // characters of an n-gram; shortest = longest = 0 for none
    int longest;
    uint32_t buckets;
    int hashes;   // buckets per n-gram, at most 4
    bool floret;  // MurmurHash3, also of the word itself; otherwise FNV-1a as in fastText
};

// Appends the buckets of a word (UTF-8), n-grams in the order of their start, then of their length.
void append_buckets(std::string_view word, const NgramRule& rule, std::vector<uint32_t>& buckets);

}  // namespace vastmax
