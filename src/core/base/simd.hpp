// SIMD levels: kernels are compiled once per level, each in its own file, and selected at run time.
#pragma once

#include <string>
#include <vector>

namespace vastmax {

enum class Simd { plain, avx2, avx512 };

const char* name_of(Simd level);
// Names of the levels that this processor supports, best first.
std::vector<std::string> simd_levels();
// Returns the level of this name. Throws InputError if the processor does not support it; `source` says where the name
// comes from.
Simd simd_named(const std::string& level, const char* source);
// The level named by the environment variable VASTMAX_SIMD, or the best one.
Simd best_simd();

}  // namespace vastmax
