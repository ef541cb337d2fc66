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
    int64_t fault_line = -1;              // counted from 0 within the text; -1 where all is well
    std::string fault;
};

// Reads whole lines: the last dim fields are numbers, everything before them is the word, spaces and all.
// Row i of the lines that are not blank goes to rows + i * dim; at most max_rows of them.
ParsedRows parse_rows(std::string_view text, float* rows, int64_t dim, int64_t max_rows);

}  // namespace vastmax
