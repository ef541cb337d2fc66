#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in GCC 12's own header
#endif
#include <immintrin.h>

#include "search/scan.inl"

namespace vastmax {
namespace {

constexpr size_t kVectors = kBlockRows / 16;

// Transposes groups of four bytes: sixteen rows become one register for each column of four bytes.
inline void transpose(const __m512i* rows, __m512i* columns) {
    __m512i pairs[16], fours[16];
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; ++j) {
            fours[i + 2 * j] = _mm512_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
            fours[i + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
        }
    // quarter l of fours[4 g + c] holds column c + 4 l of rows 4 g to 4 g + 3
    for (int c = 0; c < 4; ++c) {
        const __m512i low = _mm512_shuffle_i32x4(fours[c], fours[c + 4], 0x88);
        const __m512i high = _mm512_shuffle_i32x4(fours[c], fours[c + 4], 0xdd);
        const __m512i other_low = _mm512_shuffle_i32x4(fours[c + 8], fours[c + 12], 0x88);
        const __m512i other_high = _mm512_shuffle_i32x4(fours[c + 8], fours[c + 12], 0xdd);
        columns[c] = _mm512_shuffle_i32x4(low, other_low, 0x88);
        columns[c + 4] = _mm512_shuffle_i32x4(high, other_high, 0x88);
        columns[c + 8] = _mm512_shuffle_i32x4(low, other_low, 0xdd);
        columns[c + 12] = _mm512_shuffle_i32x4(high, other_high, 0xdd);
    }
}

// Packed layout: for every four codes one register per sixteen rows. The instruction multiplies unsigned by signed
// numbers, so 128 is added to the codes here, and the sums start at minus what that adds.
void pack(const int8_t* const* rows, size_t width, uint8_t* packed) {
    const __m512i shift = _mm512_set1_epi8(-128);
    for (size_t group = 0; group < kVectors; ++group)
        for (size_t i = 0; i < width; i += 64) {
            const size_t left = width - i < 64 ? width - i : 64, taken = (left + 3) / 4;
            const __mmask64 mask = left == 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
            __m512i codes[16], columns[16];
            for (size_t r = 0; r < 16; ++r)
                codes[r] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, rows[16 * group + r] + i), shift);
            transpose(codes, columns);
            auto* out = reinterpret_cast<__m512i*>(packed) + i / 4 * kVectors + group;
            for (size_t column = 0; column < 16; ++column)
                if (column < taken) _mm512_store_si512(out + column * kVectors, columns[column]);
        }
}

template <size_t Count>
inline void tile(const uint8_t* packed, const QueryCodes& queries, size_t first, int32_t* out) {
    __m512i sums[Count][kVectors];
    for (size_t q = 0; q < Count; ++q)
        for (auto& sum : sums[q]) sum = _mm512_set1_epi32(-128 * queries.sums[first + q]);
    const int8_t* query = queries.bytes + first * queries.stride;
    const auto* at = reinterpret_cast<const __m512i*>(packed);
    for (size_t i = 0; i < queries.stride; i += 4, at += kVectors) {
        __m512i rows[kVectors];
        for (size_t v = 0; v < kVectors; ++v) rows[v] = _mm512_load_si512(at + v);
        for (size_t q = 0; q < Count; ++q) {
            int32_t four;
            __builtin_memcpy(&four, query + q * queries.stride + i, sizeof four);
            const __m512i codes = _mm512_set1_epi32(four);
            for (size_t v = 0; v < kVectors; ++v) sums[q][v] = _mm512_dpbusd_epi32(sums[q][v], rows[v], codes);
        }
    }
    for (size_t q = 0; q < Count; ++q)
        for (size_t v = 0; v < kVectors; ++v) _mm512_storeu_si512(out + q * kBlockRows + 16 * v, sums[q][v]);
}

void products(const uint8_t* packed, const QueryCodes& queries, size_t first, size_t count, int32_t* out) {
    if (count == kQueryTile) return tile<kQueryTile>(packed, queries, first, out);
    for (size_t q = 0; q < count; ++q) tile<1>(packed, queries, first + q, out + q * kBlockRows);
}

}  // namespace

extern const ScanKernels kScanVnni;
const ScanKernels kScanVnni = {pack, products, any_reaches};
}  // namespace vastmax
#endif
