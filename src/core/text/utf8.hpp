// UTF-8 as Python decodes it with errors="replace".
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vastmax {

bool is_ascii(const char* begin, size_t size);

// Length of the longest valid prefix.
size_t valid_utf8_prefix(const char* begin, size_t size);

// Appends the bytes to `out` with every maximal ill-formed part replaced by U+FFFD; returns the number of
// replacements.
uint64_t replace_invalid_utf8(const char* begin, size_t size, std::vector<char>& out);

}  // namespace vastmax
