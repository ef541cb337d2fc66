#include "trainer.hpp"

#include <algorithm>
#include <memory>

#include "parallel.hpp"
#include "worker.hpp"

namespace vastmax {

Trainer::Trainer(Corpus corpus, Paths paths, AliasTable noise, Settings settings, std::size_t words, std::size_t outputs_count,
                 int dim, const Kernels* kernels_table)
    : vectors(words, dim),
      outputs(outputs_count, dim),
      kernels(kernels_table),
      corpus_(corpus),
      paths_(std::move(paths)),
      noise_(std::move(noise)),
      settings_(settings),
      chunks_((corpus.size + settings.chunk - 1) / settings.chunk) {}

double Trainer::learning_rate(double position) const {
    const double share = position / (static_cast<double>(corpus_.size) * settings_.epochs);
    const double rate = settings_.learning_rate + (settings_.min_learning_rate - settings_.learning_rate) * share;
    return std::max(rate, settings_.min_learning_rate);
}

Statistics Trainer::run(std::size_t first, std::size_t last, int threads) {
    // A thread that finds no memory must not end the process: parallel_for hands its exception on.
    std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(threads));
    parallel_for(last - first, workers.size(), [&](std::size_t thread, std::size_t i) {
        if (!workers[thread]) workers[thread] = std::make_unique<Worker>(*this, threads);
        workers[thread]->train((first + i) / chunks_, (first + i) % chunks_);
    });
    Statistics total;
    for (const auto& worker : workers) {
        if (!worker) continue;
        const Statistics& result = worker->statistics();
        total.words += result.words;
        total.examples += result.examples;
        total.loss += result.loss;
    }
    return total;
}

}  // namespace vastmax
