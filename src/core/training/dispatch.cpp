// Which kernels this processor gets.
#include <cstdlib>
#include <cstring>

#include "base/input_error.hpp"
#include "training/kernels.hpp"

namespace vastmax {
extern const Kernels kKernelsPlain;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx512;
extern const Kernels kKernelsAvx2;
#endif

namespace {

const Kernels* find_kernels(const char* level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (std::strcmp(level, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return &kKernelsAvx512;
    if (std::strcmp(level, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kKernelsAvx2;
#endif
    return std::strcmp(level, "plain") == 0 ? &kKernelsPlain : nullptr;
}

}  // namespace

std::vector<std::string> simd_levels() {
    std::vector<std::string> levels;
    for (const char* level : {"avx512", "avx2", "plain"})
        if (find_kernels(level)) levels.emplace_back(level);
    return levels;
}

const Kernels* kernels_named(const std::string& level, const char* source) {
    if (const Kernels* kernels = find_kernels(level.c_str())) return kernels;
    std::string choices;
    for (const std::string& choice : simd_levels())
        choices += (choices.empty() ? "" : choice == "plain" ? " or " : ", ") + choice;
    throw InputError(std::string(source) + " is '" + level + "': give " + choices + ", which this processor runs.");
}

const Kernels* best_kernels() {
    const char* wanted = std::getenv("VASTMAX_SIMD");
    return wanted ? kernels_named(wanted, "VASTMAX_SIMD") : find_kernels(simd_levels().front().c_str());
}

}  // namespace vastmax
