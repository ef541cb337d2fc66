#include "text/text_rows.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace vastmax {
namespace {

constexpr int kLongestFloat = 32;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

char* format_float(char* out, float value) {
#ifdef __cpp_lib_to_chars
    return std::to_chars(out, out + kLongestFloat, value).ptr;
#else
    return out + std::snprintf(out, kLongestFloat, "%.9g", static_cast<double>(value));
#endif
}

// Whether all of the field is one finite number.
bool parse_float(std::string_view field, float& value) {
    if (!field.empty() && field.front() == '+') field.remove_prefix(1);
#ifdef __cpp_lib_to_chars
    const char* begin = field.data();
    const char* end = begin + field.size();
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (stop != end || field.empty()) return false;
    if (error == std::errc::result_out_of_range) {  // too small or too large for a float
        value = static_cast<float>(std::strtod(std::string(field).c_str(), nullptr));
    } else if (error != std::errc()) {
        return false;
    }
#else
    const std::string copy(field);
    char* stop = nullptr;
    value = static_cast<float>(std::strtod(copy.c_str(), &stop));
    if (copy.empty() || *stop != '\0') return false;
#endif
    return std::isfinite(value);
}

// The last field of the line, cut off it together with the blanks before it.
std::string_view cut_last_field(std::string_view& line) {
    size_t start = line.size();
    while (start > 0 && !is_blank(line[start - 1])) --start;
    const std::string_view field = line.substr(start);
    while (start > 0 && is_blank(line[start - 1])) --start;
    line = line.substr(0, start);
    return field;
}

std::string parse_line(std::string_view line, float* row, int64_t dim, std::string_view& word) {
    for (int64_t k = dim - 1; k >= 0; --k) {
        const std::string_view field = cut_last_field(line);
        if (line.empty())
            return "has a word and " + std::to_string(dim - 1 - k) + " numbers, not " + std::to_string(dim);
        if (!parse_float(field, row[k])) return "has '" + std::string(field.substr(0, 40)) + "' for a finite number";
    }
    word = line;
    float extra;
    const std::string_view last = cut_last_field(line);
    if (!line.empty() && last.find('.') != std::string_view::npos && parse_float(last, extra))
        return "has more than " + std::to_string(dim) + " numbers";
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
    for (int64_t number = 0; !text.empty(); ++number) {
        const size_t newline = text.find('\n');
        std::string_view line = text.substr(0, newline);
        text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
        while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
        if (line.empty()) continue;
        const auto row = static_cast<int64_t>(parsed.words.size());
        std::string_view word;
        parsed.fault =
            row < max_rows ? parse_line(line, rows + row * dim, dim, word) : "is one word more than promised";
        if (!parsed.fault.empty()) {
            parsed.fault_line = number;
            return parsed;
        }
        parsed.words.push_back(word);
    }
    return parsed;
}

}  // namespace vastmax
