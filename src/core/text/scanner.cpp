#include "text/scanner.hpp"

#include <cstring>
#include <stdexcept>

#include "base/parallel.hpp"
#include "text/tokenize.hpp"
#include "text/utf8.hpp"

namespace vastmax {
namespace {

constexpr size_t kPiece = size_t{1} << 18;  // fits the L2 cache together with its ids

bool is_cut(char c, Mode mode) {
    return mode == Mode::whitespace ? is_separator<Mode::whitespace>(c) : is_separator<Mode::exact>(c);
}

}  // namespace

size_t last_cut(const char* data, size_t size, Mode mode) {
    while (size > 0 && !is_cut(data[size - 1], mode)) --size;
    return size;
}

Scanner::Scanner(std::shared_ptr<Spool> spool, Mode mode, size_t threads) : spool_(std::move(spool)), mode_(mode) {
    for (size_t i = 0; i < (threads == 0 ? 1 : threads); ++i) workers_.push_back(std::make_unique<Worker>());
}

std::vector<Scanner::Piece> Scanner::split(const char* data, size_t size) const {
    std::vector<Piece> pieces;
    for (size_t begin = 0; begin < size;) {
        size_t end = size - begin > kPiece ? begin + kPiece : size;
        while (end < size && !is_cut(data[end - 1], mode_)) ++end;
        pieces.push_back({data + begin, end - begin, end + kPiecePadding <= size, 0});
        begin = end;
    }
    return pieces;
}

void Scanner::scan(Worker& worker, const Piece& piece, std::vector<uint32_t>* ids) const {
    const char* begin = piece.begin;
    size_t size = piece.size;
    if (mode_ == Mode::whitespace && is_ascii(begin, size) && piece.padded) {
        worker.words += tokenize<Mode::whitespace, false>(begin, size, worker.table, ids);
        return;
    }
    const bool valid = mode_ == Mode::exact || valid_utf8_prefix(begin, size) == size;
    if (!valid || !piece.padded) {
        worker.copy.clear();
        if (valid)
            worker.copy.insert(worker.copy.end(), begin, begin + size);
        else
            worker.invalid_utf8 += replace_invalid_utf8(begin, size, worker.copy);
        size = worker.copy.size();
        worker.copy.resize(size + kPiecePadding);
        begin = worker.copy.data();
    }
    worker.words += mode_ == Mode::exact ? tokenize<Mode::exact, false>(begin, size, worker.table, ids)
                                         : tokenize<Mode::whitespace, true>(begin, size, worker.table, ids);
}

void Scanner::feed(const char* data, size_t size) {
    if (finished_) throw std::logic_error("the scan is finished");
    std::vector<Piece> pieces = split(data, size);
    if (ids_.size() < pieces.size()) ids_.resize(pieces.size());
    parallel_for(pieces.size(), workers_.size(), [&](size_t number, size_t i) {
        pieces[i].worker = static_cast<uint32_t>(number);
        std::vector<uint32_t>* ids = spool_ ? &ids_[i] : nullptr;
        if (ids != nullptr) {
            ids->clear();
            ids->reserve(pieces[i].size / 5);
        }
        scan(*workers_[number], pieces[i], ids);
    });
    if (!spool_) return;
    for (size_t i = 0; i < pieces.size(); ++i)
        spool_->append_provisional(ids_[i].data(), ids_[i].size(), pieces[i].worker);
}

WordTable Scanner::finish() {
    if (finished_) throw std::logic_error("the scan is finished");
    finished_ = true;
    WordTable merged = std::move(workers_[0]->table);
    workers_[0]->table = WordTable();
    std::vector<std::vector<uint32_t>> maps(workers_.size());
    maps[0].resize(merged.size());
    for (size_t i = 0; i < maps[0].size(); ++i) maps[0][i] = static_cast<uint32_t>(i);
    for (size_t number = 1; number < workers_.size(); ++number) {
        const WordTable& table = workers_[number]->table;
        const std::vector<uint64_t> counts = table.counts();
        for (size_t i = 0; i < counts.size(); ++i) {
            const std::string_view word = table.word(static_cast<uint32_t>(i));
            maps[number].push_back(merged.add(key_of_unpadded(word.data(), word.size()), counts[i]));
        }
        workers_[number]->table = WordTable();
    }
    if (spool_) spool_->set_maps(std::move(maps));
    ids_ = {};
    return merged;
}

uint64_t Scanner::words() const {
    uint64_t total = 0;
    for (const auto& worker : workers_) total += worker->words;
    return total;
}

uint64_t Scanner::invalid_utf8() const {
    uint64_t total = 0;
    for (const auto& worker : workers_) total += worker->invalid_utf8;
    return total;
}

}  // namespace vastmax
