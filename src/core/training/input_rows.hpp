// The input rows of one thread's steps: where the vector of a word is read and written.
//
// A plain word has a row of its own. With subwords its vector is the mean of a bag of rows, and a change of the vector
// goes to each row of the bag undivided, so that the mean changes by as much (Bojanowski et al. 2017, the published
// code). So a word that comes into the windows is given a working row, their mean, which is trained like any other;
// when it leaves them, what was added goes to the bag. Bags are read and written once a word, and not once a window. A
// frozen word has a working row too, whose change goes nowhere.
#pragma once

#include <algorithm>
#include <cstdint>
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
        if (!inputs.plain())
            for (int slot = kMaxInputs; slot-- > 0;) free_.push_back(static_cast<uint16_t>(slot));
    }

    // Rows of the words of a window, good until the next call.
    void take(const uint32_t* words, int count, float** rows) {
        if (inputs_.plain()) {
            for (int j = 0; j < count; ++j) rows[j] = shared_.row(words[j]);
            return;
        }
        ++now_;
        for (int j = 0; j < count; ++j)
            if (slot_of_[words[j]] != kNone) used_[slot_of_[words[j]]] = now_;
        for (size_t i = live_.size(); i-- > 0;)
            if (used_[live_[i]] != now_) put_back(i);
        for (int j = 0; j < count; ++j) {
            const uint32_t word = words[j];
            if (!works_on_copy(word)) {
                rows[j] = shared_.row(word);
                continue;
            }
            if (slot_of_[word] == kNone) load(word);
            rows[j] = working_.row(slot_of_[word]);
        }
    }

    // Puts all working rows back.
    void finish() {
        while (!live_.empty()) put_back(live_.size() - 1);
    }

    // Calls fetch(row) for the rows that take() will read for a word.
    template <typename Fetch>
    void prefetch(uint32_t word, Fetch&& fetch) {
        if (inputs_.plain() || (inputs_.bags.empty() && slot_of_[word] == kNone)) return fetch(shared_.row(word));
        if (slot_of_[word] != kNone) return;
        for (int64_t i = inputs_.bags.begin(word); i < inputs_.bags.end(word); ++i)
            fetch(shared_.row(inputs_.bags.rows[i]));
    }

private:
    static constexpr uint16_t kNone = 0xFFFF;

    bool works_on_copy(uint32_t word) const { return !inputs_.bags.empty() || inputs_.frozen[word]; }

    void load(uint32_t word) {
        const uint16_t slot = free_.back();
        free_.pop_back();
        live_.push_back(slot);
        slot_of_[word] = slot;
        word_[slot] = word;
        used_[slot] = now_;
        bag(word);
        const float weight = 1.0f / static_cast<float>(bag_.size());
        float* row = loaded_.row(slot);
        kernels_.combine(&row, 1, bag_.data(), static_cast<int>(bag_.size()), &weight, 0, 0, shared_.stride());
        std::copy_n(row, shared_.stride(), working_.row(slot));
    }

    void put_back(size_t i) {
        const uint16_t slot = live_[i];
        const uint32_t word = word_[slot];
        if (!(inputs_.frozen && inputs_.frozen[word])) {
            bag(word);
            const float difference[] = {1.0f, -1.0f};
            const float* from[] = {working_.row(slot), loaded_.row(slot)};
            float* change = loaded_.row(slot);
            kernels_.combine(&change, 1, from, 2, difference, 1, 0, shared_.stride());
            kernels_.add_rows(bag_.data(), static_cast<int>(bag_.size()), change, 0, shared_.stride());
        }
        slot_of_[word] = kNone;
        free_.push_back(slot);
        live_[i] = live_.back();
        live_.pop_back();
    }

    void bag(uint32_t word) {
        bag_.clear();
        if (inputs_.bags.empty()) return bag_.push_back(shared_.row(word));
        for (int64_t i = inputs_.bags.begin(word); i < inputs_.bags.end(word); ++i)
            bag_.push_back(shared_.row(inputs_.bags.rows[i]));
    }

    Matrix& shared_;
    const Inputs& inputs_;
    const Kernels& kernels_;
    std::vector<uint16_t> slot_of_;  // of each word of the vocabulary, or kNone
    std::vector<uint16_t> live_, free_;
    uint32_t word_[kMaxInputs];
    uint64_t used_[kMaxInputs];
    uint64_t now_ = 0;
    Matrix working_, loaded_;  // a row a slot: as it is now, and as it came
    std::vector<float*> bag_;
};

}  // namespace vastmax
