// The input rows of one thread's steps: where the vector of a word is read and written.
//
// A plain word has a row of its own. With subwords its vector is the mean of a bag of rows, and a change of the vector
// is added undivided to each row of the bag, so that the mean changes by the same amount (Bojanowski et al. 2017, the
// published code). A word that enters the windows gets a working row, initialised to the mean of its bag and trained
// like any other row, and its change is added to the bag when the word has left the windows: bags are read and written
// once per word instead of once per window. A window may lack its centre, so a word that is missing from one window
// has not left. Keeping the most frequent words longer was tried: it is a tenth faster, but diverges if many words
// share n-grams. A frozen word also has a working row, reloaded for each window, whose change is discarded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "training/kernels.hpp"
#include "training/matrix.hpp"
#include "training/task.hpp"

namespace vastmax {

class InputRows {
public:
    InputRows(Matrix& shared, const Inputs& inputs, const Kernels& kernels)
        : shared_(shared),
          inputs_(inputs),
          kernels_(kernels),
          slot_of_(inputs.plain() ? 0 : inputs.words, kNone),
          working_(inputs.plain() ? 0 : kMaxInputs, shared.dim()),
          loaded_(inputs.plain() ? 0 : kMaxInputs, shared.dim()) {
        for (uint16_t slot = kMaxInputs; slot-- > 0;) free_.push_back(slot);
    }

    bool plain() const { return inputs_.plain(); }

    // Looks up the rows of a window's words; they are valid until the next call.
    void take(const uint32_t* words, int count, float** rows) {
        if (inputs_.plain()) {
            for (int j = 0; j < count; ++j) rows[j] = shared_.row(words[j]);
            return;
        }
        ++now_;
        for (int j = 0; j < count; ++j)
            if (const uint16_t slot = slot_of_[words[j]]; slot != kNone) used_[slot] = now_;
        for (size_t i = live_.size(); i-- > 0;)
            if (used_[live_[i]] + 1 < now_ || now_ - loaded_at_[live_[i]] >= kWindows || frozen(word_[live_[i]]))
                put_back(i);
        for (int j = 0; j < count; ++j) rows[j] = row(words[j]);
    }

    // Writes back all working rows.
    void finish() {
        while (!live_.empty()) put_back(live_.size() - 1);
    }

private:
    static constexpr uint16_t kNone = 0xFFFF;
    static constexpr uint64_t kWindows = 16;  // after this many a working row is written back even if still in use

    bool frozen(uint32_t word) const { return inputs_.frozen && inputs_.frozen[word]; }

    float* row(uint32_t word) {
        if (inputs_.bags.empty() && !frozen(word)) return shared_.row(word);
        if (slot_of_[word] == kNone) load(word);
        return working_.row(slot_of_[word]);
    }

    void load(uint32_t word) {
        const uint16_t slot = free_.back();
        free_.pop_back();
        live_.push_back(slot);
        slot_of_[word] = slot;
        word_[slot] = word;
        used_[slot] = loaded_at_[slot] = now_;
        const auto [rows, count] = bag(word);
        kernels_.gather(loaded_.row(slot), shared_.data(), rows, count, shared_.stride());
        std::copy_n(loaded_.row(slot), shared_.stride(), working_.row(slot));
    }

    void put_back(size_t i) {
        const uint16_t slot = live_[i];
        const uint32_t word = word_[slot];
        live_[i] = live_.back();
        live_.pop_back();
        free_.push_back(slot);
        slot_of_[word] = kNone;
        if (frozen(word)) return;
        const auto [rows, count] = bag(word);
        kernels_.scatter(shared_.data(), rows, count, working_.row(slot), loaded_.row(slot), shared_.stride());
    }

    std::pair<const uint32_t*, int> bag(const uint32_t& word) const {
        const Bags& bags = inputs_.bags;
        if (bags.empty()) return {&word, 1};
        return {bags.rows + bags.begin(word), static_cast<int>(bags.end(word) - bags.begin(word))};
    }

    Matrix& shared_;
    const Inputs& inputs_;
    const Kernels& kernels_;
    std::vector<uint16_t> slot_of_;      // of each word of the vocabulary, or kNone
    std::vector<uint16_t> live_, free_;  // slots
    // -- of a slot
    uint32_t word_[kMaxInputs];
    uint64_t used_[kMaxInputs], loaded_at_[kMaxInputs];  // window numbers
    Matrix working_, loaded_;                            // a row as it is now, and as it was loaded
    uint64_t now_ = 0;
};

}  // namespace vastmax
