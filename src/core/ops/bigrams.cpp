#include "ops/bigrams.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "ops/history.hpp"

namespace vastmax {
namespace {

struct DrawingRoom {
    std::vector<size_t> nodes, places, entries;
    std::vector<double> left_over;
    std::vector<int64_t> ids;

    explicit DrawingRoom(size_t count = 0)
        : nodes(count), places(count), entries(count), left_over(count), ids(count) {}
};

void draw_row(const BigramTables& tables, const History& history, size_t count, const double* coins,
              const double* chances, int64_t* ids, double* log_prob, DrawingRoom& room) {
    size_t unigrams = 0, bigrams = 0;  // unigram draws fill `places` from the front, bigram draws from the back
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

// --- draws until the guard is satisfied ---

// Σ r and Σ r² of ratios r given by their logarithms, relative to the largest r.
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

// The draws of one row.
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

}  // namespace

template <typename T>
GuardedDraws<T> draw_guarded(const BigramTables& tables, const int64_t* context, size_t num_rows,
                             const Scores<T>& scores, const Guard& guard, const GatheredKernels<T>& kernels,
                             uint64_t seed, size_t threads) {
    std::vector<Drawn<T>> drawn(num_rows);
    std::vector<size_t> first(num_rows + 1);  // the first target of each row
    for (size_t i = 0; i < scores.count; ++i) ++first[static_cast<size_t>(scores.rows[i]) + 1];
    for (size_t row = 0; row < num_rows; ++row) first[row + 1] += first[row];
    std::vector<GuardedRoom> rooms(std::max<size_t>(1, threads));
    pooled_for((num_rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
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
    pooled_for((num_rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t, size_t number) {
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
    pooled_for((rows + kRowsAtATime - 1) / kRowsAtATime, threads, [&](size_t worker, size_t number) {
        for (size_t row = number * kRowsAtATime; row < std::min(rows, (number + 1) * kRowsAtATime); ++row)
            draw_row(tables, History(tables, context[row]), count, coins + row * count, chances + row * count,
                     ids + row * count, log_prob + row * count, rooms[worker]);
    });
}

}  // namespace vastmax
