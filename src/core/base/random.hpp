// wyrand, the only random number generator of the core. The trainers seed it for each chunk of the corpus, so that
// draws depend on (seed, epoch, chunk) alone, not on the threads or on draws made before a checkpoint.
#pragma once

#include <cstdint>

namespace vastmax {

class Random {
public:
    // Three splitmix64 rounds mix the coordinates, so that neighbouring chunks get unrelated streams.
    Random(uint64_t seed, uint64_t epoch, uint64_t chunk) : state_(mix(mix(mix(seed) + epoch) + chunk)) {}

    uint64_t next() {
        state_ += 0xa0761d6478bd642fULL;
        const unsigned __int128 product = static_cast<unsigned __int128>(state_) * (state_ ^ 0xe7037ed1a0b428dbULL);
        return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
    }

    // Uniform on [0, 1), in steps of 2^-53.
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

    // Uniform on [0, bound) from 32 random bits (bias below bound / 2^32).
    static uint32_t below(uint32_t bits, uint32_t bound) {
        return static_cast<uint32_t>((static_cast<uint64_t>(bits) * bound) >> 32);
    }

private:
    static uint64_t mix(uint64_t z) {
        z += 0x9e3779b97f4a7c15ULL;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    uint64_t state_;
};

}  // namespace vastmax
