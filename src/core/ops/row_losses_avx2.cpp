#if defined(__AVX2__) && defined(__FMA__)
#define VASTMAX_BYTES 32
#include "ops/row_losses.inl"
namespace vastmax {
extern const RowLosses kRowLossesAvx2;
const RowLosses kRowLossesAvx2 = {Math<OfFloat>::kernels(), Math<OfDouble>::kernels()};
}  // namespace vastmax
#endif
