#include "text/pairs.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/ids.hpp"
#include "base/parallel.hpp"
#include "text/pair_table.hpp"
#include "text/word_table.hpp"

namespace vastmax {
namespace {

constexpr size_t kChunk = size_t{1} << 18;           // ids read at once
constexpr size_t kBatch = 64;                        // pairs whose slots are prefetched together
constexpr uint64_t kMostBounds = uint64_t{1} << 27;  // 256 MB of bounds at most
constexpr uint64_t kFewestBounds = uint64_t{1} << 16;

// Calls visit(key) for each pair of the stream whose ends are both frequent enough to be part of a frequent pair.
template <typename Visit>
void for_each_pair(const Spool& spool, const std::vector<uint8_t>& may_be_end, const uint8_t* is_connector,
                   Sequences& sequences, Visit&& visit) {
    std::vector<uint32_t> ids(kChunk);
    uint32_t start = kNoWord, between = 0;
    for (uint64_t at = 0; at < spool.size(); at += kChunk) {
        const size_t count = static_cast<size_t>(std::min<uint64_t>(kChunk, spool.size() - at));
        spool.read(at, ids.data(), count);
        for (size_t i = 0; i < count; ++i) {
            const uint32_t id = ids[i];
            if (id == kEndOfSentence) {
                start = kNoWord;
                continue;
            }
            if (id >= may_be_end.size()) throw std::out_of_range("the spool holds an id that has no count");
            if (is_connector[id]) {
                if (start != kNoWord) between = sequences.extend(between, id);
                continue;
            }
            if (start != kNoWord && may_be_end[start] && may_be_end[id]) visit(PairKey{start, id, between});
            start = id;
            between = 0;
        }
    }
}

// The pairs assigned to one thread by their hash. Each thread reads the whole stream and counts its own share, so that
// no counter is shared and the result is deterministic.
class Share {
public:
    Share(uint64_t bounds, size_t number, size_t of) : bounds_(bounds), number_(number), of_(of) {}

    void bound(const Spool& spool, const std::vector<uint8_t>& may_be_end, const uint8_t* is_connector) {
        traverse(
            spool, may_be_end, is_connector, [&](uint64_t hash) { __builtin_prefetch(&bounds_[place(hash)], 1); },
            [&](const PairKey&, uint64_t hash) {
                uint16_t& bound = bounds_[place(hash)];
                bound = static_cast<uint16_t>(bound + (bound != UINT16_MAX));
            });
    }

    void count(const Spool& spool, const std::vector<uint8_t>& may_be_end, const uint8_t* is_connector,
               uint64_t min_count) {
        const auto enough = static_cast<uint16_t>(std::min<uint64_t>(min_count, UINT16_MAX));
        traverse(
            spool, may_be_end, is_connector,
            [&](uint64_t hash) {
                __builtin_prefetch(&bounds_[place(hash)]);
                table_.prefetch(hash);
            },
            [&](const PairKey& key, uint64_t hash) {
                if (min_count <= 1 || bounds_[place(hash)] >= enough) ++table_[key];
            });
        bounds_ = {};
    }

    void append_frequent(Pairs& pairs, uint64_t min_count) const {
        for (const auto& slot : table_.slots()) {
            if (slot.value == 0 || slot.value < min_count) continue;
            pairs.first.push_back(slot.key.first);
            pairs.last.push_back(slot.key.last);
            sequences_.append_words(slot.key.between, pairs.between);
            pairs.offsets.push_back(pairs.between.size());
            pairs.counts.push_back(slot.value);
        }
    }

private:
    // The low bits of the hash select the share and the bound, the high bits the slot in the table.
    size_t place(uint64_t hash) const { return (hash / of_) & (bounds_.size() - 1); }

    template <typename Prefetch, typename Use>
    void traverse(const Spool& spool, const std::vector<uint8_t>& may_be_end, const uint8_t* is_connector,
                  Prefetch&& prefetch, Use&& use) {
        PairKey keys[kBatch];
        uint64_t hashes[kBatch];
        size_t filled = 0;
        const auto flush = [&] {
            for (size_t i = 0; i < filled; ++i) use(keys[i], hashes[i]);
            filled = 0;
        };
        for_each_pair(spool, may_be_end, is_connector, sequences_, [&](const PairKey& key) {
            const uint64_t hash = key.hash();
            if (hash % of_ != number_) return;
            prefetch(hash);
            keys[filled] = key;
            hashes[filled++] = hash;
            if (filled == kBatch) flush();
        });
        flush();
    }

    std::vector<uint16_t> bounds_;
    uint64_t number_, of_;
    PairTable table_;
    Sequences sequences_;
};

}  // namespace

uint32_t Sequences::extend(uint32_t sequence, uint32_t word) {
    const auto [entry, added] =
        numbers_.try_emplace(static_cast<uint64_t>(sequence) << 32 | word, static_cast<uint32_t>(links_.size()));
    if (added) links_.push_back({sequence, word});
    return entry->second;
}

uint32_t Sequences::find(uint32_t sequence, uint32_t word) const {
    const auto entry = numbers_.find(static_cast<uint64_t>(sequence) << 32 | word);
    return entry == numbers_.end() ? kNoSequence : entry->second;
}

void Sequences::append_words(uint32_t sequence, std::vector<uint32_t>& words) const {
    const auto begin = static_cast<std::ptrdiff_t>(words.size());
    for (; sequence != 0; sequence = links_[sequence].before) words.push_back(links_[sequence].word);
    std::reverse(words.begin() + begin, words.end());
}

Pairs count_pairs(const Spool& spool, const int64_t* word_counts, const uint8_t* is_connector, size_t num_words,
                  uint64_t min_count, size_t threads) {
    // A pair is never more frequent than its ends.
    std::vector<uint8_t> may_be_end(num_words);
    for (size_t id = 0; id < num_words; ++id)
        may_be_end[id] = word_counts[id] > 0 && static_cast<uint64_t>(word_counts[id]) >= min_count;

    uint64_t bounds = kFewestBounds;
    while (min_count > 1 && bounds < kMostBounds && bounds < spool.size()) bounds *= 2;
    uint64_t bounds_each = bounds;
    for (size_t shares = 1; shares < threads && bounds_each > kFewestBounds; shares *= 2) bounds_each /= 2;

    std::vector<Share> shares;
    shares.reserve(threads);
    for (size_t i = 0; i < threads; ++i) shares.emplace_back(bounds_each, i, threads);
    parallel_for(threads, threads, [&](size_t, size_t i) {
        if (min_count > 1) shares[i].bound(spool, may_be_end, is_connector);
        shares[i].count(spool, may_be_end, is_connector, min_count);
    });
    Pairs pairs;
    for (const Share& share : shares) share.append_frequent(pairs, min_count);
    return pairs;
}

namespace {

// Greedy joining as a state machine: a start word, the connectors seen since, and the number of their run.
class Joiner {
public:
    Joiner(const Pairs& pairs, const std::vector<uint32_t>& joined, const uint8_t* is_connector, size_t num_words)
        : is_connector_(is_connector), counts_(num_words), may_start_(num_words) {
        for (size_t i = 0; i < joined.size(); ++i) {
            uint32_t sequence = 0;
            for (uint64_t at = pairs.offsets[i]; at < pairs.offsets[i + 1]; ++at)
                sequence = sequences_.extend(sequence, pairs.between[at]);
            table_[{pairs.first[i], pairs.last[i], sequence}] = uint64_t{joined[i]} + 1;
            may_start_.at(pairs.first[i]) = 1;
        }
    }

    void take(uint32_t id, std::vector<uint32_t>& out) {
        if (id == kEndOfSentence) {
            release(out);
            out.push_back(id);
            return;
        }
        if (id >= counts_.size()) throw std::out_of_range("the spool holds an id that has no word");
        if (is_connector_[id]) {
            if (start_ == kNoWord) {
                emit(id, out);
                return;
            }
            between_.push_back(id);
            if (sequence_ != kNoSequence) sequence_ = sequences_.find(sequence_, id);
            return;
        }
        if (start_ != kNoWord && sequence_ != kNoSequence && may_start_[start_]) {
            if (const uint64_t phrase = table_.find({start_, id, sequence_})) {
                start_ = kNoWord;
                between_.clear();
                sequence_ = 0;
                emit(static_cast<uint32_t>(phrase - 1), out);
                return;
            }
        }
        release(out);
        start_ = id;
    }

    // Emits the words held back as a possible phrase.
    void release(std::vector<uint32_t>& out) {
        if (start_ == kNoWord) return;
        emit(start_, out);
        for (const uint32_t word : between_) emit(word, out);
        start_ = kNoWord;
        between_.clear();
        sequence_ = 0;
    }

    std::vector<uint64_t>& counts() { return counts_; }

private:
    void emit(uint32_t id, std::vector<uint32_t>& out) {
        ++counts_.at(id);
        out.push_back(id);
    }

    const uint8_t* is_connector_;
    std::vector<uint64_t> counts_;
    std::vector<uint8_t> may_start_;
    PairTable table_;
    Sequences sequences_;
    uint32_t start_ = kNoWord;
    uint32_t sequence_ = 0;
    std::vector<uint32_t> between_;
};

}  // namespace

std::vector<uint64_t> join_pairs(Spool& spool, const Pairs& pairs, const std::vector<uint32_t>& joined,
                                 const uint8_t* is_connector, size_t num_words) {
    Joiner joiner(pairs, joined, is_connector, num_words);
    std::vector<uint32_t> in(kChunk), out;
    uint64_t written = 0;
    for (uint64_t at = 0; at < spool.size(); at += kChunk) {
        const size_t count = static_cast<size_t>(std::min<uint64_t>(kChunk, spool.size() - at));
        spool.read(at, in.data(), count);
        out.clear();
        for (size_t i = 0; i < count; ++i) joiner.take(in[i], out);
        if (at + count == spool.size()) joiner.release(out);
        spool.write(written, out.data(), out.size());  // never passes what was read: joining only shortens
        written += out.size();
    }
    spool.truncate(written);
    return std::move(joiner.counts());
}

}  // namespace vastmax
