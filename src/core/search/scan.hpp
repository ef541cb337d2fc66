// Dot products of 8-bit codes: blocks of rows against several queries, in integers, identical at every SIMD level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/simd.hpp"

namespace vastmax {

constexpr size_t kBlockRows = 64, kQueryTile = 4;
constexpr size_t kMostCodes = 1 << 15;  // per row: sums of more could overflow

// Codes of n queries, each padded with zeros to a multiple of four.
struct QueryCodes {
    const int8_t* bytes;    // (n, stride), -127 to 127
    const int16_t* shorts;  // the same values
    const int32_t* sums;    // (n,)
    size_t stride;
};

constexpr size_t padded(size_t width) { return (width + 3) / 4 * 4; }
// Bytes sufficient for a packed block of rows at any level.
constexpr size_t packed_bytes(size_t width) { return kBlockRows * padded(width) * sizeof(int16_t); }

// Compiled once per SIMD level (scan_*.cpp).
struct ScanKernels {
    // Lays out kBlockRows rows for `products`; `packed` is aligned to 64 bytes.
    void (*pack)(const int8_t* const* rows, size_t width, uint8_t* packed);
    // out[q * kBlockRows + r] = query first + q times row r, for `count` queries, at most kQueryTile.
    void (*products)(const uint8_t* packed, const QueryCodes& queries, size_t first, size_t count, int32_t* out);
    // Whether products * factors + weight * slacks reaches `least` for any row of a block.
    bool (*any_reaches)(const int32_t* products, const float* factors, const float* slacks, float weight, float least);
};

// Of AVX-512 only its 8-bit dot products (VNNI) are worth another kernel; without them the AVX2 kernel is used.
const ScanKernels& scan_kernels(Simd level);

}  // namespace vastmax
