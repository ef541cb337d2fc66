#include "search/scan.inl"

namespace vastmax {
namespace {

constexpr size_t kRows = 16;  // rows whose sums are kept in registers

// Packed layout: groups of sixteen rows; in each, one code of all rows side by side, widened to 16 bits.
void pack(const int8_t* const* rows, size_t width, uint8_t* packed) {
    auto* out = reinterpret_cast<int16_t*>(packed);
    for (size_t group = 0; group < kBlockRows; group += kRows)
        for (size_t i = 0; i < padded(width); ++i)
            for (size_t r = 0; r < kRows; ++r) *out++ = i < width ? rows[group + r][i] : 0;
}

void products(const uint8_t* packed, const QueryCodes& queries, size_t first, size_t count, int32_t* out) {
    const auto* codes = reinterpret_cast<const int16_t*>(packed);
    for (size_t group = 0; group < kBlockRows; group += kRows, codes += kRows * queries.stride)
        for (size_t q = 0; q < count; ++q) {
            const int16_t* query = queries.shorts + (first + q) * queries.stride;
            int32_t sums[kRows] = {};
            for (size_t i = 0; i < queries.stride; ++i)
                for (size_t r = 0; r < kRows; ++r) sums[r] += int32_t{query[i]} * codes[i * kRows + r];
            for (size_t r = 0; r < kRows; ++r) out[q * kBlockRows + group + r] = sums[r];
        }
}

}  // namespace

extern const ScanKernels kScanPlain;
const ScanKernels kScanPlain = {pack, products, any_reaches};
}  // namespace vastmax
