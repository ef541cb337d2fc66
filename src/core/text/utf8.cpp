#include "text/utf8.hpp"

#include <cstring>

namespace vastmax {
namespace {

struct Character {
    int length;  // in bytes; of the ill-formed part if not valid
    bool valid;
};

// Table 3-7 of the Unicode standard: the bytes that may follow each lead byte. An ill-formed part ends before the
// first byte that cannot continue it, as in Python's decoder.
Character character_at(const unsigned char* p, size_t left) {
    const unsigned char lead = p[0];
    if (lead < 0x80) return {1, true};
    if (lead < 0xc2 || lead > 0xf4) return {1, false};
    const int length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    unsigned char low = 0x80, high = 0xbf;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    for (int i = 1; i < length; ++i) {
        if (static_cast<size_t>(i) >= left || p[i] < low || p[i] > high) return {i, false};
        low = 0x80;
        high = 0xbf;
    }
    return {length, true};
}

}  // namespace

bool is_ascii(const char* begin, size_t size) {
    uint64_t seen = 0;
    size_t at = 0;
    for (; at + 32 <= size; at += 32) {
        uint64_t words[4];
        std::memcpy(words, begin + at, sizeof words);
        seen |= words[0] | words[1] | words[2] | words[3];
    }
    for (; at < size; ++at) seen |= static_cast<uint64_t>(begin[at] & 0x80);
    return (seen & 0x8080808080808080ull) == 0;
}

size_t valid_utf8_prefix(const char* begin, size_t size) {
    const auto* p = reinterpret_cast<const unsigned char*>(begin);
    size_t at = 0;
    while (at < size) {
        if (at + 8 <= size) {
            uint64_t eight;
            std::memcpy(&eight, p + at, 8);
            if ((eight & 0x8080808080808080ull) == 0) {
                at += 8;
                continue;
            }
        }
        const Character character = character_at(p + at, size - at);
        if (!character.valid) return at;
        at += static_cast<size_t>(character.length);
    }
    return size;
}

uint64_t replace_invalid_utf8(const char* begin, size_t size, std::vector<char>& out) {
    static const char replacement[3] = {'\xef', '\xbf', '\xbd'};
    uint64_t replaced = 0;
    size_t at = 0;
    for (;;) {
        const size_t valid = valid_utf8_prefix(begin + at, size - at);
        out.insert(out.end(), begin + at, begin + at + valid);
        at += valid;
        if (at == size) return replaced;
        at += static_cast<size_t>(character_at(reinterpret_cast<const unsigned char*>(begin) + at, size - at).length);
        out.insert(out.end(), replacement, replacement + 3);
        ++replaced;
    }
}

}  // namespace vastmax
