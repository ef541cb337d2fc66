#include "text/ngrams.hpp"

#include <cstring>
#include <string>

namespace vastmax {
namespace {

constexpr uint32_t kSeed = 2166136261u;  // of both hashes

// As in fastText, where a byte is signed.
uint32_t fnv1a(std::string_view text) {
    uint32_t hash = kSeed;
    for (const char byte : text)
        hash = (hash ^ static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(byte)))) * 16777619u;
    return hash;
}

uint64_t rotated(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

// MurmurHash3 x64 128 (Austin Appleby, public domain), the four 32-bit words of its result in memory order.
void murmur3(std::string_view text, uint32_t* words) {
    constexpr uint64_t c1 = 0x87c37b91114253d5u, c2 = 0x4cf5ad432745937fu;
    uint64_t h1 = kSeed, h2 = kSeed;
    const auto first = [](uint64_t k) { return rotated(k * c1, 31) * c2; };
    const auto second = [](uint64_t k) { return rotated(k * c2, 33) * c1; };
    size_t done = 0;
    for (; done + 16 <= text.size(); done += 16) {
        uint64_t k[2];
        std::memcpy(k, text.data() + done, 16);
        h1 = (rotated(h1 ^ first(k[0]), 27) + h2) * 5 + 0x52dce729u;
        h2 = (rotated(h2 ^ second(k[1]), 31) + h1) * 5 + 0x38495ab5u;
    }
    uint64_t k[2] = {};  // the tail, padded with zeros, which do not change the hash
    if (done < text.size()) std::memcpy(k, text.data() + done, text.size() - done);
    h1 ^= first(k[0]);
    h2 ^= second(k[1]);
    h1 ^= text.size();
    h2 ^= text.size();
    h1 += h2;
    h2 += h1;
    h1 = mixed(h1);
    h2 = mixed(h2);
    h1 += h2;
    h2 += h1;
    const uint64_t hashes[2] = {h1, h2};
    std::memcpy(words, hashes, sizeof hashes);
}

bool continues_character(char byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

void append_buckets(std::string_view word, const NgramRule& rule, std::vector<uint32_t>& buckets) {
    std::string marked;
    marked.reserve(word.size() + 2);
    marked.append("<").append(word).append(">");
    const auto append = [&](std::string_view ngram) {
        if (!rule.floret) return buckets.push_back(fnv1a(ngram) % rule.buckets);
        uint32_t hashes[4];
        murmur3(ngram, hashes);
        for (int i = 0; i < rule.hashes; ++i) buckets.push_back(hashes[i] % rule.buckets);
    };
    if (rule.floret) append(marked);
    const size_t size = marked.size();
    for (size_t begin = 0; begin < size; ++begin) {
        if (continues_character(marked[begin])) continue;
        size_t end = begin;
        for (int length = 1; end < size && length <= rule.longest; ++length) {
            for (++end; end < size && continues_character(marked[end]);) ++end;
            const bool lone_mark = length == 1 && (begin == 0 || end == size);
            if (length >= rule.shortest && !lone_mark) append(std::string_view(marked).substr(begin, end - begin));
        }
    }
}

}  // namespace vastmax
