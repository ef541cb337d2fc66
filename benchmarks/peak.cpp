// What this processor can do at most, for kernels.py: fused multiply-adds on registers, and copying from memory to memory.
// Compiled by kernels.py, once a SIMD level. Prints GFLOP/s and GB/s (read and written) of one thread.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

typedef float Floats __attribute__((vector_size(4 * LANES)));

static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int main() {
    constexpr int kAccumulators = 12;  // enough to hide the latency of one multiply-add behind the others
    double flops = 0, bytes = 0;
    for (int attempt = 0; attempt < 5; ++attempt) {
        Floats a[kAccumulators] = {}, x = Floats{} + 0.5f;
        const long rounds = 10'000'000;
        const double start = seconds();
        for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
            for (int j = 0; j < kAccumulators; ++j) {
                a[j] = a[j] * x + x;
#if defined(__x86_64__)
                __asm__ volatile("" : "+v"(a[j]));
#elif defined(__aarch64__)
                __asm__ volatile("" : "+w"(a[j]));
#endif
            }
        }
        const double speed = 2.0 * LANES * kAccumulators * rounds / (seconds() - start);
        if (speed > flops) flops = speed;
    }
    std::vector<char> from(std::size_t{1} << 28, 1), to(std::size_t{1} << 28, 2);
    for (int attempt = 0; attempt < 5; ++attempt) {
        const double start = seconds();
        std::memcpy(to.data(), from.data(), from.size());
        __asm__ volatile("" : : "r"(to.data()) : "memory");
        const double speed = 2.0 * static_cast<double>(from.size()) / (seconds() - start);
        if (speed > bytes) bytes = speed;
    }
    std::printf("%.3f %.3f\n", flops / 1e9, bytes / 1e9);
}
