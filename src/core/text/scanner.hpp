// One pass over a corpus: reads blocks of bytes, counts words and spools their ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "text/separators.hpp"
#include "text/spool.hpp"
#include "text/word_table.hpp"

namespace vastmax {

// Each thread counts in a table of its own, without synchronisation; `finish` merges the tables. Which thread sees a
// word first depends on timing, so ids are provisional until `Spool::remap` assigns an order that depends on the words
// alone.
class Scanner {
public:
    // `spool` may be null: words are then only counted.
    Scanner(std::shared_ptr<Spool> spool, Mode mode, size_t threads);
    Scanner(const Scanner&) = delete;
    Scanner& operator=(const Scanner&) = delete;

    // A block must end where a word ends: after a separator, or at the end of the corpus.
    void feed(const char* data, size_t size);

    // Returns the table of all words; the scanner accepts no blocks afterwards.
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
        bool padded;  // followed by kPiecePadding bytes of the same block
        uint32_t worker;
    };

    std::vector<Piece> split(const char* data, size_t size) const;
    void scan(Worker& worker, const Piece& piece, std::vector<uint32_t>* ids) const;

    std::shared_ptr<Spool> spool_;
    Mode mode_;
    bool finished_ = false;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::vector<uint32_t>> ids_;  // of each piece of a block; kept for reuse
};

// Number of bytes of `data` up to and including its last ASCII separator, where a stream may be cut; 0 if it has none.
size_t last_cut(const char* data, size_t size, Mode mode);

}  // namespace vastmax
