// Formats and parses lines "word 0.1 -2.5 …", the text format of word2vec, where the conversion of numbers takes all
// the time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vastmax {

// Appends " 0.1 -2.5 …\n" with the shortest digits that read back as the same float; nine digits if the standard
// library lacks std::to_chars for floats.
void append_row(std::string& text, const float* row, int64_t dim);

struct ParsedRows {
    std::vector<std::string_view> words;  // views of the text
    size_t end = 0;                       // offset of the first line that was not read
    std::string fault;                    // what is wrong with that line; empty at the end of the text or of the rows
};

// Parses whole lines: the last dim fields are numbers, everything before them is the word, including spaces. The i-th
// non-blank line goes to rows + i * dim. Stops at an invalid line, or after max_rows.
ParsedRows parse_rows(std::string_view text, float* rows, int64_t dim, int64_t max_rows);

}  // namespace vastmax
