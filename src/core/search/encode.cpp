#include <algorithm>
#include <limits>

#include "search/table.hpp"

namespace vastmax {
namespace {

constexpr float kMostCode = 127;

// The scale of a row with this largest magnitude. A scale so small that it has few digits is rounded up, so that every
// code fits; one at which the largest code would overflow to infinity is rounded down.
float scale_of(float largest) {
    float scale = largest / kMostCode;
    if (!(scale * kMostCode >= largest * (1 - 1e-3f))) scale = std::nextafter(scale, largest);
    if (!std::isfinite(scale * kMostCode)) scale = std::nextafter(scale, 0.0f);
    return scale;
}

}  // namespace

float encode_row(const float* row, size_t width, int8_t* codes, float& factor, float& slack) {
    float largest = 0;
    bool finite = true;
    for (size_t i = 0; i < width; ++i) {
        largest = std::max(largest, std::fabs(row[i]));
        finite &= std::isfinite(row[i]);
    }
    if (!finite) return std::numeric_limits<float>::quiet_NaN();
    const float scale = scale_of(largest);
    const double inverse = scale > 0 ? 1 / double{scale} : 0;
    for (size_t i = 0; i < width; ++i)
        codes[i] = static_cast<int8_t>(std::clamp(std::rint(row[i] * inverse), -127.0, 127.0));
    double square = 0, error = 0;
    for (size_t i = 0; i < width; ++i) {
        const double value = row[i], lost = value - double{scale} * codes[i];
        square += value * value;
        error += lost * lost;
    }
    factor = square > 0 ? static_cast<float>(scale / std::sqrt(square)) : 0;
    slack = square > 0 ? static_cast<float>(std::sqrt(error / square)) : 0;
    return scale;
}

}  // namespace vastmax
