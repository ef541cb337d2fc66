#include "base/parallel.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <thread>

namespace vastmax {
namespace {

// How GCC's OpenMP runtime starts a parallel region (GOMP_parallel); LLVM's and Intel's runtimes export it, too.
using BeginRegion = void (*)(void (*task)(void*), void* data, unsigned threads, unsigned flags);

std::atomic<bool> forked{false};
const int kToldOfForks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

BeginRegion openmp() {
#if defined(VASTMAX_SANITIZED)  // a sanitizer cannot see the synchronisation of a runtime built without it
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
        // No more threads can be started: those that have started and the calling thread do the work.
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
