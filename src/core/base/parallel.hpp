// Parallel loops.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace vastmax {

// Runs task(data) in `threads` threads at once, the calling thread included, and returns when all have finished. Uses
// fewer threads if no more can be started.
void run_in_threads(size_t threads, void (*task)(void*), void* data);

// As run_in_threads, but in PyTorch's thread pool if PyTorch is loaded and uses OpenMP: the pool's threads spin for a
// while after an operation, which slows down all others. A forked process has no pool and starts threads of its own.
void run_in_pool(size_t threads, void (*task)(void*), void* data);

// Calls work(worker, i) once for every i below `count`, started in ascending order; the caller is worker 0. After an
// exception no further i is started; once all threads have stopped, the exception of the lowest worker that threw is
// rethrown.
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

// parallel_for in PyTorch's thread pool, for work between its operations.
template <typename Work>
void pooled_for(size_t count, size_t threads, Work&& work) {
    parallel_for(count, threads, work, run_in_pool);
}

}  // namespace vastmax
