#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/parallel.hpp"
#include "ops/bigrams.hpp"
#include "ops/history.hpp"

namespace vastmax {
namespace {

constexpr double kTiny = 1e-300;    // replaces zero divisors; also the least weight left to a class that can be drawn
constexpr double kLittle = 1e-200;  // a row with less target mass is ignored: quotients would overflow

// A distinct class drawn by a row, and what it adds to the weights of its leaves.
struct Lesson {
    int64_t id;
    size_t entry;
    double target;          // P of the class among those of the row
    double of_unigram = 0;  // moves
    double of_bigram = 0;
};

// Finds the distinct classes of a row by open addressing: `places` gets the first occurrence of each. `seen` is the
// hash table, a power of two of slots. Returns the number of classes.
size_t different(const int64_t* ids, size_t count, std::vector<size_t>& seen, std::vector<size_t>& places) {
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    seen.assign(slots, kNone);
    places.clear();
    for (size_t i = 0; i < count; ++i) {
        size_t slot = (static_cast<uint64_t>(ids[i]) * 0x9e3779b97f4a7c15ULL >> 32) & (slots - 1);
        while (seen[slot] != kNone && ids[seen[slot]] != ids[i]) slot = (slot + 1) & (slots - 1);
        if (seen[slot] == kNone) {
            seen[slot] = i;
            places.push_back(i);
        }
    }
    return places.size();
}

struct LearningRoom {
    std::vector<size_t> seen, places, entries;
    std::vector<int64_t> ids;
};

// A row's result: the number of its lessons (0 if the softmax of its logits is not finite), and whether it changes the
// bigram table.
struct Row {
    size_t count = 0;
    bool of_bigrams = false;
};

// Writes the lessons of a row.
Row learn_row(const BigramTables& tables, const History& history, const int64_t* ids, const double* logits,
              size_t count, LearningRoom& room, Lesson* lessons) {
    const size_t found = different(ids, count, room.seen, room.places);
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (const size_t place : room.places) largest = std::max(largest, logits[place]);
    room.ids.resize(found);
    room.entries.resize(found);
    for (size_t i = 0; i < found; ++i) {
        const double share = std::exp(logits[room.places[i]] - largest);
        lessons[i] = {ids[room.places[i]], kNone, share};
        room.ids[i] = lessons[i].id;
        sum += share;
    }
    if (!std::isfinite(sum)) return {};
    find_entries(tables, history, room.ids.data(), found, room.entries.data());
    double unigram = 0, bigram = 0, asked = 0;
    for (size_t i = 0; i < found; ++i) {
        Lesson& lesson = lessons[i];
        lesson.target /= sum;
        lesson.entry = room.entries[i];
        unigram += tables.unigram[tables.classes + static_cast<size_t>(lesson.id)];
        if (lesson.entry == kNone) continue;
        bigram += tables.bigram[tables.entries + lesson.entry];
        asked += lesson.target;
    }
    for (size_t i = 0; i < found; ++i) {
        Lesson& lesson = lessons[i];
        lesson.of_unigram = lesson.target * unigram - tables.unigram[tables.classes + static_cast<size_t>(lesson.id)];
        if (lesson.entry != kNone && asked > kLittle)
            lesson.of_bigram = lesson.target * (bigram / asked) - tables.bigram[tables.entries + lesson.entry];
    }
    return {found, asked > kLittle};
}

// A change of a leaf's weight.
struct Move {
    size_t cell, group;
    double by;
};

// Stable radix sort by cell.
void sort_by_cell(std::vector<Move>& moves, size_t cells) {
    constexpr size_t bits = 11, values = size_t{1} << bits;
    std::vector<Move> other(moves.size());
    for (size_t shift = 0; shift < 64 && (cells - 1) >> shift; shift += bits) {
        size_t starts[values + 1] = {};
        for (const Move& move : moves) ++starts[(move.cell >> shift & (values - 1)) + 1];
        for (size_t value = 0; value < values; ++value) starts[value + 1] += starts[value];
        for (const Move& move : moves) other[starts[move.cell >> shift & (values - 1)]++] = move;
        moves.swap(other);
    }
}

// Sums the moves of each leaf and applies them. Cells of a group are adjacent.
void make_moves(double* sums, size_t leaves, std::vector<Move>& moves, double rate) {
    if (moves.empty()) return;
    sort_by_cell(moves, leaves);
    std::vector<size_t> times, changed;
    size_t cells = 0;
    for (size_t i = 0; i < moves.size(); ++i) {
        if (cells && moves[cells - 1].cell == moves[i].cell) {
            moves[cells - 1].by += moves[i].by;
            ++times[cells - 1];
        } else {
            moves[cells++] = moves[i];
            times.push_back(1);
        }
    }
    for (size_t first = 0, stop; first < cells; first = stop) {
        double most = 0;
        for (stop = first; stop < cells && moves[stop].group == moves[first].group; ++stop)
            most = std::max(most, static_cast<double>(times[stop]));
        const double each = rate < 1 ? -std::expm1(most * std::log1p(-rate)) / most : 1 / most;
        for (size_t i = first; i < stop; ++i) {
            double& weight = sums[leaves + moves[i].cell];
            // a class that could be drawn still can, or there would be fewer classes than `support` says
            weight = std::max(weight + each * moves[i].by, std::min(weight, kTiny));
        }
    }
    changed.reserve(cells);
    for (size_t i = 0; i < cells; ++i) changed.push_back(leaves + moves[i].cell);
    add_up(sums, leaves, changed);
}

// The derivative of KL(P || Q) with respect to the mixture of a bin, estimated from a row's lessons; NaN if they say
// nothing.
double mixture_slope(const BigramTables& tables, const History& history, const Lesson* lessons, size_t count) {
    double mixed = 0, difference = 0, target = 0, wanted = 0;
    for (size_t i = 0; i < count; ++i) {
        const Probability p(tables, history, lessons[i].id, lessons[i].entry);
        mixed += p.mixed;
        difference += p.unigram - p.bigram;
        if (p.mixed > 0) {
            target += lessons[i].target;
            wanted += lessons[i].target * (p.unigram - p.bigram) / std::max(p.mixed, kTiny);
        }
    }
    if (!(history.share < 1) || !(target > kLittle)) return std::numeric_limits<double>::quiet_NaN();
    return (difference / std::max(mixed, kTiny) - wanted / target) * history.share * (1 - history.share);
}

}  // namespace

void adapt_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, const int64_t* ids,
                   const double* logits, const int64_t* offsets, double rate, double mixture_rate, size_t threads) {
    std::vector<Lesson> lessons(static_cast<size_t>(offsets[rows]));
    std::vector<Row> taught(rows);
    std::vector<size_t> starts(rows);
    std::vector<LearningRoom> rooms(std::max<size_t>(1, threads));
    const auto for_rows = [&](auto&& work) {
        pooled_for((rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
            for (size_t row = number * kRowsAtATime; row < std::min(rows, (number + 1) * kRowsAtATime); ++row)
                work(worker, row, History(tables, context[row]));
        });
    };
    for_rows([&](size_t worker, size_t row, const History& history) {
        const auto first = static_cast<size_t>(offsets[row]), stop = static_cast<size_t>(offsets[row + 1]);
        starts[row] = history.start;
        taught[row] = learn_row(tables, history, ids + first, logits + first, stop - first, rooms[worker],
                                lessons.data() + first);
    });
    if (rate > 0)
        pooled_for(2, threads, [&](size_t, size_t table) {
            std::vector<Move> moves;
            moves.reserve(lessons.size());
            for (size_t row = 0; row < rows; ++row)
                for (size_t i = 0; i < taught[row].count; ++i) {
                    const Lesson& lesson = lessons[static_cast<size_t>(offsets[row]) + i];
                    if (table == 0) moves.push_back({static_cast<size_t>(lesson.id), 0, lesson.of_unigram});
                    if (table == 1 && lesson.entry != kNone && taught[row].of_bigrams)
                        moves.push_back({lesson.entry, starts[row], lesson.of_bigram});
                }
            make_moves(table ? tables.bigram : tables.unigram, table ? tables.entries : tables.classes, moves, rate);
        });
    if (mixture_rate == 0) return;
    std::vector<double> slopes(rows);
    for_rows([&](size_t, size_t row, const History& history) {
        slopes[row] = mixture_slope(tables, history, lessons.data() + offsets[row], taught[row].count);
    });
    double total[kBins] = {}, told[kBins] = {};
    for (size_t row = 0; row < rows; ++row)
        if (!std::isnan(slopes[row])) {
            total[tables.bins[context[row]]] += slopes[row];
            ++told[tables.bins[context[row]]];
        }
    for (size_t bin = 0; bin < kBins; ++bin)
        tables.mixture[bin] -= mixture_rate * total[bin] / std::max(told[bin], 1.0);
}

}  // namespace vastmax
