// 32 registers of 16 floats.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define VASTMAX_LANES 16
#define VASTMAX_TILE_INPUTS 4
#define VASTMAX_COMBINE_ROWS 3
#define VASTMAX_COMBINE_VECTORS 8
#include "training/kernels.inl"
namespace vastmax {
extern const Kernels kKernelsAvx512;
const Kernels kKernelsAvx512 = {"avx512", step, step_outputs, combine, add_rows, gather, scatter};
}  // namespace vastmax
#endif
