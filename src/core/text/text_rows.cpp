#include "text/text_rows.hpp"

#include <locale.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace vastmax {
namespace {

constexpr int kLongestFloat = 32;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// Parses with a decimal point in every locale; strtod would follow the program's.
double parse_double(const std::string& digits, const char*& stop) {
    char* end = nullptr;
    static const locale_t plain = newlocale(LC_ALL_MASK, "C", static_cast<locale_t>(nullptr));
    const double value = strtod_l(digits.c_str(), &end, plain);
    stop = end;
    return value;
}

char* format_float(char* out, float value) {
#ifdef __cpp_lib_to_chars
    return std::to_chars(out, out + kLongestFloat, value).ptr;
#else
    char* const end = out + std::snprintf(out, kLongestFloat, "%.9g", static_cast<double>(value));
    for (char* c = out; c != end; ++c)
        if (*c == ',') *c = '.';
    return end;
#endif
}

// Parses one finite number that must be the whole field; returns whether it is.
bool parse_float(std::string_view field, float& value) {
    if (!field.empty() && field.front() == '+') field.remove_prefix(1);
    if (field.empty()) return false;
    const char* stop = nullptr;
#ifdef __cpp_lib_to_chars
    const char* begin = field.data();
    const char* end = begin + field.size();
    const auto [reached, error] = std::from_chars(begin, end, value);
    if (reached != end) return false;
    if (error == std::errc::result_out_of_range) {  // too small or too large for a float
        value = static_cast<float>(parse_double(std::string(field), stop));
    } else if (error != std::errc()) {
        return false;
    }
#else
    if (field.find_first_not_of("+-.0123456789eE") != std::string_view::npos) return false;  // strtod accepts more
    const std::string copy(field);
    value = static_cast<float>(parse_double(copy, stop));
    if (*stop != '\0') return false;
#endif
    return std::isfinite(value);
}

// Removes the last field of the line and the blanks before it; returns the field.
std::string_view cut_last_field(std::string_view& line) {
    size_t start = line.size();
    while (start > 0 && !is_blank(line[start - 1])) --start;
    const std::string_view field = line.substr(start);
    while (start > 0 && is_blank(line[start - 1])) --start;
    line = line.substr(0, start);
    return field;
}

// Parses one line; returns what is wrong with it, or an empty string. The word is everything before the numbers,
// without surrounding blanks, unless it consists of blanks only.
std::string parse_line(std::string_view line, float* row, int64_t dim, std::string_view& word) {
    size_t blanks = 0;
    while (is_blank(line[blanks])) ++blanks;
    const std::string_view blank_word = line.substr(0, blanks > 1 ? blanks - 1 : blanks);
    line.remove_prefix(blanks);
    for (int64_t k = dim - 1; k >= 0; --k) {
        const std::string_view field = cut_last_field(line);
        if (line.empty() && (k > 0 || blanks == 0))
            return "has " + std::to_string(dim - 1 - k) + " of " + std::to_string(dim) + " numbers after the word";
        if (!parse_float(field, row[k])) {
            const bool comma = field.find(',') != std::string_view::npos;
            return "has '" + std::string(field.substr(0, 40)) + "' instead of a finite number" +
                   (comma ? ": write decimals with a point" : "");
        }
    }
    word = line.empty() ? blank_word : line;
    return "";
}

}  // namespace

void append_row(std::string& text, const float* row, int64_t dim) {
    char buffer[kLongestFloat];
    for (int64_t k = 0; k < dim; ++k) {
        text.push_back(' ');
        text.append(buffer, format_float(buffer, row[k]));
    }
    text.push_back('\n');
}

ParsedRows parse_rows(std::string_view text, float* rows, int64_t dim, int64_t max_rows) {
    ParsedRows parsed;
    while (parsed.end < text.size()) {
        const size_t newline = text.find('\n', parsed.end);
        const size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
        std::string_view line =
            text.substr(parsed.end, (newline == std::string_view::npos ? next : newline) - parsed.end);
        while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
        if (!line.empty()) {
            const auto row = static_cast<int64_t>(parsed.words.size());
            if (row == max_rows) break;
            std::string_view word;
            parsed.fault = parse_line(line, rows + row * dim, dim, word);
            if (!parsed.fault.empty()) break;
            parsed.words.push_back(word);
        }
        parsed.end = next;
    }
    return parsed;
}

}  // namespace vastmax
