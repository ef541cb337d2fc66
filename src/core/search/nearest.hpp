// The rows of greatest cosine with a query, exactly: a scan of 8-bit codes leaves out all rows whose cosine cannot be
// among the k greatest, and the others are scored in double precision.
//
// With a row v = s c + e and a unit query q = t p + f, p and c being codes of 8 bits,
//     |q.v / |v| - t p.c s / |v||  <=  |f| + (1 + |f|) |e| / |v|.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/scan.hpp"
#include "search/table.hpp"

namespace vastmax {

struct Asked {
    const double* queries;  // (n, width), of length 1 or 0
    size_t count;
    size_t k;
    const int64_t* among;  // the ids that may be answers, each once; null for those below `rows`
    size_t rows;           // how many these are
    const int64_t* exclude;
    const int64_t* exclude_from;  // (n + 1,): of query i those of exclude_from[i] to exclude_from[i + 1], rising
};

struct Answer {
    int64_t id;
    double cosine;
};

// Of each query the k rows of greatest cosine, best first, equal ones by id; fewer where there are fewer.
std::vector<std::vector<Answer>> nearest(const CodedRows& rows, const Vectors& vectors, const Asked& asked,
                                         const ScanKernels& kernels, size_t threads);

}  // namespace vastmax
