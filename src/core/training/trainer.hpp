// Hogwild training of word vectors over an encoded corpus.
//
// The corpus is cut into chunks of equal length; a run trains the next chunks on all threads. What is drawn for a chunk
// depends on (seed, epoch, chunk) alone, and the learning rate on the position alone, so the state between two runs is the
// two matrices and the number of chunks done. References: Mikolov et al. 2013 (skip-gram, CBOW, negative sampling,
// hierarchical softmax), Recht et al. 2011 (Hogwild), Ji et al. 2016 (shared negatives).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "alias.hpp"
#include "kernels.hpp"
#include "matrix.hpp"

namespace vastmax {

constexpr std::uint32_t kEndOfSentence = 0xFFFFFFFFu;

enum class Sharing { pair, window, block };

struct Settings {
    int window = 5;
    bool shrink_window = true;
    bool cbow = false;
    bool cbow_mean = true;            // the hidden vector is the mean of the context, not its sum
    bool cbow_divides = true;         // the gradient of each context row is divided by the window's size
    Sharing sharing = Sharing::block;
    int negatives = 5;                // negatives an example is weighted for
    int drawn = 10;                   // negatives drawn for a block
    int block = 6;                    // centres a block; 1 for hierarchical softmax
    double learning_rate = 0.025;     // at the first word
    double min_learning_rate = 0;     // at the last
    int epochs = 1;
    std::uint64_t seed = 1;
    std::size_t chunk = 65536;        // ids a chunk
};

// Borrowed arrays; the caller keeps them alive.
struct Corpus {
    const std::uint32_t* ids;
    std::size_t size;
    const std::uint32_t* keep;  // a word is kept where 32 random bits are <= keep[word]
};

// The paths of hierarchical softmax, root first; empty for negative sampling.
struct Paths {
    std::vector<std::int64_t> offsets;
    std::vector<std::uint32_t> steps;  // 2 * inner node + 1 where the branch is sigmoid(o . c), + 0 where sigmoid(-o . c)
    bool empty() const { return offsets.empty(); }
};

struct Statistics {
    std::uint64_t words = 0;     // words of the corpus passed
    std::uint64_t examples = 0;  // pairs (skip-gram) or windows (CBOW) predicted
    double loss = 0;             // sum over examples
};

class Trainer {
public:
    Trainer(Corpus corpus, Paths paths, AliasTable noise, Settings settings, std::size_t words, std::size_t outputs, int dim,
            const Kernels* kernels);

    std::size_t chunks_an_epoch() const { return chunks_; }
    double learning_rate(double position) const;  // position in ids over all epochs

    // Trains chunks [first, last), counted over all epochs.
    Statistics run(std::size_t first, std::size_t last, int threads);

    Matrix vectors;
    Matrix outputs;
    const Kernels* const kernels;

private:
    friend class Worker;
    const Corpus corpus_;
    const Paths paths_;
    const AliasTable noise_;
    const Settings settings_;
    std::size_t chunks_;
};

}  // namespace vastmax
