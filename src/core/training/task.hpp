// The inputs of a training run: a corpus, the input rows and outputs of its words, and the settings.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "training/alias.hpp"

namespace vastmax {

enum class Sharing { pair, window, block };

struct Settings {
    int window = 5;
    bool shrink_window = true;
    bool cbow = false;
    bool cbow_mean = true;     // the hidden vector is the mean of the context, not its sum
    bool cbow_divides = true;  // the gradient of each context row is divided by the window's size
    Sharing sharing = Sharing::block;
    int negatives = 5;             // negatives per example, by weight
    int drawn = 10;                // negatives drawn per block
    int block = 6;                 // centres per block; 1 for hierarchical softmax
    double learning_rate = 0.025;  // at the first word
    double min_learning_rate = 0;  // at the last
    int epochs = 1;
    uint64_t seed = 1;
    size_t chunk = 65536;  // ids per chunk
};

// Borrowed arrays; the caller keeps them alive.
struct Corpus {
    const uint32_t* ids;
    size_t size;
    const uint32_t* keep;  // a word is kept if 32 random bits are <= keep[word]
};

// The paths of hierarchical softmax, root first; empty for negative sampling.
struct PackedPaths {
    std::vector<int64_t> offsets;
    std::vector<uint32_t> steps;  // 2 * inner node, + 1 if the branch is sigmoid(o . c), not sigmoid(-o . c)
    bool empty() const { return offsets.empty(); }
};

// The rows whose mean is a word's vector (subwords); empty if each word has a row of its own. Borrowed, too.
struct Bags {
    const int64_t* offsets = nullptr;
    const uint32_t* rows = nullptr;
    bool empty() const { return offsets == nullptr; }
    int64_t begin(uint32_t word) const { return offsets[word]; }
    int64_t end(uint32_t word) const { return offsets[word + 1]; }
};

// The input rows of the words.
struct Inputs {
    size_t words = 0;
    Bags bags;
    const uint8_t* frozen = nullptr;  // whether each word's vector is frozen; null if none is
    bool plain() const { return bags.empty() && !frozen; }
};

struct Task {
    Corpus corpus;
    Inputs inputs;
    PackedPaths paths;
    AliasTable noise;  // empty for hierarchical softmax
    Settings settings;

    size_t chunks_an_epoch() const { return (corpus.size + settings.chunk - 1) / settings.chunk; }

    // The learning rate at a position, in ids over all epochs.
    double learning_rate(double position) const {
        const double share = position / (static_cast<double>(corpus.size) * settings.epochs);
        const double rate = settings.learning_rate + (settings.min_learning_rate - settings.learning_rate) * share;
        return std::max(rate, settings.min_learning_rate);
    }
};

}  // namespace vastmax
