// The losses of one SIMD level. Included by row_losses_*.cpp, which set VASTMAX_BYTES and are compiled with that
// level's flags. Everything is in an anonymous namespace and nothing from the standard library is instantiated here, so
// that the linker cannot hand this level's code to another processor.
#include <cstring>

#include "ops/row_losses.hpp"

namespace vastmax {
namespace {

typedef float Floats __attribute__((vector_size(VASTMAX_BYTES)));
typedef unsigned FloatBits __attribute__((vector_size(VASTMAX_BYTES)));
typedef double Doubles __attribute__((vector_size(VASTMAX_BYTES)));
typedef unsigned long long DoubleBits __attribute__((vector_size(VASTMAX_BYTES)));

struct OfFloat {
    typedef float Number;
    typedef Floats Vector;
    typedef FloatBits Bits;
    static constexpr int kMantissa = 23, kBias = 127, kTerms = 7, kOdd = 8;
    static constexpr float kShift = 12582912.0F, kLowest = -87.0F;  // 1.5 * 2^23; exp below kLowest is 0
    static constexpr float kLog2High = 0.693359375F, kLog2Low = -2.12194440e-4F;
};
struct OfDouble {
    typedef double Number;
    typedef Doubles Vector;
    typedef DoubleBits Bits;
    static constexpr int kMantissa = 52, kBias = 1023, kTerms = 14, kOdd = 17;
    static constexpr double kShift = 6755399441055744.0, kLowest = -708.0;  // 1.5 * 2^52
    static constexpr double kLog2High = 6.93145751953125e-1, kLog2Low = 1.42860682030941723212e-6;
};

template <typename F>
struct Math {
    typedef typename F::Number T;
    typedef typename F::Vector V;
    typedef typename F::Bits B;
    static constexpr size_t kLanes = sizeof(V) / sizeof(T);
    static constexpr T kLarge = 32;  // beyond it float32 logits are more than 2e-6 apart

    static V splat(T x) {
        V result;
        for (size_t lane = 0; lane < kLanes; ++lane) result[lane] = x;
        return result;
    }
    static V load(const T* p) {
        V result;
        std::memcpy(&result, p, sizeof result);
        return result;
    }
    static void store(T* p, V x) { std::memcpy(p, &x, sizeof x); }
    // The first `count` numbers, padded with `rest`.
    static V load(const T* p, size_t count, T rest) {
        V result = splat(rest);
        std::memcpy(&result, p, count * sizeof(T));
        return result;
    }
    static void store(T* p, V x, size_t count) { std::memcpy(p, &x, count * sizeof(T)); }

    static T sum(V x) {
        T total = 0;
        for (size_t lane = 0; lane < kLanes; ++lane) total += x[lane];
        return total;
    }
    static T largest(V x) {
        T most = x[0];
        for (size_t lane = 1; lane < kLanes; ++lane) most = x[lane] > most ? x[lane] : most;
        return most;
    }
    static V max(V a, V b) { return a > b ? a : b; }

    // exp of x <= 0, accurate to the last digits; 0 if the result would be subnormal. NaN stays NaN.
    static V exp(V x) {
        const V inside = x < F::kLowest ? splat(F::kLowest) : x;
        const V shifted = inside * T(1.44269504088896340736) + F::kShift;
        const V power = shifted - F::kShift;
        const V rest = inside - power * F::kLog2High - power * F::kLog2Low;
        V factor = splat(1);
        for (int term = F::kTerms; term > 0; --term) factor = factor * rest * (T(1) / T(term)) + T(1);
        B scale;
        std::memcpy(&scale, &shifted, sizeof scale);
        scale = (scale + F::kBias) << F::kMantissa;  // the shift's own bits are shifted out
        V scaled;
        std::memcpy(&scaled, &scale, sizeof scaled);
        return x < F::kLowest ? splat(0) : factor * scaled;
    }

    // log(1 + x) for x in [0, 1], as 2 artanh(x / (2 + x)).
    static V log1p(V x) {
        const V ratio = x / (x + T(2)), square = ratio * ratio;
        V series = splat(0);
        for (int term = F::kOdd; term >= 0; --term) series = series * square + T(1) / T(2 * term + 1);
        return ratio * series * T(2);
    }

    static T exp(T x) { return exp(splat(x))[0]; }
    static T log1p(T x) { return log1p(splat(x))[0]; }
    static T log_of_sum(T x) { return sizeof(T) == 4 ? __builtin_logf(x) : __builtin_log(x); }

    static T dot(const T* a, const T* b, size_t width) {
        V total = splat(0), more = splat(0);
        size_t j = 0;
        for (; j + 2 * kLanes <= width; j += 2 * kLanes) {
            total += load(a + j) * load(b + j);
            more += load(a + j + kLanes) * load(b + j + kLanes);
        }
        for (; j + kLanes <= width; j += kLanes) total += load(a + j) * load(b + j);
        if (j < width) more += load(a + j, width - j, 0) * load(b + j, width - j, 0);
        return sum(total + more);
    }

    // Calls work(offset, count) for every vector of a row; the last may be partial.
    template <typename Work>
    static void sweep(size_t size, Work work) {
        size_t j = 0;
        for (; j + kLanes <= size; j += kLanes) work(j, kLanes);
        if (j < size) work(j, size - j);
    }
    static V part(const T* p, size_t count, T rest = 0) { return count == kLanes ? load(p) : load(p, count, rest); }
    static void put(T* p, V x, size_t count) { count == kLanes ? store(p, x) : store(p, x, count); }

    // The largest logit of a row's samples.
    static T largest_sample(const Rows<T>& given, size_t row) {
        const T* const logits = given.logits + row * given.samples;
        V most = splat(-__builtin_inf());
        sweep(given.samples, [&](size_t j, size_t count) {
            V x = part(logits + j, count, -__builtin_inf());
            if (given.biases) x += part(given.biases + j, count);
            most = max(x, most);
        });
        return largest(most);
    }

    // Corrects the sample logits of a ranked row, counting each sample as often as it was drawn (once for BlackOut),
    // and returns the largest. A base is subtracted before anything is added, from `own` as well, because only
    // differences of large logits are accurate: the target's own logit, or the largest sample's if that is larger and
    // the target's is beyond kLarge.
    static T correct(const Rows<T>& given, Formula formula, size_t row, T& own) {
        T* const logits = given.logits + row * given.samples;
        const T correction = formula.target_corrected ? given.target_expected[row] : T(0);
        T base = own;
        if (own < -kLarge || own > kLarge) {
            const T other = largest_sample(given, row);
            base = other > own ? other : own;
            if (base == -__builtin_inf()) base = 0;
        }
        V most = splat(-__builtin_inf());
        sweep(given.samples, [&](size_t j, size_t count) {
            V x = part(logits + j, count, -__builtin_inf());
            if (given.biases) x += part(given.biases + j, count);
            const V drawn = formula.blackout ? splat(0) : part(given.log_times + j, count);
            x = (x - base) + (drawn - part(given.log_expected + j, count) + correction);
            most = max(x, most);
            put(logits + j, x, count);
        });
        own -= base;
        return largest(most);
    }

    // log(total exp(top - own)); total is 1 + others if own is the top.
    static T log_ratio(T top, T own, T total, T others) {
        return top > own || others > 1 ? (top - own) + log_of_sum(total) : log1p(others);
    }

    static void softmax(const Rows<T>& given, Formula formula, size_t row, T own) {
        T* const logits = given.logits + row * given.samples;
        const T others_largest = correct(given, formula, row, own), top = others_largest > own ? others_largest : own;
        V sums = splat(0);
        sweep(given.samples, [&](size_t j, size_t count) {
            const V x = exp(part(logits + j, count, -__builtin_inf()) - top);
            sums += x;
            put(logits + j, x, count);
        });
        const T others = sum(sums), mine = exp(own - top), total = mine + others;
        sweep(given.samples, [&](size_t j, size_t count) { put(logits + j, part(logits + j, count) / total, count); });
        given.losses[row] = log_ratio(top, own, total, others);
        given.target_gradients[row] = -others / total;
    }

    // If a sample has nearly all of the mass p, 1 - p is lost to rounding. That can happen to one sample per row only,
    // the largest, drawn once: so one draw of the largest is set apart from all other draws. Any other sample has p of
    // at most 1/2, and -log(1 - p) = log(1 + p / (1 - p)).
    static void blackout(const Rows<T>& given, Formula formula, size_t row, T own) {
        T* const logits = given.logits + row * given.samples;
        const T apart = correct(given, formula, row, own);
        size_t place = 0;
        while (place < given.samples && logits[place] != apart) ++place;
        const bool found = place < given.samples;  // false if there are no samples, or only NaN
        const T times = found ? given.times[place] : T(1);
        if (found) logits[place] = -__builtin_inf();
        V most = splat(times > 1 && apart > own ? apart : own);
        sweep(given.samples,
              [&](size_t j, size_t count) { most = max(part(logits + j, count, -__builtin_inf()), most); });
        const T top = largest(most);
        V sums = splat(0);
        sweep(given.samples, [&](size_t j, size_t count) {
            const V x = exp(part(logits + j, count, -__builtin_inf()) - top);
            sums += part(given.times + j, count) * x;
            put(logits + j, x, count);
        });
        const T others = sum(sums) + (times > 1 ? (times - 1) * exp(apart - top) : T(0)),
                rest = exp(own - top) + others;
        const T ahead = (apart - top) - log_of_sum(rest), small = exp(ahead > 0 ? -ahead : ahead);
        const T of_rest = (ahead > 0 ? small : T(1)) / (small + T(1));
        const T of_apart = (ahead > 0 ? T(1) : small) / (small + T(1));
        V odds_sum = splat(0), improbable = splat(0);
        sweep(given.samples, [&](size_t j, size_t count) {
            const V p = part(logits + j, count) * (of_rest / rest), odds = p / (T(1) - p);
            const V drawn = part(given.times + j, count);
            odds_sum += drawn * odds;
            improbable += drawn * log1p(odds);
        });
        const T to_total = T(2) - sum(odds_sum) - (times > 1 ? (times - 1) * (ahead > 0 ? T(1) : small) : T(0));
        V gradients = splat(0);
        sweep(given.samples, [&](size_t j, size_t count) {
            const V share = part(logits + j, count) / rest, p = share * of_rest;
            const V gradient = part(given.times + j, count) * (p / (T(1) - p) + share * (of_rest * to_total - T(1)));
            gradients += gradient;
            put(logits + j, gradient, count);
        });
        const T of_largest = to_total * times * of_apart;
        if (found) logits[place] = of_largest;
        given.losses[row] = log_ratio(top, own, rest, others) +
                            (T(1) + times) * ((ahead > 0 ? ahead : T(0)) + log1p(small)) + sum(improbable);
        given.target_gradients[row] = -(sum(gradients) + of_largest);  // the loss is shift-invariant: they sum to 0
    }

    static void logistic(const Rows<T>& given, Formula formula, size_t row, T own) {
        T* const logits = given.logits + row * given.samples;
        V losses = splat(0);
        sweep(given.samples, [&](size_t j, size_t count) {
            V x = part(logits + j, count, -__builtin_inf());
            if (given.biases) x += part(given.biases + j, count);
            if (formula.samples_corrected) x -= part(given.log_expected + j, count);
            const V times = part(given.times + j, count), small = exp(x > 0 ? -x : x);
            losses += times * ((x > 0 ? x : splat(0)) + log1p(small));
            put(logits + j, times * (x > 0 ? splat(1) : small) / (small + T(1)), count);
        });
        const T x = (formula.target_corrected ? given.target_expected[row] : T(0)) - own;
        const T small = exp(x > 0 ? -x : x);
        given.losses[row] = (x > 0 ? x : T(0)) + log1p(small) + sum(losses);
        given.target_gradients[row] = -(x > 0 ? T(1) : small) / (small + T(1));
    }

    static void run(const Rows<T>& given, Formula formula, size_t first, size_t last) {
        for (size_t row = first; row < last; ++row) {
            const size_t at = row * given.width;
            T own = dot(given.hidden + at, given.target_vectors + at, given.width);
            if (given.target_biases) own += given.target_biases[row];
            (formula.logistic ? logistic : formula.blackout ? blackout : softmax)(given, formula, row, own);
        }
    }

    // log r of a vector of samples.
    static V log_ratios(const Ratios<T>& given, size_t row, size_t j, size_t count) {
        const V x = part(given.logits + row * given.samples + j, count, -__builtin_inf());
        return (x - given.bases[row]) - part(given.log_prob + j, count);
    }

    static void ratio_sums(const Ratios<T>& given, const RatioSums<T>& sums, size_t first, size_t last) {
        for (size_t row = first; row < last; ++row) {
            V most = splat(-__builtin_inf());
            sweep(given.samples, [&](size_t j, size_t count) { most = max(log_ratios(given, row, j, count), most); });
            T top = largest(most);
            if (top == -__builtin_inf()) top = 0;  // no sample has mass, or all are NaN and stay NaN
            V once = splat(0), twice = splat(0);
            sweep(given.samples, [&](size_t j, size_t count) {
                const V ratio = exp(log_ratios(given, row, j, count) - top), times = part(given.times + j, count);
                once += times * ratio;
                twice += times * ratio * ratio;
            });
            sums.largest[row] = top;
            sums.once[row] = sum(once);
            sums.twice[row] = sum(twice);
        }
    }

    static void ratio_gradients(const Ratios<T>& given, const T* largest, const T* factors, T* gradients, size_t first,
                                size_t last) {
        for (size_t row = first; row < last; ++row)
            sweep(given.samples, [&](size_t j, size_t count) {
                const V ratio = exp(log_ratios(given, row, j, count) - largest[row]);
                put(gradients + row * given.samples + j, ratio * part(given.times + j, count) * factors[row], count);
            });
    }

    static constexpr RowKernels<T> kernels() noexcept { return {run, ratio_sums, ratio_gradients}; }
};

}  // namespace
}  // namespace vastmax
