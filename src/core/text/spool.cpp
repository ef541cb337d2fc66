#include "text/spool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "base/ids.hpp"
#include "base/parallel.hpp"
#include "text/word_table.hpp"

namespace vastmax {
namespace {

constexpr size_t kChunk = size_t{1} << 19;  // ids a thread rewrites at once: 2 MB

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

Spool::Spool(int descriptor) : descriptor_(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)) {
    if (descriptor_ < 0) fail("cannot use the file for the encoded corpus");
}

Spool::~Spool() { ::close(descriptor_); }

void Spool::write(uint64_t at, const uint32_t* ids, size_t count) {
    const char* bytes = reinterpret_cast<const char*>(ids);
    size_t left = count * sizeof(uint32_t);
    auto offset = static_cast<off_t>(at * sizeof(uint32_t));
    while (left > 0) {
        const ssize_t done = ::pwrite(descriptor_, bytes, left, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail("cannot write the encoded corpus");
        bytes += done;
        offset += done;
        left -= static_cast<size_t>(done);
    }
}

void Spool::read(uint64_t at, uint32_t* ids, size_t count) const {
    char* bytes = reinterpret_cast<char*>(ids);
    size_t left = count * sizeof(uint32_t);
    auto offset = static_cast<off_t>(at * sizeof(uint32_t));
    while (left > 0) {
        const ssize_t done = ::pread(descriptor_, bytes, left, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail("cannot read the encoded corpus");
        if (done == 0)
            throw std::runtime_error("the encoded corpus was truncated while in use: encode the corpus again");
        bytes += done;
        offset += done;
        left -= static_cast<size_t>(done);
    }
}

void Spool::append(const uint32_t* ids, size_t count) {
    write(size_, ids, count);
    size_ += count;
}

void Spool::append_provisional(const uint32_t* ids, size_t count, uint32_t worker) {
    append(ids, count);
    if (!segments_.empty() && segments_.back().worker == worker)
        segments_.back().end = size_;
    else
        segments_.push_back({size_, worker});
}

void Spool::truncate(uint64_t size) {
    if (::ftruncate(descriptor_, static_cast<off_t>(size * sizeof(uint32_t))) != 0)
        fail("cannot shorten the encoded corpus");
    size_ = size;
    segments_.clear();
    maps_.clear();
}

void Spool::remap_range(uint64_t begin, uint64_t end, const std::vector<std::vector<uint32_t>>& tables,
                        std::vector<uint32_t>& in, std::vector<uint32_t>& out) const {
    in.resize(end - begin);
    out.resize(end - begin);
    read(begin, in.data(), in.size());
    auto segment = std::upper_bound(segments_.begin(), segments_.end(), begin,
                                    [](uint64_t at, const Segment& s) { return at < s.end; });
    size_t kept = 0;
    uint32_t last = 0;
    for (uint64_t at = begin; at < end;) {
        const uint64_t stop = segment == segments_.end() ? end : std::min(end, segment->end);
        const std::vector<uint32_t>& table = tables[segment == segments_.end() ? 0 : segment->worker];
        for (; at < stop; ++at) {
            const uint32_t id = in[at - begin];
            if (id == kEndOfSentence) {
                if (last == kEndOfSentence) continue;
                out[kept++] = last = kEndOfSentence;
                continue;
            }
            const uint32_t now = table.at(id);
            if (now == kNoWord) continue;
            out[kept++] = last = now;
        }
        if (segment != segments_.end()) ++segment;
    }
    out.resize(kept);
}

StreamSize Spool::remap(const uint32_t* table, size_t table_size, size_t threads) {
    std::vector<std::vector<uint32_t>> tables;
    if (maps_.empty()) {
        tables.emplace_back(table, table + table_size);
        for (auto& segment : segments_) segment.worker = 0;
    }
    for (const auto& map : maps_) {
        std::vector<uint32_t> composed(map.size());
        for (size_t i = 0; i < map.size(); ++i) {
            if (map[i] >= table_size) throw std::out_of_range("the table of ids is shorter than the list of words");
            composed[i] = table[map[i]];
        }
        tables.push_back(std::move(composed));
    }

    // Rounds of one chunk per thread: all chunks of a round are read before any is written, and writing never passes
    // what has been read, so the file can be rewritten in place.
    StreamSize total;
    uint64_t written = 0;
    uint32_t last = kEndOfSentence;
    std::vector<std::vector<uint32_t>> in(threads), out(threads);
    const uint64_t old_size = size_;
    for (uint64_t begin = 0; begin < old_size; begin += kChunk * threads) {
        const size_t chunks =
            static_cast<size_t>(std::min<uint64_t>(threads, (old_size - begin + kChunk - 1) / kChunk));
        parallel_for(chunks, threads, [&](size_t, size_t i) {
            const uint64_t from = begin + i * kChunk;
            remap_range(from, std::min(from + kChunk, old_size), tables, in[i], out[i]);
        });
        for (size_t i = 0; i < chunks; ++i) {
            const std::vector<uint32_t>& ids = out[i];
            if (ids.empty()) continue;
            // A chunk cannot know whether the one before it ended a sentence.
            const size_t skip = ids.front() == kEndOfSentence && last == kEndOfSentence ? 1 : 0;
            write(written, ids.data() + skip, ids.size() - skip);
            written += ids.size() - skip;
            last = ids.back();
            const auto ends = static_cast<uint64_t>(
                std::count(ids.begin() + static_cast<std::ptrdiff_t>(skip), ids.end(), kEndOfSentence));
            total.sentences += ends;
            total.words += ids.size() - skip - ends;
        }
    }
    truncate(written);
    return total;
}

}  // namespace vastmax
