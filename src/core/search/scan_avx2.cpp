#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include "search/scan.inl"

namespace vastmax {
namespace {

constexpr size_t kRows = 16, kHalf = 8;

// Transposes groups of four bytes: eight rows become one register for each column of four bytes.
inline void transpose(const __m256i* rows, __m256i* columns) {
    __m256i pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            fours[i + 2 * j] = _mm256_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
            fours[i + 2 * j + 1] = _mm256_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
        }
    for (int i = 0; i < 4; ++i) {
        columns[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
        columns[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
    }
}

// Packed layout: groups of sixteen rows; in each, pairs of codes of all rows side by side, widened to 16 bits.
void pack(const int8_t* const* rows, size_t width, uint8_t* packed) {
    auto* out = reinterpret_cast<int16_t*>(packed);
    const size_t stride = padded(width);
    for (size_t group = 0; group < kBlockRows; group += kRows, out += kRows * stride) {
        size_t i = 0;
        for (; i + 16 <= width; i += 16)
            for (size_t half = 0; half < kRows; half += kHalf) {
                __m256i codes[8], columns[8];
                for (size_t r = 0; r < kHalf; ++r)
                    codes[r] = _mm256_cvtepi8_epi16(
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[group + half + r] + i)));
                transpose(codes, columns);
                for (size_t pair = 0; pair < 8; ++pair)
                    _mm256_store_si256(reinterpret_cast<__m256i*>(out + (i + 2 * pair) * kRows + 2 * half),
                                       columns[pair]);
            }
        for (; i < stride; ++i)
            for (size_t r = 0; r < kRows; ++r)
                out[(i & ~size_t{1}) * kRows + 2 * r + (i & 1)] = i < width ? rows[group + r][i] : 0;
    }
}

template <size_t Count>
inline void tile(const int16_t* codes, const int16_t* const query, size_t stride, int32_t* out) {
    __m256i sums[Count][2];
    for (auto& of_query : sums) of_query[0] = of_query[1] = _mm256_setzero_si256();
    for (size_t i = 0; i < stride; i += 2) {
        const auto* at = reinterpret_cast<const __m256i*>(codes + i * kRows);
        const __m256i low = _mm256_load_si256(at), high = _mm256_load_si256(at + 1);
        for (size_t q = 0; q < Count; ++q) {
            int32_t two;
            __builtin_memcpy(&two, query + q * stride + i, sizeof two);
            const __m256i pair = _mm256_set1_epi32(two);
            sums[q][0] = _mm256_add_epi32(sums[q][0], _mm256_madd_epi16(low, pair));
            sums[q][1] = _mm256_add_epi32(sums[q][1], _mm256_madd_epi16(high, pair));
        }
    }
    for (size_t q = 0; q < Count; ++q)
        for (size_t half = 0; half < 2; ++half)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + q * kBlockRows + half * kHalf), sums[q][half]);
}

void products(const uint8_t* packed, const QueryCodes& queries, size_t first, size_t count, int32_t* out) {
    const auto* codes = reinterpret_cast<const int16_t*>(packed);
    const int16_t* query = queries.shorts + first * queries.stride;
    for (size_t group = 0; group < kBlockRows; group += kRows, codes += kRows * queries.stride, out += kRows) {
        if (count == kQueryTile) {
            tile<kQueryTile>(codes, query, queries.stride, out);
        } else {
            for (size_t q = 0; q < count; ++q)
                tile<1>(codes, query + q * queries.stride, queries.stride, out + q * kBlockRows);
        }
    }
}

}  // namespace

extern const ScanKernels kScanAvx2;
const ScanKernels kScanAvx2 = {pack, products, any_reaches};
}  // namespace vastmax
#endif
