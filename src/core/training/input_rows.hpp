// The input rows of one thread's steps: where the vector of a word is read and written.
//
// A plain word has a row of its own. With subwords its vector is the mean of a bag of rows, and a change of the vector
// goes to each row of the bag undivided, so that the mean changes by as much (Bojanowski et al. 2017, the published
// code). So a word that comes into the windows is given a working row, their mean, which is trained like any other, and
// what was added goes to the bag when the word leaves them: bags are read and written once a word and not once a
// window. The most frequent words are always near, so they keep their working rows for some windows more; as with the
// copies of Replicas, nothing is lost, it only arrives later. A frozen word has a working row too, whose change goes
// nowhere.
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
          working_(inputs.plain() ? 0 : kSlots, shared.dim()),
          loaded_(inputs.plain() ? 0 : kSlots, shared.dim()) {
        for (uint16_t slot = kSlots; slot-- > kFrequent;) free_.push_back(slot);
    }

    bool plain() const { return inputs_.plain(); }

    // Rows of the words of a window, good until the next call.
    void take(const uint32_t* words, int count, float** rows) {
        if (inputs_.plain()) {
            for (int j = 0; j < count; ++j) rows[j] = shared_.row(words[j]);
            return;
        }
        ++now_;
        for (int j = 0; j < count; ++j)
            if (const uint16_t slot = slot_of_[words[j]]; slot != kNone) used_[slot] = now_;
        for (size_t i = passing_.size(); i-- > 0;) {
            const uint16_t slot = passing_[i];
            if (used_[slot] == now_) continue;
            put_back(slot);
            free_.push_back(slot);
            passing_[i] = passing_.back();
            passing_.pop_back();
        }
        for (int j = 0; j < count; ++j) rows[j] = row(words[j]);
    }

    // Puts all working rows back.
    void finish() {
        for (uint16_t slot = 0; slot < kFrequent; ++slot)
            if (uses_[slot]) put_back(slot);
        for (const uint16_t slot : passing_) {
            put_back(slot);
            free_.push_back(slot);
        }
        passing_.clear();
    }

private:
    static constexpr uint16_t kNone = 0xFFFF;
    static constexpr uint16_t kFrequent = 64;  // words that keep their working rows, in slots of their own
    static constexpr uint16_t kSlots = kFrequent + kMaxInputs;
    static constexpr int kUses = 16;  // windows after which those are put back

    float* row(uint32_t word) {
        if (inputs_.bags.empty() && !inputs_.frozen[word]) return shared_.row(word);
        uint16_t slot = slot_of_[word];
        if (slot != kNone && slot < kFrequent && ++uses_[slot] == kUses) {
            put_back(slot);
            slot = kNone;
        }
        if (slot == kNone) slot = load(word);
        return working_.row(slot);
    }

    uint16_t load(uint32_t word) {
        uint16_t slot = static_cast<uint16_t>(word);
        if (word < kFrequent) {
            uses_[slot] = 1;
        } else {
            slot = free_.back();
            free_.pop_back();
            passing_.push_back(slot);
        }
        slot_of_[word] = slot;
        word_[slot] = word;
        used_[slot] = now_;
        const auto [rows, count] = bag(word);
        kernels_.gather(loaded_.row(slot), shared_.data(), rows, count, shared_.stride());
        std::copy_n(loaded_.row(slot), shared_.stride(), working_.row(slot));
        return slot;
    }

    void put_back(uint16_t slot) {
        const uint32_t word = word_[slot];
        slot_of_[word] = kNone;
        if (slot < kFrequent) uses_[slot] = 0;
        if (inputs_.frozen && inputs_.frozen[word]) return;
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
    std::vector<uint16_t> slot_of_;         // of each word of the vocabulary, or kNone
    std::vector<uint16_t> passing_, free_;  // slots of words that are not frequent
    uint32_t word_[kSlots];
    uint64_t used_[kSlots];
    uint64_t now_ = 0;
    int uses_[kFrequent] = {};  // since the slot was loaded; 0 where it is empty
    Matrix working_, loaded_;   // a row a slot: as it is now, and as it came
};

}  // namespace vastmax
