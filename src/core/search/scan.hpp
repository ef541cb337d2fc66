// Scalar products of 8-bit codes: blocks of rows against several queries, in whole numbers, the same at every level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/simd.hpp"

namespace vastmax {

constexpr size_t kBlockRows = 64, kQueryTile = 4;
constexpr size_t kMostCodes = 1 << 15;  // of a row: more would not fit the sums

// Codes of n queries, each padded with zeros to a multiple of four.
struct QueryCodes {
    const int8_t* bytes;    // (n, stride), -127 to 127
    const int16_t* shorts;  // the same
    const int32_t* sums;    // (n,)
    size_t stride;
};

constexpr size_t padded(size_t width) { return (width + 3) / 4 * 4; }
// Room for a block of rows, at any level.
constexpr size_t packed_bytes(size_t width) { return kBlockRows * padded(width) * sizeof(int16_t); }

// Compiled once a SIMD level: scan_*.cpp.
struct ScanKernels {
    // Lays out kBlockRows rows for `products`; `packed` begins at a multiple of 64 bytes.
    void (*pack)(const int8_t* const* rows, size_t width, uint8_t* packed);
    // out[q * kBlockRows + r] = query first + q times row r, of at most kQueryTile queries.
    void (*products)(const uint8_t* packed, const QueryCodes& queries, size_t first, size_t count, int32_t* out);
    // Whether products * factors + weight * slacks reaches `least` for any row of a block.
    bool (*any_reaches)(const int32_t* products, const float* factors, const float* slacks, float weight, float least);
};

// Of AVX-512 only its 8-bit products (VNNI) are worth another kernel: where they are missing it is that of AVX2.
const ScanKernels& scan_kernels(Simd level);

}  // namespace vastmax
