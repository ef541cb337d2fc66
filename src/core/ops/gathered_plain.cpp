#include "ops/gathered.inl"

namespace vastmax {
extern const GatheredLevel kGatheredPlain;
const GatheredLevel kGatheredPlain = kLevel;
}  // namespace vastmax
