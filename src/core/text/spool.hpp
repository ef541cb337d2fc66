// The encoded corpus on disk: 32-bit ids in the order of the text, kEndOfSentence after each sentence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vastmax {

struct StreamSize {
    uint64_t words = 0;
    uint64_t sentences = 0;
};

// Uses plain reads and writes, not memory mapping: a full disk is then an error code, where a mapped page would kill
// the process, and memory stays constant. The file belongs to the caller; the spool holds a duplicate of its
// descriptor.
class Spool {
public:
    explicit Spool(int descriptor);
    ~Spool();
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;

    uint64_t size() const { return size_; }  // ids and markers
    void append(const uint32_t* ids, size_t count);
    // As `append`, with ids of the table of `worker`, which `set_maps` will translate.
    void append_provisional(const uint32_t* ids, size_t count, uint32_t worker);
    void read(uint64_t at, uint32_t* ids, size_t count) const;
    void write(uint64_t at, const uint32_t* ids, size_t count);
    void truncate(uint64_t size);

    // maps[worker][provisional id] = id.
    void set_maps(std::vector<std::vector<uint32_t>> maps) { maps_ = std::move(maps); }

    // Replaces every id by table[id] in place; drops ids whose entry is kNoWord, and sentences left empty.
    StreamSize remap(const uint32_t* table, size_t table_size, size_t threads);

private:
    struct Segment {
        uint64_t end;  // position of the first id after it
        uint32_t worker;
    };

    void remap_range(uint64_t begin, uint64_t end, const std::vector<std::vector<uint32_t>>& tables,
                     std::vector<uint32_t>& in, std::vector<uint32_t>& out) const;

    int descriptor_;
    uint64_t size_ = 0;
    std::vector<Segment> segments_;
    std::vector<std::vector<uint32_t>> maps_;
};

}  // namespace vastmax
