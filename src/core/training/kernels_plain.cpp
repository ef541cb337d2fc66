// Vectors of 4 floats: SSE2 on x86-64, NEON on Arm, and the compiler's own lowering anywhere else.
#define VASTMAX_LANES 4
#define VASTMAX_TILE_INPUTS 2
#define VASTMAX_COMBINE_ROWS 2
#define VASTMAX_COMBINE_VECTORS 4
#include "training/kernels.inl"
namespace vastmax {
extern const Kernels kKernelsPlain;
const Kernels kKernelsPlain = {"plain", step, step_outputs, combine, add_rows, gather, scatter};
}  // namespace vastmax
