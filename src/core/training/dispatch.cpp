// Which kernels this processor gets.
#include <cstring>
#include <initializer_list>

#include "kernels.hpp"

namespace vastmax {
extern const Kernels kKernelsPlain;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx512;
extern const Kernels kKernelsAvx2;
#endif

const Kernels* find_kernels(const char* name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return &kKernelsAvx512;
    if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kKernelsAvx2;
#endif
    return std::strcmp(name, "plain") == 0 ? &kKernelsPlain : nullptr;
}

const Kernels* best_kernels() {
    for (const char* name : {"avx512", "avx2"})
        if (const Kernels* kernels = find_kernels(name)) return kernels;
    return &kKernelsPlain;
}

}  // namespace vastmax
