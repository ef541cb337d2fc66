// Row-major float matrix whose rows are aligned to 64 bytes and zero-padded, on huge pages where available: a training
// step touches some twenty rows at random, and with pages of 4 KiB each row costs a page-table walk.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "training/kernels.hpp"

namespace vastmax {

class Matrix {
public:
    Matrix(size_t rows, int dim) : rows_(rows), dim_(dim), stride_(padded(dim)) {
        bytes_ = (rows_ * static_cast<size_t>(stride_) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
        // Anonymous mappings are zero-filled; one more huge page leaves room for alignment.
        mapped_ = mmap(nullptr, bytes_ + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped_ == MAP_FAILED) throw std::bad_alloc();
        const size_t misplaced = reinterpret_cast<size_t>(mapped_) % kHugePage;
        data_ = reinterpret_cast<float*>(static_cast<char*>(mapped_) + (kHugePage - misplaced) % kHugePage);
#if defined(MADV_HUGEPAGE)
        madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
    }
    Matrix(Matrix&& other) noexcept
        : rows_(std::exchange(other.rows_, 0)),
          dim_(other.dim_),
          stride_(other.stride_),
          bytes_(other.bytes_),
          mapped_(std::exchange(other.mapped_, nullptr)),
          data_(std::exchange(other.data_, nullptr)) {}
    ~Matrix() {
        if (mapped_) munmap(mapped_, bytes_ + kHugePage);
    }
    Matrix(const Matrix&) = delete;
    Matrix& operator=(const Matrix&) = delete;

    // Releases the memory; on Linux the rows read as zeros afterwards.
    void discard() { discard_from(0); }

    // Keeps the rows from `first` on, without padding, and releases the rest of the memory.
    void pack(size_t first) {
        float* to = data_;
        for (size_t i = first; i < rows_; ++i, to += dim_)
            std::memmove(to, row(i), static_cast<size_t>(dim_) * sizeof(float));
        rows_ -= first;
        stride_ = dim_;
        discard_from((rows_ * static_cast<size_t>(dim_) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage);
    }

    float* row(size_t i) { return data_ + i * static_cast<size_t>(stride_); }
    float* data() { return data_; }
    size_t rows() const { return rows_; }
    int dim() const { return dim_; }
    int stride() const { return stride_; }

private:
    void discard_from(size_t byte) {
#if defined(MADV_DONTNEED)
        if (byte < bytes_) madvise(reinterpret_cast<char*>(data_) + byte, bytes_ - byte, MADV_DONTNEED);
#endif
    }

    static constexpr size_t kHugePage = size_t{1} << 21;
    size_t rows_;
    int dim_;
    int stride_;
    size_t bytes_;
    void* mapped_;
    float* data_;
};

}  // namespace vastmax
