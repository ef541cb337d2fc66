// 16 registers of 8 floats.
#if defined(__AVX2__) && defined(__FMA__)
#define VASTMAX_LANES 8
#define VASTMAX_TILE_INPUTS 2
#define VASTMAX_COMBINE_ROWS 2
#define VASTMAX_COMBINE_VECTORS 6
#include "training/kernels.inl"
namespace vastmax {
extern const Kernels kKernelsAvx2;
const Kernels kKernelsAvx2 = {"avx2", step, step_outputs, combine, add_rows, gather, scatter};
}  // namespace vastmax
#endif
