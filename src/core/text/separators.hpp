// Bit masks of the separators of words, 64 bytes at a time: one bit per byte.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace vastmax {

// How a stream of bytes is split into words and sentences.
enum class Mode {
    whitespace,  // words as split by Python's str.split(), one sentence per line
    exact,       // words end at U+001F and sentences at U+001E: the output of a tokeniser in Python
};

constexpr char kWordEnd = '\x1f';
constexpr char kSentenceEnd = '\x1e';

inline bool is_ascii_whitespace(unsigned char c) { return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20); }

template <Mode mode>
inline bool is_separator(char c) {
    return mode == Mode::whitespace ? is_ascii_whitespace(static_cast<unsigned char>(c))
                                    : c == kWordEnd || c == kSentenceEnd;
}

template <Mode mode>
constexpr char sentence_end() {
    return mode == Mode::whitespace ? '\n' : kSentenceEnd;
}

struct ByteMasks {
    uint64_t separator;  // ASCII separators, including sentence ends
    uint64_t sentence_end;
    uint64_t space_lead;  // bytes that may start a non-ASCII whitespace character: C2, E1, E2, E3
};

#if defined(__SSE2__)
template <Mode mode, bool unicode>
inline ByteMasks byte_masks(const char* p) {
    ByteMasks masks{0, 0, 0};
    for (int part = 0; part < 4; ++part) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * part));
        const auto bits = [&](__m128i truth) {
            return static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(truth))) << (16 * part);
        };
        const auto equals = [&](char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
        // Unsigned x - first <= width if the minimum of both is x - first.
        const auto between = [&](char first, char width) {
            const __m128i moved = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
            return _mm_cmpeq_epi8(_mm_min_epu8(moved, _mm_set1_epi8(width)), moved);
        };
        const __m128i end = equals(sentence_end<mode>());
        masks.sentence_end |= bits(end);
        if (mode == Mode::whitespace)
            masks.separator |= bits(_mm_or_si128(between(0x09, 4), between(0x1c, 4)));
        else
            masks.separator |= bits(_mm_or_si128(end, equals(kWordEnd)));
        if (unicode) masks.space_lead |= bits(_mm_or_si128(equals('\xc2'), between('\xe1', 2)));
    }
    return masks;
}
#else
template <Mode mode, bool unicode>
inline ByteMasks byte_masks(const char* p) {
    ByteMasks masks{0, 0, 0};
    for (int i = 0; i < 64; ++i) {
        const auto c = static_cast<unsigned char>(p[i]);
        masks.separator |= static_cast<uint64_t>(is_separator<mode>(p[i])) << i;
        masks.sentence_end |= static_cast<uint64_t>(p[i] == sentence_end<mode>()) << i;
        if (unicode) masks.space_lead |= static_cast<uint64_t>(c == 0xc2 || (c >= 0xe1 && c <= 0xe3)) << i;
    }
    return masks;
}
#endif

// Length in bytes of the non-ASCII whitespace character that starts at `p` (valid UTF-8), or 0: U+0085, U+00A0,
// U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
inline int unicode_space(const char* p) {
    const auto* c = reinterpret_cast<const unsigned char*>(p);
    if (c[0] == 0xc2) return c[1] == 0x85 || c[1] == 0xa0 ? 2 : 0;
    if (c[0] == 0xe1) return c[1] == 0x9a && c[2] == 0x80 ? 3 : 0;
    if (c[0] == 0xe2) {
        if (c[1] == 0x80) return c[2] <= 0x8a || c[2] == 0xa8 || c[2] == 0xa9 || c[2] == 0xaf ? 3 : 0;
        return c[1] == 0x81 && c[2] == 0x9f ? 3 : 0;
    }
    return c[0] == 0xe3 && c[1] == 0x80 && c[2] == 0x80 ? 3 : 0;
}

}  // namespace vastmax
