#include "base/parallel.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <thread>

namespace vastmax {
namespace {

// How GCC's OpenMP runtime begins a parallel region; LLVM's and Intel's know it, too.
using BeginRegion = void (*)(void (*task)(void*), void* data, unsigned threads, unsigned flags);

std::atomic<bool> forked{false};
const int kToldOfForks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

BeginRegion openmp() {
#if defined(VASTMAX_SANITIZED)  // no sanitizer sees what keeps order in a runtime that was built without it
    return nullptr;
#else
    return reinterpret_cast<BeginRegion>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#endif
}

}  // namespace

void run_in_threads(size_t threads, void (*task)(void*), void* data) {
    std::vector<std::thread> others;
    try {
        for (size_t worker = 1; worker < threads; ++worker) others.emplace_back(task, data);
    } catch (...) {  // NOLINT(bugprone-empty-catch)
        // No more threads to be had: those that started, and this one, do the work.
    }
    task(data);
    for (auto& thread : others) thread.join();
}

void run_in_pool(size_t threads, void (*task)(void*), void* data) {
    if (const BeginRegion begin = forked ? nullptr : openmp()) {
        begin(task, data, static_cast<unsigned>(threads), 0);
    } else {
        run_in_threads(threads, task, data);
    }
}

}  // namespace vastmax
