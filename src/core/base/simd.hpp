// The levels of vector instructions that kernels are compiled for, each in a file of its own, and picked at run time.
#pragma once

#include <string>
#include <vector>

namespace vastmax {

enum class Simd { plain, avx2, avx512 };

const char* name_of(Simd level);
// The names of those that this processor runs, the best first.
std::vector<std::string> simd_levels();
// Throws InputError where the processor has no such level; `source` says where the name comes from.
Simd simd_named(const std::string& level, const char* source);
// The level that the environment variable VASTMAX_SIMD names, else the best.
Simd best_simd();

}  // namespace vastmax
