// Code that the compiler vectorises by itself. Included by scan_*.cpp, compiled with that level's flags. Everything is
// in an anonymous namespace and nothing from the standard library is instantiated here, so that the linker cannot hand
// this level's code to another processor.
#include "search/scan.hpp"

namespace vastmax {
namespace {

bool any_reaches(const int32_t* __restrict products, const float* __restrict factors, const float* __restrict slacks,
                 float weight, float least) {
    int32_t found = 0;
    for (size_t i = 0; i < kBlockRows; ++i)
        found |= static_cast<float>(products[i]) * factors[i] + weight * slacks[i] >= least;
    return found != 0;
}

}  // namespace
}  // namespace vastmax
