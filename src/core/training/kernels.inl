// The kernels of one SIMD level. Included by kernels_*.cpp, which set VASTMAX_LANES and the shape of the register tiles
// and are compiled with that level's flags. Everything is in an anonymous namespace and nothing from the standard
// library is instantiated here, so that the linker cannot hand this level's code to another processor.
#include <utility>

#include "base/races.hpp"
#include "training/kernels.hpp"

namespace vastmax {
namespace {

constexpr int kLanes = VASTMAX_LANES;
// dots: input rows per tile; its kLanes / kTileInputs output rows fill a vector
constexpr int kTileInputs = VASTMAX_TILE_INPUTS;
// combine: rows x vectors of accumulators held in registers
constexpr int kCombineRows = VASTMAX_COMBINE_ROWS;
constexpr int kCombineVectors = VASTMAX_COMBINE_VECTORS;
static_assert(kRowMultiple % kLanes == 0, "rows hold whole vectors");

typedef float Floats __attribute__((vector_size(4 * VASTMAX_LANES)));
typedef int Ints __attribute__((vector_size(4 * VASTMAX_LANES)));

// All accesses to rows go through these two functions.
VASTMAX_RACES inline Floats load(const float* p) { return *reinterpret_cast<const Floats*>(p); }
VASTMAX_RACES inline void store(float* p, Floats x) { *reinterpret_cast<Floats*>(p) = x; }

// All lanes x. Adding x to a vector of zeros would be computed, and a loop of inserts is compiled as inserts.
template <int... lane>
inline Floats splat_lanes(float x, std::integer_sequence<int, lane...>) {
    return Floats{(static_cast<void>(lane), x)...};
}
inline Floats splat(float x) { return splat_lanes(x, std::make_integer_sequence<int, kLanes>{}); }

// Keep a value in a register: GCC would otherwise reload a vector from memory for every use, and keep each address of
// a row in a register of its own.
inline Floats in_register(Floats x) {
#if defined(__x86_64__)
    __asm__("" : "+v"(x));
#endif
    return x;
}
inline float* base(float* row) {
    __asm__("" : "+r"(row));
    return row;
}
inline const float* base(const float* row) {
    __asm__("" : "+r"(row));
    return row;
}

// ---- sums ----------------------------------------------------------------------------------------------------------

// One halving of the transposing sum: pieces of 2n lanes of a and b become n sums of a followed by n sums of b. Written
// so that one of the two operands is a blend, which is cheaper than a shuffle.
template <int n>
inline Floats fold(Floats a, Floats b) {
    Ints of_a, cross;
    for (int lane = 0; lane < kLanes; ++lane) {
        of_a[lane] = lane % (2 * n) < n ? -1 : 0;
        cross[lane] = of_a[lane] ? lane + n : kLanes + lane - n;
    }
#if defined(__clang__)
    Floats crossed;
    for (int lane = 0; lane < kLanes; ++lane) crossed[lane] = of_a[lane] ? a[lane + n] : b[lane - n];
#else
    const Floats crossed = __builtin_shuffle(a, b, cross);
#endif
    return (of_a ? a : b) + crossed;
}

// Lane i of the result is the sum of the lanes of x[i].
template <int n = kLanes / 2>
inline Floats transposed_sum(Floats* x) {
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) x[i] = fold<n>(x[i], x[i + n]);
    if constexpr (n > 1) return transposed_sum<n / 2>(x);
    return x[0];
}

inline double sum(Floats x) {
    double total = 0;
    for (int lane = 0; lane < kLanes; ++lane) total += static_cast<double>(x[lane]);
    return total;
}

// Prefetches up to `rows` of the next block's rows.
inline void fetch(Block& block, int dim, int rows) {
    for (; rows > 0 && block.fetches > 0; --rows) {
        const float* row = block.fetch_rows[--block.fetches];
        for (int x = 0; x < dim; x += kRowMultiple) __builtin_prefetch(row + x, 1, 3);
    }
}

// ---- scores --------------------------------------------------------------------------------------------------------

// score[j][i] = o_i . c_j for one tile: kLanes dot products share their loads and one transposing sum.
template <int inputs>
inline void dots_tile(float* const* output_rows, float* const* input_rows, int dim, float* score, long stride) {
    constexpr int outputs = kLanes / inputs;
    Floats sums[kLanes];
#pragma GCC unroll 16
    for (int t = 0; t < kLanes; ++t) sums[t] = Floats{};
    for (int x = 0; x < dim; x += kLanes) {
        Floats c[inputs];
#pragma GCC unroll 4
        for (int j = 0; j < inputs; ++j) c[j] = load(input_rows[j] + x);
#pragma GCC unroll 16
        for (int i = 0; i < outputs; ++i) {
            const Floats o = load(output_rows[i] + x);
#pragma GCC unroll 4
            for (int j = 0; j < inputs; ++j) sums[j * outputs + i] += o * c[j];
        }
    }
    typedef float Piece __attribute__((vector_size(4 * outputs), aligned(4)));
    union {
        Floats whole;
        Piece pieces[inputs];
    } view = {transposed_sum(sums)};
#pragma GCC unroll 4
    for (int j = 0; j < inputs; ++j) *reinterpret_cast<Piece*>(score + j * stride) = view.pieces[j];
}

// One column of tiles: input rows [first, first + inputs) against all output rows. Rows past the last repeat the first.
template <int inputs>
inline void dots_column(Block& block, int first, int dim, float* score, int stride, int fetches) {
    for (int i = 0; i < block.outputs; i += kLanes / inputs) {
        fetch(block, dim, fetches);
        dots_tile<inputs>(block.output_rows + i, block.input_rows + first, dim, score + first * stride + i, stride);
    }
}

inline void dots(Block& block, int dim, float* score, int stride, int fetches) {
    for (int i = block.outputs; i % kLanes; ++i) block.output_rows[i] = block.output_rows[0];
    for (int j = block.inputs; j % kTileInputs; ++j) block.input_rows[j] = block.input_rows[0];
    int j = 0;
    for (; block.inputs - j > kTileInputs / 2; j += kTileInputs)
        dots_column<kTileInputs>(block, j, dim, score, stride, fetches);
    if (kTileInputs > 2 && block.inputs - j == 1)
        dots_column<1>(block, j, dim, score, stride, fetches);
    else if (j < block.inputs)
        dots_column<kTileInputs / 2>(block, j, dim, score, stride, fetches);
}

// ---- the logistic function -----------------------------------------------------------------------------------------

// The polynomials are Chebyshev series, truncated and rounded to float, with a constant of exactly 1. In NumPy:
//     Chebyshev.interpolate(lambda f: 2.0**f, 60, [-0.5, 0.5]).truncate(6)
//     Chebyshev.interpolate(lambda e: log1p(e) / e, 60, [0, 1]).truncate(9)
// converted to kind=Polynomial. A test checks the errors stated here over the whole range.

// exp(-min(a, 87)) for a >= 0; NaN stays NaN. The relative error is that of the polynomial, 2.1e-7, plus that of
// rounding the exponent, 8e-8 a.
inline Floats exp_negative(Floats a) {
    const Floats y = (a > 87.0f ? splat(87.0f) : a) * -1.44269504088896341f;
    const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const Floats rounded = (y + magic) - magic;
    const Floats f = y - rounded;
    Floats p = splat(0.0013400432f);
    p = p * f + 0.009676037f;
    p = p * f + 0.05550327f;
    p = p * f + 0.24022107f;
    p = p * f + 0.6931472f;
    p = p * f + 1.0f;
    const Ints exponent = (__builtin_convertvector(rounded, Ints) + 127) << 23;
    return p * (Floats)exponent;  // a vector cast keeps the bits
}

// log(1 + e) for e in [0, 1]: absolute error 3.2e-8, plus 7e-8 from rounding.
inline Floats log1p_unit(Floats e) {
    Floats p = splat(0.005253458f);
    p = p * e - 0.029588507f;
    p = p * e + 0.07836167f;
    p = p * e - 0.1367477f;
    p = p * e + 0.1911143f;
    p = p * e - 0.24844369f;
    p = p * e + 0.3331927f;
    p = p * e - 0.49999502f;
    p = p * e + 1.0f;
    return p * e;
}

// Turns scores into gradients g = rate (P - A sigmoid(s)) in place; returns sum A softplus(s) - P s.
inline double logistic(Block& block, int dim, float rate, float* score, int stride, int fetches) {
    Floats loss = {};
    for (int j = 0; j < block.inputs; ++j) {
        fetch(block, dim, fetches);
        for (int i = 0; i < block.outputs; i += kLanes) {
            const Floats s = load(score + j * stride + i);
            const Floats positive = load(block.positive[j] + i), total = load(block.total[j] + i);
            const Floats e = exp_negative(s < 0.0f ? -s : s);
            const Floats inverse = 1.0f / (1.0f + e);
            const Floats sigmoid = s < 0.0f ? e * inverse : inverse;
            const Floats softplus = (s > 0.0f ? s : Floats{}) + log1p_unit(e);
            loss += total * softplus - positive * s;
            store(score + j * stride + i, (positive - total * sigmoid) * rate);
        }
    }
    return sum(loss);
}

// ---- small matrix products -----------------------------------------------------------------------------------------

// out[j] (+)= sum_i weights[i * in_stride + j * out_stride] * in[i] for R rows j and L vectors of the row.
template <int R, int L, bool add>
inline void combine_tile(float* const* out, const float* const* in, int count, const float* weights, long in_stride,
                         long out_stride, long offset) {
    Floats sums[R][L];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        const float* row = base(out[r] + offset);
#pragma GCC unroll 8
        for (int l = 0; l < L; ++l) sums[r][l] = add ? load(row + l * kLanes) : Floats{};
    }
    for (int i = 0; i < count; ++i) {
        const float* row = base(in[i] + offset);
        Floats weight[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) weight[r] = splat(weights[r * out_stride]);
        weights += in_stride;
#pragma GCC unroll 8
        for (int l = 0; l < L; ++l) {
            const Floats x = in_register(load(row + l * kLanes));
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) sums[r][l] += weight[r] * x;
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        float* row = base(out[r] + offset);
#pragma GCC unroll 8
        for (int l = 0; l < L; ++l) store(row + l * kLanes, sums[r][l]);
    }
}

template <int L, bool add>
void combine_slice(float* const* out, int rows, const float* const* in, int count, const float* weights, long in_stride,
                   long out_stride, long offset) {
    int j = 0;
    for (; j + kCombineRows <= rows; j += kCombineRows)
        combine_tile<kCombineRows, L, add>(out + j, in, count, weights + j * out_stride, in_stride, out_stride, offset);
    if constexpr (kCombineRows > 2)
        for (; j + 2 <= rows; j += 2)
            combine_tile<2, L, add>(out + j, in, count, weights + j * out_stride, in_stride, out_stride, offset);
    for (; j < rows; ++j)
        combine_tile<1, L, add>(out + j, in, count, weights + j * out_stride, in_stride, out_stride, offset);
}

using CombineSlice = void (*)(float* const*, int, const float* const*, int, const float*, long, long, long);

// One entry per width; the table is as long as the level's registers allow.
// clang-format off
template <bool add>
constexpr CombineSlice kCombineSlices[] = {  // NOLINT(readability-identifier-naming): a constant all the same
    nullptr, combine_slice<1, add>, combine_slice<2, add>, combine_slice<3, add>, combine_slice<4, add>,
#if VASTMAX_COMBINE_VECTORS > 4
    combine_slice<5, add>, combine_slice<6, add>,
#endif
#if VASTMAX_COMBINE_VECTORS > 6
    combine_slice<7, add>, combine_slice<8, add>,
#endif
};
// clang-format on

// Handles any dimension in slices of nearly equal width, so that no slice is a sliver.
template <bool add>
void combine_strided(float* const* out, int rows, const float* const* in, int count, const float* weights,
                     long in_stride, long out_stride, int dim) {
    const int vectors = dim / kLanes, slices = (vectors + kCombineVectors - 1) / kCombineVectors;
    int done = 0;
    for (int s = 0; s < slices; ++s) {
        const int width = (vectors - done) / (slices - s);
        const CombineSlice slice = kCombineSlices<add>[width];
        slice(out, rows, in, count, weights, in_stride, out_stride, done * kLanes);
        done += width;
    }
}

void combine(float* const* out, int rows, const float* const* in, int count, const float* weights, int in_stride,
             int out_stride, int dim) {
    combine_strided<false>(out, rows, in, count, weights, in_stride, out_stride, dim);
}

// One row after another, so that a row named twice receives both changes.
void add_rows(float* const* out, int rows, const float* in, int dim) {
    for (int j = 0; j < rows; ++j, in += dim)
        for (int x = 0; x < dim; x += kLanes) store(out[j] + x, load(out[j] + x) + load(in + x));
}

// ---- bags of rows --------------------------------------------------------------------------------------------------

// Operations on L vectors of the rows of a bag; the rows of the table are `dim` floats apart.
template <int L>
struct Gather {
    static void run(long offset, float* out, const float* table, const uint32_t* rows, int count, long dim) {
        Floats sums[L] = {};
        for (int i = 0; i < count; ++i) {
            const float* row = base(table + rows[i] * dim + offset);
#pragma GCC unroll 8
            for (int l = 0; l < L; ++l) sums[l] += load(row + l * kLanes);
        }
        const Floats inverse = splat(1.0f / static_cast<float>(count));
#pragma GCC unroll 8
        for (int l = 0; l < L; ++l) store(out + offset + l * kLanes, sums[l] * inverse);
    }
};

template <int L>
struct Scatter {
    static void run(long offset, float* table, const uint32_t* rows, int count, const float* now, const float* before,
                    long dim) {
        Floats change[L];
#pragma GCC unroll 8
        for (int l = 0; l < L; ++l)
            change[l] = in_register(load(now + offset + l * kLanes) - load(before + offset + l * kLanes));
        for (int i = 0; i < count; ++i) {
            float* row = base(table + rows[i] * dim + offset);
#pragma GCC unroll 8
            for (int l = 0; l < L; ++l) store(row + l * kLanes, load(row + l * kLanes) + change[l]);
        }
    }
};

template <template <int> class Slice, int L = kCombineVectors, typename... Arguments>
void run_slice(int width, Arguments... arguments) {
    if (width == L) return Slice<L>::run(arguments...);
    if constexpr (L > 1) run_slice<Slice, L - 1>(width, arguments...);
}

// Runs Slice on all vectors of the rows, in slices of nearly equal width; appends the dimension to `arguments`.
template <template <int> class Slice, typename... Arguments>
void in_slices(int dim, Arguments... arguments) {
    const int vectors = dim / kLanes, slices = (vectors + kCombineVectors - 1) / kCombineVectors;
    for (int s = 0, done = 0; s < slices; ++s) {
        const int width = (vectors - done) / (slices - s);
        run_slice<Slice>(width, static_cast<long>(done) * kLanes, arguments..., static_cast<long>(dim));
        done += width;
    }
}

void gather(float* out, const float* table, const uint32_t* rows, int count, int dim) {
    in_slices<Gather>(dim, out, table, rows, count);
}

void scatter(float* table, const uint32_t* rows, int count, const float* now, const float* before, int dim) {
    in_slices<Scatter>(dim, table, rows, count, now, before);
}

// ---- the step ------------------------------------------------------------------------------------------------------

double step_outputs(Block& block, int dim, float rate, const Scratch& scratch) {
    const int stride = padded(block.outputs);
    const int pauses = block.inputs + (block.outputs * block.inputs + kLanes - 1) / kLanes;  // prefetch points
    const int fetches = (block.fetches + pauses - 1) / pauses;
    dots(block, dim, scratch.score, stride, fetches);
    const double loss = logistic(block, dim, rate, scratch.score, stride, fetches);
    fetch(block, dim, block.fetches);
    float* gradient_rows[kMaxInputs];
    for (int j = 0; j < block.inputs; ++j) gradient_rows[j] = scratch.input_gradient + j * dim;
    combine_strided<false>(gradient_rows, block.inputs, block.output_rows, block.outputs, scratch.score, 1, stride,
                           dim);
    combine_strided<true>(block.output_rows, block.outputs, block.input_rows, block.inputs, scratch.score, stride, 1,
                          dim);
    return loss;
}

double step(Block& block, int dim, float rate, const Scratch& scratch) {
    const double loss = step_outputs(block, dim, rate, scratch);
    add_rows(block.input_rows, block.inputs, scratch.input_gradient, dim);
    return loss;
}

}  // namespace
}  // namespace vastmax
