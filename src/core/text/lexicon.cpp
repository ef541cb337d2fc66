#include "text/lexicon.hpp"

#include <algorithm>
#include <stdexcept>

#include "text/separators.hpp"

namespace vastmax {
namespace {

// Calls use(word) for each word of `joined`.
template <typename Use>
void for_each_word(std::string_view joined, Use&& use) {
    if (joined.empty()) return;
    for (;;) {
        const size_t end = joined.find(kWordEnd);
        use(joined.substr(0, end));
        if (end == std::string_view::npos) return;
        joined.remove_prefix(end + 1);
    }
}

uint64_t first_bytes(std::string_view word) {
    uint64_t value = 0;
    for (size_t i = 0; i < 8; ++i) value = value << 8 | (i < word.size() ? static_cast<unsigned char>(word[i]) : 0);
    return value;
}

}  // namespace

void Lexicon::set_counts(std::vector<uint64_t> counts) {
    if (counts.size() != size()) throw std::invalid_argument("give one count per word");
    counts_ = std::move(counts);
}

std::vector<uint32_t> Lexicon::intern(std::string_view joined) {
    std::vector<uint32_t> ids;
    for_each_word(joined, [&](std::string_view word) {
        ids.push_back(table_.add(key_of_unpadded(word.data(), word.size()), 0));
    });
    counts_.resize(size());
    return ids;
}

std::vector<uint32_t> Lexicon::ranked(uint64_t min_count, size_t max_size) const {
    struct Rank {
        uint64_t count, first;
        uint32_t id;
    };
    std::vector<Rank> ranks;
    for (uint32_t id = 0; id < counts_.size(); ++id)
        if (counts_[id] >= min_count && counts_[id] > 0) ranks.push_back({counts_[id], first_bytes(word(id)), id});
    const auto before = [&](const Rank& a, const Rank& b) {
        if (a.count != b.count) return a.count > b.count;
        if (a.first != b.first) return a.first < b.first;
        return word(a.id) < word(b.id);
    };
    const size_t kept = std::min(max_size, ranks.size());
    if (kept < ranks.size()) {
        std::nth_element(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(kept), ranks.end(), before);
        ranks.resize(kept);
    }
    std::sort(ranks.begin(), ranks.end(), before);
    std::vector<uint32_t> ids;
    ids.reserve(kept);
    for (const Rank& rank : ranks) ids.push_back(rank.id);
    return ids;
}

std::string Lexicon::joined(const uint32_t* ids, size_t count) const {
    std::string text;
    text.reserve(12 * count);
    for (size_t i = 0; i < count; ++i) {
        if (ids[i] >= size()) throw std::out_of_range("no word has this id");
        if (i > 0) text += kWordEnd;
        text += word(ids[i]);
    }
    return text;
}

std::string Lexicon::joined() const {
    std::string text;
    text.reserve(table_.text_size() + size());
    for (uint32_t id = 0; id < size(); ++id) {
        if (id > 0) text += kWordEnd;
        text += word(id);
    }
    return text;
}

std::vector<uint32_t> Lexicon::find(std::string_view joined) const {
    std::vector<uint32_t> ids;
    for_each_word(
        joined, [&](std::string_view word) { ids.push_back(table_.find(key_of_unpadded(word.data(), word.size()))); });
    return ids;
}

Lexicon Lexicon::renamed(std::string_view joined, std::vector<uint32_t>& table) const {
    WordTable merged;
    table.clear();
    table.reserve(size());
    for_each_word(joined, [&](std::string_view word) {
        if (table.size() >= size()) throw std::invalid_argument("more names than words");
        table.push_back(merged.add(key_of_unpadded(word.data(), word.size()), counts_[table.size()]));
    });
    if (table.size() != size()) throw std::invalid_argument("fewer names than words");
    return Lexicon(std::move(merged));
}

}  // namespace vastmax
