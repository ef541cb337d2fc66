#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "base/parallel.hpp"
#include "ops/arrays.hpp"
#include "search/nearest.hpp"

namespace nb = nanobind;

namespace vastmax {
extern const ScanKernels kScanPlain;
#if defined(__x86_64__)
extern const ScanKernels kScanAvx2;
extern const ScanKernels kScanVnni;
#endif

const ScanKernels& scan_kernels(Simd level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (level == Simd::avx512 && __builtin_cpu_supports("avx512vnni")) return kScanVnni;
    if (level != Simd::plain) return kScanAvx2;
#endif
    static_cast<void>(level);
    return kScanPlain;
}

namespace {

template <typename T>
using Strided = nb::ndarray<const T, nb::ndim<2>, nb::device::cpu>;

constexpr size_t kRowsAtATime = 1024;

const ScanKernels& kernels_of(const std::optional<std::string>& level) {
    return scan_kernels(level ? simd_named(*level, "level") : best_simd());
}

template <typename T>
const T* rows_of(const std::optional<Strided<T>>& given, const CodedRows& rows, Vectors& vectors) {
    if (!given) return nullptr;
    check(given->shape(0) == rows.size && given->shape(1) == rows.width && (given->stride(1) == 1 || rows.width == 1) &&
              given->stride(0) >= 0,
          "vectors must have the shape of the codes, and rows in one piece");
    vectors.stride = static_cast<size_t>(given->stride(0));
    return given->data();
}

bool rise(const int64_t* first, const int64_t* last) {
    return std::adjacent_find(first, last, std::greater_equal<>()) == last;
}

}  // namespace

void bind_search(nb::module_& m) {
    m.def(
        "encode_rows",
        [](const Table<const float>& rows, Table<int8_t>& codes, Row<float>& scales, Row<float>& factors,
           Row<float>& slacks, size_t threads) {
            const size_t size = rows.shape(0), width = rows.shape(1);
            check(codes.shape(0) == size && codes.shape(1) == width && scales.size() == size &&
                      factors.size() == size && slacks.size() == size,
                  "codes must have the shape of the rows");
            nb::gil_scoped_release release;
            parallel_for((size + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t, size_t chunk) {
                for (size_t i = chunk * kRowsAtATime; i < std::min(size, (chunk + 1) * kRowsAtATime); ++i)
                    scales.data()[i] = encode_row(rows.data() + i * width, width, codes.data() + i * width,
                                                  factors.data()[i], slacks.data()[i]);
            });
        },
        nb::arg("rows").noconvert(), nb::arg("codes").noconvert(), nb::arg("scales").noconvert(),
        nb::arg("factors").noconvert(), nb::arg("slacks").noconvert(), nb::arg("threads") = 1);
    m.def(
        "code_factors",
        [](const Table<const int8_t>& codes, Row<float>& factors, size_t threads) {
            const size_t size = codes.shape(0), width = codes.shape(1);
            check(factors.size() == size && width <= kMostCodes, "factors must be one per row");
            nb::gil_scoped_release release;
            parallel_for((size + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t, size_t chunk) {
                for (size_t i = chunk * kRowsAtATime; i < std::min(size, (chunk + 1) * kRowsAtATime); ++i) {
                    int32_t square = 0;
                    for (size_t j = 0; j < width; ++j) {
                        const int8_t code = codes.data()[i * width + j];
                        square += code * code;
                    }
                    factors.data()[i] = square ? 1 / std::sqrt(static_cast<float>(square)) : 0;
                }
            });
        },
        nb::arg("codes").noconvert(), nb::arg("factors").noconvert(), nb::arg("threads") = 1);
    m.def(
        "code_products",
        [](const Table<const int8_t>& codes, const Table<const int8_t>& queries,
           const std::optional<std::string>& level) {
            const size_t width = codes.shape(1), count = queries.shape(0), stride = padded(width);
            check(codes.shape(0) == kBlockRows && queries.shape(1) == width && width <= kMostCodes && count > 0,
                  "codes must be a block of 64 rows, and queries as wide");
            std::vector<int8_t> bytes(count * stride);
            std::vector<int16_t> shorts(count * stride);
            std::vector<int32_t> sums(count), out(count * kBlockRows);
            for (size_t n = 0; n < count; ++n) {
                const int8_t* query = queries.data() + n * width;
                std::copy_n(query, width, bytes.data() + n * stride);
                std::copy_n(query, width, shorts.data() + n * stride);
                sums[n] = std::accumulate(query, query + width, int32_t{0});
            }
            std::vector<uint8_t> room(packed_bytes(width) + 63);
            uint8_t* packed = room.data() + (-reinterpret_cast<uintptr_t>(room.data()) & 63);
            const int8_t* rows[kBlockRows];
            for (size_t r = 0; r < kBlockRows; ++r) rows[r] = codes.data() + r * width;
            const ScanKernels& kernels = kernels_of(level);
            kernels.pack(rows, width, packed);
            for (size_t n = 0; n < count; n += kQueryTile)
                kernels.products(packed, {bytes.data(), shorts.data(), sums.data(), stride}, n,
                                 std::min(kQueryTile, count - n), out.data() + n * kBlockRows);
            return to_numpy(std::move(out));
        },
        nb::arg("codes").noconvert(), nb::arg("queries").noconvert(), nb::arg("level") = nb::none());
    m.def(
        "nearest_rows",
        [](const Table<const int8_t>& codes, const Row<const float>& factors,
           const std::optional<Row<const float>>& slacks, const Table<const double>& queries, size_t k,
           const std::optional<ArrayView<int64_t>>& among, size_t rows, const ArrayView<int64_t>& exclude,
           const ArrayView<int64_t>& exclude_from, const std::optional<Strided<float>>& floats,
           const std::optional<Strided<uint16_t>>& halves, const std::optional<Row<const float>>& scales,
           size_t threads, const std::optional<std::string>& level) {
            const CodedRows coded{codes.data(), factors.data(), slacks ? slacks->data() : nullptr, codes.shape(0),
                                  codes.shape(1)};
            const size_t count = queries.shape(0);
            check(coded.width <= kMostCodes && factors.size() == coded.size &&
                      (!slacks || slacks->size() == coded.size) && queries.shape(1) == coded.width && k > 0,
                  "factors and slacks must be one per row, and queries as wide as the codes");
            check(among ? all_below(*among, coded.size) && rows == among->size() : rows <= coded.size,
                  "those asked about must be rows");
            check(exclude_from.size() == count + 1 && exclude_from.data()[0] == 0 &&
                      exclude_from.data()[count] == static_cast<int64_t>(exclude.size()) &&
                      std::is_sorted(exclude_from.data(), exclude_from.data() + count + 1),
                  "exclude must have a part for each query");
            for (size_t n = 0; n < count; ++n)
                check(rise(exclude.data() + exclude_from.data()[n], exclude.data() + exclude_from.data()[n + 1]),
                      "excluded ids must rise");
            Vectors vectors;
            vectors.floats = rows_of(floats, coded, vectors);
            vectors.halves = rows_of(halves, coded, vectors);
            if (scales) {
                check(scales->size() == coded.size, "scales must be one per row");
                vectors.codes = coded.codes;
                vectors.scales = scales->data();
                vectors.stride = coded.width;
            }
            check(floats.has_value() + halves.has_value() + scales.has_value() == 1, "give one kind of vectors");
            const Asked asked{queries.data(),
                              count,
                              std::min(k, std::max<size_t>(rows, 1)),
                              among ? among->data() : nullptr,
                              rows,
                              exclude.data(),
                              exclude_from.data()};
            std::vector<std::vector<Answer>> answers;
            {
                nb::gil_scoped_release release;
                answers = nearest(coded, vectors, asked, kernels_of(level), threads);
            }
            std::vector<int64_t> ids, ends;
            std::vector<double> cosines;
            for (const auto& of_query : answers) {
                for (const Answer& answer : of_query) {
                    ids.push_back(answer.id);
                    cosines.push_back(answer.cosine);
                }
                ends.push_back(static_cast<int64_t>(ids.size()));
            }
            return nb::make_tuple(to_numpy(std::move(ids)), to_numpy(std::move(cosines)), to_numpy(std::move(ends)));
        },
        nb::arg("codes").noconvert(), nb::arg("factors").noconvert(), nb::arg("slacks").none().noconvert(),
        nb::arg("queries").noconvert(), nb::arg("k"), nb::arg("among").none(), nb::arg("rows"), nb::arg("exclude"),
        nb::arg("exclude_from"), nb::arg("floats").none().noconvert() = nb::none(),
        nb::arg("halves").none().noconvert() = nb::none(), nb::arg("scales").none().noconvert() = nb::none(),
        nb::arg("threads") = 1, nb::arg("level") = nb::none());
}

}  // namespace vastmax
