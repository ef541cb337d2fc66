#if defined(__AVX2__) && defined(__FMA__)
#include "ops/gathered.inl"

namespace vastmax {
extern const GatheredLevel kGatheredAvx2;
const GatheredLevel kGatheredAvx2 = kLevel;
}  // namespace vastmax
#endif
