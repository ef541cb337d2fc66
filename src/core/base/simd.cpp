#include "base/simd.hpp"

#include <cstdlib>

#include "base/input_error.hpp"

namespace vastmax {
namespace {

constexpr Simd kBestFirst[] = {Simd::avx512, Simd::avx2, Simd::plain};

bool runs(Simd level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (level == Simd::avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    if (level == Simd::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return level == Simd::plain;
}

}  // namespace

const char* name_of(Simd level) { return level == Simd::avx512 ? "avx512" : level == Simd::avx2 ? "avx2" : "plain"; }

std::vector<std::string> simd_levels() {
    std::vector<std::string> levels;
    for (const Simd level : kBestFirst)
        if (runs(level)) levels.emplace_back(name_of(level));
    return levels;
}

Simd simd_named(const std::string& level, const char* source) {
    for (const Simd known : kBestFirst)
        if (level == name_of(known) && runs(known)) return known;
    std::string choices;
    for (const std::string& choice : simd_levels())
        choices += (choices.empty() ? "" : choice == "plain" ? " or " : ", ") + choice;
    throw InputError(std::string(source) + " is '" + level + "': give " + choices + ", which this processor supports.");
}

Simd best_simd() {
    if (const char* wanted = std::getenv("VASTMAX_SIMD")) return simd_named(wanted, "VASTMAX_SIMD");
    return simd_named(simd_levels().front(), "level");
}

}  // namespace vastmax
