// Lines "word 0.1 -2.5 …" and back: the text format of word2vec, where formatting numbers is all the time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vastmax {

// Appends " 0.1 -2.5 …\n" with the shortest digits that read back as the same float.
void append_row(std::string& text, const float* row, int64_t dim);

struct ParsedRows {
    std::vector<std::string_view> words;  // views of the text
    size_t end = 0;                       // where the first line begins that was not read
    std::string fault;                    // what is wrong with that line; empty where there was no room for it
};

// Reads whole lines: the last dim fields are numbers, everything before them is the word, spaces within it and all.
// Row i of the lines that are not blank goes to rows + i * dim; it stops at a line at fault, or after max_rows.
ParsedRows parse_rows(std::string_view text, float* rows, int64_t dim, int64_t max_rows);

}  // namespace vastmax
