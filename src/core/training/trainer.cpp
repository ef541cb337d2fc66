#include "trainer.hpp"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

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
    std::atomic<std::size_t> next{first};
    std::vector<Statistics> results(static_cast<std::size_t>(threads));
    const auto work = [&](int thread) {
        Worker worker(*this, threads);
        for (std::size_t chunk; (chunk = next.fetch_add(1)) < last;) worker.train(chunk / chunks_, chunk % chunks_);
        results[static_cast<std::size_t>(thread)] = worker.statistics();
    };
    std::vector<std::thread> pool;
    try {
        for (int thread = 1; thread < threads; ++thread) pool.emplace_back(work, thread);
    } catch (const std::system_error&) {
        // The system gives no more threads; those there are do the work.
    }
    work(0);
    for (std::thread& thread : pool) thread.join();
    Statistics total;
    for (const Statistics& result : results) {
        total.words += result.words;
        total.examples += result.examples;
        total.loss += result.loss;
    }
    return total;
}

}  // namespace vastmax
