// A loop shared among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace vastmax {

// Runs task(data) in so many threads at once, this one among them, and returns when all have ended. Where no more
// threads are to be had, they are fewer.
void run_in_threads(size_t threads, void (*task)(void*), void* data);

// The same in the threads that PyTorch computes in, where it is loaded and has them from OpenMP: they spin for a while
// after an operation, and so slow down any others. A forked process has none of them, and uses threads of its own.
void run_in_pool(size_t threads, void (*task)(void*), void* data);

// Calls work(worker, i) for every i below `count`, each i once, in rising order of start; the caller is worker 0.
// The first exception thrown is thrown again here when all have stopped.
template <typename Work>
void parallel_for(size_t count, size_t threads, Work&& work, decltype(run_in_threads)* run = run_in_threads) {
    struct Loop {
        size_t count;
        Work& work;
        std::vector<std::exception_ptr> errors;
        std::thread::id caller = std::this_thread::get_id();
        std::atomic<size_t> others{0}, next{0};
        std::atomic<bool> failed{false};

        void operator()() {
            const size_t worker = std::this_thread::get_id() == caller ? 0 : 1 + others.fetch_add(1);
            try {
                for (size_t i; !failed.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;)
                    work(worker, i);
            } catch (...) {
                errors[worker] = std::current_exception();
                failed = true;
            }
        }
    };
    const size_t workers = std::max<size_t>(1, std::min(threads, count));
    Loop loop{count, work, std::vector<std::exception_ptr>(workers)};
    if (workers > 1) {
        run(workers, [](void* data) { (*static_cast<Loop*>(data))(); }, &loop);
    } else {
        loop();
    }
    for (auto& error : loop.errors)
        if (error) std::rethrow_exception(error);
}

// parallel_for in PyTorch's threads: for what runs between its operations.
template <typename Work>
void pooled_for(size_t count, size_t threads, Work&& work) {
    parallel_for(count, threads, work, run_in_pool);
}

}  // namespace vastmax
