// SSE2 on x86-64, NEON on Arm, and the compiler's own lowering anywhere else.
#define VASTMAX_BYTES 16
#include "ops/row_losses.inl"
namespace vastmax {
extern const RowLosses kRowLossesPlain;
const RowLosses kRowLossesPlain = {Math<OfFloat>::kernels(), Math<OfDouble>::kernels()};
}  // namespace vastmax
