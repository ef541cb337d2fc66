#if defined(__AVX512F__)
#include "ops/gathered.inl"

namespace vastmax {
extern const GatheredLevel kGatheredAvx512;
const GatheredLevel kGatheredAvx512 = kLevel;
}  // namespace vastmax
#endif
