// Exact search for the rows of greatest cosine with a query: a scan of 8-bit codes discards all rows whose cosine
// cannot be among the k greatest, and the others are scored in double precision.
//
// For a row v = s c + e and a unit query q = t p + f, where p and c are 8-bit codes,
//     |q.v / |v| - t p.c s / |v||  <=  |f| + (1 + |f|) |e| / |v|.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/scan.hpp"
#include "search/table.hpp"

namespace vastmax {

struct Asked {
    const double* queries;  // (n, width), of norm 1 or 0
    size_t count;
    size_t k;
    const int64_t* among;  // distinct ids that may be answers; null for those below `rows`
    size_t rows;           // number of ids that may be answers
    const int64_t* exclude;
    const int64_t* exclude_from;  // (n + 1,): query i excludes [exclude_from[i], exclude_from[i + 1]), ascending
};

struct Answer {
    int64_t id;
    double cosine;
};

// For each query the k rows of greatest cosine, best first, ties by id; fewer if there are fewer.
std::vector<std::vector<Answer>> nearest(const CodedRows& rows, const Vectors& vectors, const Asked& asked,
                                         const ScanKernels& kernels, size_t threads);

}  // namespace vastmax
