// One pass over a corpus: blocks of bytes in, counted words and a spool of ids out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "text/separators.hpp"
#include "text/spool.hpp"
#include "text/word_table.hpp"

namespace vastmax {

// Every thread counts in a table of its own, so that none waits for another; `finish` merges the tables. Which thread
// met a word first is chance: ids are provisional until `Spool::remap` is given an order that the words alone decide.
class Scanner {
public:
    // `spool` may be null: then words are only counted.
    Scanner(std::shared_ptr<Spool> spool, Mode mode, size_t threads);
    Scanner(const Scanner&) = delete;
    Scanner& operator=(const Scanner&) = delete;

    // A block ends where a word ends: behind a separator, or at the end of the corpus.
    void feed(const char* data, size_t size);

    // The table of all words; the scanner takes no more blocks then.
    WordTable finish();

    uint64_t words() const;
    uint64_t invalid_utf8() const;

private:
    struct Worker {
        WordTable table;
        std::vector<char> copy;
        uint64_t words = 0;
        uint64_t invalid_utf8 = 0;
    };
    struct Piece {
        const char* begin;
        size_t size;
        bool padded;  // enough bytes of the same block follow
        uint32_t worker;
    };

    std::vector<Piece> split(const char* data, size_t size) const;
    void scan(Worker& worker, const Piece& piece, std::vector<uint32_t>* ids) const;

    std::shared_ptr<Spool> spool_;
    Mode mode_;
    bool finished_ = false;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::vector<uint32_t>> ids_;  // of each piece of a block; kept to be reused
};

// Bytes of `data` up to and with its last ASCII separator, 0 where it has none: where a stream may be cut.
size_t last_cut(const char* data, size_t size, Mode mode);

}  // namespace vastmax
