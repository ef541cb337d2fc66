#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define VASTMAX_BYTES 64
#include "ops/row_losses.inl"
namespace vastmax {
extern const RowLosses kRowLossesAvx512;
const RowLosses kRowLossesAvx512 = {Math<OfFloat>::kernels(), Math<OfDouble>::kernels()};
}  // namespace vastmax
#endif
