// Hogwild training of word vectors over an encoded corpus.
//
// The corpus is cut into chunks of equal length; a run trains the next chunks on all threads. The draws of a chunk
// depend on (seed, epoch, chunk) alone, and the learning rate on the position alone, so the state between two runs is
// the two matrices and the number of chunks done.
//
// Threads intentionally write to the same rows without locks or atomics. Such races are undefined behaviour in C++;
// this relies on GCC and Clang reading and writing an aligned float as a whole, so that a race loses an update, never
// half a number. Only rows are shared like this, and only the kernels and Replicas access them. Everything else
// belongs to one thread, or is const while threads run.
//
// References: Mikolov et al. 2013 (skip-gram, CBOW, negative sampling, hierarchical softmax), Recht et al. 2011
// (Hogwild), Ji et al. 2016 (shared negatives).
#pragma once

#include <cstddef>
#include <cstdint>

#include "training/stepper.hpp"
#include "training/task.hpp"

namespace vastmax {

struct Statistics {
    uint64_t words = 0;     // words of the corpus, before subsampling
    uint64_t examples = 0;  // pairs (skip-gram) or windows (CBOW) predicted
    double loss = 0;        // sum over examples
};

class Trainer {
public:
    Trainer(Task task, size_t inputs, size_t outputs, int dim, const Kernels& kernels);

    // Trains chunks [first, last), counted over all epochs.
    Statistics run(size_t first, size_t last, int threads);

    const Task task;
    Matrices matrices;
    const Kernels& kernels;
};

}  // namespace vastmax
