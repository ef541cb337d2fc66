// Selects the kernels for this processor.
#include "base/simd.hpp"
#include "training/kernels.hpp"

namespace vastmax {
extern const Kernels kKernelsPlain;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx512;
extern const Kernels kKernelsAvx2;
#endif

namespace {

const Kernels* kernels_of(Simd level) {
#if defined(__x86_64__)
    if (level == Simd::avx512) return &kKernelsAvx512;
    if (level == Simd::avx2) return &kKernelsAvx2;
#endif
    static_cast<void>(level);
    return &kKernelsPlain;
}

}  // namespace

const Kernels* kernels_named(const std::string& level, const char* source) {
    return kernels_of(simd_named(level, source));
}

const Kernels* best_kernels() { return kernels_of(best_simd()); }

}  // namespace vastmax
