#include "ops/bigrams.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "ops/sum_tree.hpp"

namespace vastmax {
namespace {

constexpr double kTiny = 1e-300;
constexpr size_t kNone = std::numeric_limits<size_t>::max();
constexpr size_t kRowsAtATime = 8;

// What a previous class tells.
struct History {
    int64_t first = 0;  // its pair with class 0
    size_t start = 0, stop = 0;
    RangeParts parts;
    double share = 1;  // of the unigram table

    History(const BigramTables& tables, int64_t context) {
        if (context < 0 || static_cast<size_t>(context) >= tables.classes) return;
        first = context * static_cast<int64_t>(tables.classes);
        start = static_cast<size_t>(tables.starts[context]);
        stop = static_cast<size_t>(tables.starts[context + 1]);
        parts = RangeParts(tables.bigram, tables.entries, start, stop);
        if (parts.mass() > 0) share = 1 / (1 + std::exp(-tables.mixture[tables.bins[context]]));
    }
};

// Finds where classes stand in a row of the bigram table, kNone for those that do not.
void find_entries(const BigramTables& tables, const History& history, const int64_t* ids, size_t count,
                  size_t* entries) {
    for (size_t first = 0; first < count; first += kSideBySide) {
        const size_t some = std::min(kSideBySide, count - first);
        const int64_t* at[kSideBySide];
        std::fill_n(at, kSideBySide, tables.pairs + history.start);
        size_t length = history.stop - history.start;
        for (; length > 1; length -= length / 2)
            for (size_t i = 0; i < some; ++i)
                at[i] += at[i][length / 2 - 1] < history.first + ids[first + i] ? length / 2 : 0;
        for (size_t i = 0; i < some; ++i) {
            const bool is_there = length > 0 && *at[i] == history.first + ids[first + i];
            entries[first + i] = is_there ? static_cast<size_t>(at[i] - tables.pairs) : kNone;
        }
    }
}

// The probabilities of a class by both tables, and mixed.
struct Probability {
    double unigram, bigram, mixed;

    Probability(const BigramTables& tables, const History& history, int64_t id, size_t entry)
        : unigram(tables.unigram[tables.classes + static_cast<size_t>(id)] / tables.unigram[1]),
          bigram(entry == kNone ? 0 : tables.bigram[tables.entries + entry] / positive(history.parts.mass())),
          mixed(history.share < 0.5 ? bigram + history.share * (unigram - bigram)
                                    : unigram - (unigram - bigram) * (1 - history.share)) {}

private:
    static double positive(double mass) { return mass > 0 ? mass : 1; }
};

// --- draws ---

struct DrawingRoom {
    std::vector<size_t> nodes, places, entries;
    std::vector<double> left_over;
    std::vector<int64_t> ids;

    explicit DrawingRoom(size_t count = 0)
        : nodes(count), places(count), entries(count), left_over(count), ids(count) {}
};

void draw_row(const BigramTables& tables, const History& history, size_t count, const double* coins,
              const double* chances, int64_t* ids, double* log_prob, DrawingRoom& room) {
    size_t unigrams = 0, bigrams = 0;  // the first in the order of their places, the others from the rear
    for (size_t i = 0; i < count; ++i) {
        const bool unigram = coins[i] < history.share;
        room.places[unigram ? unigrams++ : count - ++bigrams] = i;
    }
    for (size_t i = 0; i < count; ++i) {
        const double chance = chances[room.places[i]];
        room.left_over[i] = chance * (i < unigrams ? tables.unigram[1] : history.parts.mass());
        room.nodes[i] = i < unigrams ? 1 : history.parts.find(room.left_over[i]);
    }
    descend(tables.unigram, tables.classes, room.nodes.data(), room.left_over.data(), unigrams);
    descend(tables.bigram, tables.entries, room.nodes.data() + unigrams, room.left_over.data() + unigrams, bigrams);
    for (size_t i = 0; i < unigrams; ++i) room.ids[i] = static_cast<int64_t>(room.nodes[i] - tables.classes);
    find_entries(tables, history, room.ids.data(), unigrams, room.entries.data());
    for (size_t i = unigrams; i < count; ++i) {
        room.entries[i] = room.nodes[i] - tables.entries;
        room.ids[i] = tables.pairs[room.entries[i]] - history.first;
    }
    for (size_t i = 0; i < count; ++i) {
        ids[room.places[i]] = room.ids[i];
        log_prob[room.places[i]] = std::log(Probability(tables, history, room.ids[i], room.entries[i]).mixed);
    }
}

// --- draws until the guard is content ---

// Σ r and Σ r² of the ratios r, told by their logarithms, relative to the largest.
struct Sums {
    double largest = -std::numeric_limits<double>::infinity(), once = 0, squares = 0;

    template <typename T>
    void add(const T* logits, const double* log_prob, size_t count, double base) {
        double top = largest;
        for (size_t i = 0; i < count; ++i) top = std::max(top, static_cast<double>(logits[i]) - base - log_prob[i]);
        if (top > largest) {
            const double shrunk = once > 0 ? std::exp(largest - top) : 0;
            once *= shrunk;
            squares *= shrunk * shrunk;
            largest = top;
        }
        for (size_t i = 0; i < count; ++i) {
            const double ratio = std::exp(static_cast<double>(logits[i]) - base - log_prob[i] - largest);
            once += ratio;
            squares += ratio * ratio;
        }
    }
    double effective() const { return once * once / squares; }
};

// What one row drew.
template <typename T>
struct Drawn {
    std::vector<int64_t> ids;
    std::vector<double> log_prob;
    std::vector<Wide<T>> logits;
    Sums sums;
    bool content = false;
};

struct GuardedRoom {
    DrawingRoom room;
    std::vector<double> coins, chances;
    std::vector<int64_t> zeros;
};

template <typename T>
void draw_row_guarded(const BigramTables& tables, const History& history, const T* hidden, const Scores<T>& scores,
                      double base, const Guard& guard, const GatheredKernels<T>& kernels, Random random,
                      GuardedRoom& room, Drawn<T>& drawn) {
    size_t more = std::min(guard.block, guard.most);
    for (size_t before = 0; more > 0;) {
        const size_t total = before + more;
        if (room.coins.size() < more) {
            room.room = DrawingRoom(more);
            for (auto* chances : {&room.coins, &room.chances}) chances->resize(more);
            room.zeros.resize(more);
        }
        for (size_t i = 0; i < more; ++i) {
            room.coins[i] = random.uniform();
            room.chances[i] = random.uniform();
        }
        drawn.ids.resize(total);
        drawn.log_prob.resize(total);
        drawn.logits.resize(total);
        draw_row(tables, history, more, room.coins.data(), room.chances.data(), drawn.ids.data() + before,
                 drawn.log_prob.data() + before, room.room);
        kernels.logits(hidden, scores.table, scores.bias, drawn.ids.data() + before, room.zeros.data(), more,
                       scores.width, drawn.logits.data() + before);
        drawn.sums.add(drawn.logits.data() + before, drawn.log_prob.data() + before, more, base);
        const double effective = drawn.sums.effective();
        drawn.content = !(effective < guard.effective);
        if (drawn.content) return;
        const double missing = static_cast<double>(total) * (guard.effective / effective - 1);
        const double blocks =
            std::ceil(std::min(missing, static_cast<double>(total)) / static_cast<double>(guard.block));
        more = std::min(static_cast<size_t>(blocks) * guard.block, guard.most - total);
        before = total;
    }
}

// --- moves ---

// A draw that teaches: a class that a row drew, once.
struct Lesson {
    int64_t id;
    size_t entry;
    double target;          // P of it among the row's
    double of_unigram = 0;  // moves
    double of_bigram = 0;
};

// Of a row the different classes, by a table of places; `seen` holds a power of two of slots, all kNone.
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

// What a row teaches: how many lessons, none where a logit is no number; and whether the bigram table is asked
// anything.
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
        if (lesson.entry != kNone && asked > 0)
            lesson.of_bigram = lesson.target * (bigram / asked) - tables.bigram[tables.entries + lesson.entry];
    }
    return {found, asked > 0};
}

// A move of a leaf.
struct Move {
    size_t cell, group;
    double by;
};

// Sorts by cell; moves of one cell stay in their order.
void sort_by_cell(std::vector<Move>& moves, size_t cells) {
    constexpr size_t kDigit = 11, kValues = size_t{1} << kDigit;
    std::vector<Move> other(moves.size());
    for (size_t shift = 0; shift < 64 && (cells - 1) >> shift; shift += kDigit) {
        size_t starts[kValues + 1] = {};
        for (const Move& move : moves) ++starts[(move.cell >> shift & (kValues - 1)) + 1];
        for (size_t value = 0; value < kValues; ++value) starts[value + 1] += starts[value];
        for (const Move& move : moves) other[starts[move.cell >> shift & (kValues - 1)]++] = move;
        moves.swap(other);
    }
}

// Adds up the moves of each leaf and makes them. Cells of a group stand beside each other.
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
            // what could be drawn still can, or there would be fewer classes than support says
            weight = std::max(weight + each * moves[i].by, std::min(weight, kTiny));
        }
    }
    changed.reserve(cells);
    for (size_t i = 0; i < cells; ++i) changed.push_back(leaves + moves[i].cell);
    add_up(sums, leaves, changed);
}

// The slope of KL(P || Q) by a bin's mixture that a row's lessons give; no number where they say nothing.
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
    if (!(history.share < 1) || !(target > 0)) return std::numeric_limits<double>::quiet_NaN();
    return (difference / std::max(mixed, kTiny) - wanted / target) * history.share * (1 - history.share);
}

}  // namespace

template <typename T>
GuardedDraws<T> draw_guarded(const BigramTables& tables, const int64_t* context, size_t num_rows,
                             const Scores<T>& scores, const Guard& guard, const GatheredKernels<T>& kernels,
                             uint64_t seed, size_t threads) {
    std::vector<Drawn<T>> drawn(num_rows);
    std::vector<size_t> first(num_rows + 1);  // target of each row
    for (size_t i = 0; i < scores.count; ++i) ++first[static_cast<size_t>(scores.rows[i]) + 1];
    for (size_t row = 0; row < num_rows; ++row) first[row + 1] += first[row];
    std::vector<GuardedRoom> rooms(std::max<size_t>(1, threads));
    parallel_for((num_rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
        for (size_t row = number * kRowsAtATime; row < std::min(num_rows, (number + 1) * kRowsAtATime); ++row)
            draw_row_guarded(tables, History(tables, context[row]), scores.hidden + row * scores.width, scores,
                             static_cast<double>(scores.of_targets[first[row]]), guard, kernels, Random(seed, 0, row),
                             rooms[worker], drawn[row]);
    });
    GuardedDraws<T> found;
    std::vector<size_t> starts(num_rows + 1);
    for (size_t row = 0; row < num_rows; ++row)
        starts[row + 1] = starts[row] + drawn[row].ids.size() + first[row + 1] - first[row];
    found.ids.resize(starts[num_rows]);
    found.log_prob.resize(starts[num_rows]);
    found.logits.resize(starts[num_rows]);
    for (auto* values : {&found.log_sum, &found.log_squares}) values->resize(num_rows);
    found.lengths.resize(num_rows);
    found.content.resize(num_rows);
    parallel_for((num_rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t, size_t number) {
        for (size_t row = number * kRowsAtATime; row < std::min(num_rows, (number + 1) * kRowsAtATime); ++row) {
            const Drawn<T>& of_row = drawn[row];
            size_t at = starts[row];
            for (size_t i = first[row]; i < first[row + 1]; ++i, ++at) {
                found.ids[at] = scores.targets[i];
                found.log_prob[at] = std::numeric_limits<Wide<T>>::infinity();
                found.logits[at] = scores.of_targets[i];
            }
            std::copy(of_row.ids.begin(), of_row.ids.end(), found.ids.begin() + at);
            std::copy(of_row.logits.begin(), of_row.logits.end(), found.logits.begin() + at);
            std::transform(of_row.log_prob.begin(), of_row.log_prob.end(), found.log_prob.begin() + at,
                           [](double value) { return static_cast<Wide<T>>(value); });
            found.lengths[row] = static_cast<int64_t>(of_row.ids.size());
            found.log_sum[row] = static_cast<Wide<T>>(of_row.sums.largest + std::log(of_row.sums.once));
            found.log_squares[row] = static_cast<Wide<T>>(2 * of_row.sums.largest + std::log(of_row.sums.squares));
            found.content[row] = of_row.content;
        }
    });
    return found;
}

template GuardedDraws<float> draw_guarded(const BigramTables&, const int64_t*, size_t, const Scores<float>&,
                                          const Guard&, const GatheredKernels<float>&, uint64_t, size_t);
template GuardedDraws<double> draw_guarded(const BigramTables&, const int64_t*, size_t, const Scores<double>&,
                                           const Guard&, const GatheredKernels<double>&, uint64_t, size_t);
template GuardedDraws<Half> draw_guarded(const BigramTables&, const int64_t*, size_t, const Scores<Half>&, const Guard&,
                                         const GatheredKernels<Half>&, uint64_t, size_t);

void draw_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, size_t count, const double* coins,
                  const double* chances, int64_t* ids, double* log_prob, size_t threads) {
    std::vector<DrawingRoom> rooms(std::max<size_t>(1, threads), DrawingRoom(count));
    parallel_for((rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
        for (size_t row = number * kRowsAtATime; row < std::min(rows, (number + 1) * kRowsAtATime); ++row)
            draw_row(tables, History(tables, context[row]), count, coins + row * count, chances + row * count,
                     ids + row * count, log_prob + row * count, rooms[worker]);
    });
}

void adapt_bigrams(const BigramTables& tables, const int64_t* context, size_t rows, const int64_t* ids,
                   const double* logits, const int64_t* offsets, double rate, double mixture_rate, size_t threads) {
    std::vector<Lesson> lessons(static_cast<size_t>(offsets[rows]));
    std::vector<Row> taught(rows);
    std::vector<size_t> starts(rows);
    std::vector<LearningRoom> rooms(std::max<size_t>(1, threads));
    const auto for_rows = [&](auto&& work) {
        parallel_for((rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
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
        parallel_for(2, threads, [&](size_t, size_t table) {
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
