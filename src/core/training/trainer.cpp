#include "training/trainer.hpp"

#include <memory>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "training/planner.hpp"

namespace vastmax {
namespace {

// The state of one thread.
struct Worker {
    Planner planner;
    Stepper stepper;
    Plan plans[2];

    // Each step is planned before the previous one is taken, so that its rows can be prefetched meanwhile.
    void train(size_t epoch, size_t chunk) {
        planner.begin(epoch, chunk);
        bool more = planner.next(plans[0]);
        for (int i = 0; more; i = 1 - i) {
            more = planner.next(plans[1 - i]);
            stepper.step(plans[i], more ? &plans[1 - i] : nullptr);
        }
        stepper.finish_chunk();
    }
};

}  // namespace

Trainer::Trainer(Task given, size_t inputs, size_t outputs, int dim, const Kernels& kernels_table)
    : task(std::move(given)), matrices{{inputs, dim}, {outputs, dim}}, kernels(kernels_table) {}

Statistics Trainer::run(size_t first, size_t last, int threads) {
    // Workers are made inside parallel_for, which rethrows exceptions: a failed allocation in a thread must not end
    // the process.
    std::vector<std::unique_ptr<Worker>> workers(static_cast<size_t>(threads));
    const size_t chunks = task.chunks_an_epoch();
    parallel_for(last - first, workers.size(), [&](size_t thread, size_t i) {
        auto& worker = workers[thread];
        if (!worker) worker.reset(new Worker{Planner(task), Stepper(task, matrices, kernels, threads), {}});
        worker->train((first + i) / chunks, (first + i) % chunks);
    });
    Statistics total;
    for (const auto& worker : workers) {
        if (!worker) continue;
        total.words += worker->planner.words();
        total.examples += worker->stepper.examples();
        total.loss += worker->stepper.loss();
    }
    return total;
}

}  // namespace vastmax
