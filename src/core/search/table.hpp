// Rows to search: 8-bit codes, the sizes of their errors, and the vectors that decide.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vastmax {

inline float from_half(uint16_t bits) {
    const uint32_t sign = uint32_t{bits} >> 15 << 31, exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    if (exponent == 0) return std::copysign(static_cast<float>(fraction) * 0x1p-24f, sign ? -1.0f : 1.0f);
    const uint32_t wide = sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

// The vectors, of one of three kinds; rows are `stride` numbers apart.
struct Vectors {
    const float* floats = nullptr;
    const uint16_t* halves = nullptr;
    const int8_t* codes = nullptr;  // times the scale of their row
    const float* scales = nullptr;
    size_t stride = 0;
};

// For every row v = s c + e: codes c (V, d), factors s / |v| and slacks |e| / |v| (V,); both are 0 for a zero vector.
struct CodedRows {
    const int8_t* codes;
    const float* factors;
    const float* slacks;  // may be null: all 0
    size_t size, width;
};

// Encodes one row by rounding to the nearest multiples of its scale. Sets its factor and slack and returns the scale,
// or NaN if the row is not finite.
float encode_row(const float* row, size_t width, int8_t* codes, float& factor, float& slack);

}  // namespace vastmax
