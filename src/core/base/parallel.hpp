// A loop shared among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace vastmax {

// Calls work(worker, i) for every i below `count`, each i once, in rising order of start; the caller is worker 0.
// The first exception thrown is thrown again here when all have stopped.
template <typename Work>
void parallel_for(size_t count, size_t threads, Work&& work) {
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    const size_t workers = std::max<size_t>(1, std::min(threads, count));
    std::vector<std::exception_ptr> errors(workers);
    const auto loop = [&](size_t worker) {
        try {
            for (size_t i; !failed.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;) work(worker, i);
        } catch (...) {
            errors[worker] = std::current_exception();
            failed = true;
        }
    };
    std::vector<std::thread> others;
    try {
        for (size_t worker = 1; worker < workers; ++worker) others.emplace_back(loop, worker);
    } catch (...) {  // NOLINT(bugprone-empty-catch)
        // No more threads to be had: those that started, and this one, do the work.
    }
    loop(0);
    for (auto& thread : others) thread.join();
    for (auto& error : errors)
        if (error) std::rethrow_exception(error);
}

}  // namespace vastmax
