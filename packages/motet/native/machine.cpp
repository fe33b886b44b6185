#include "machine.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.hpp"
#include "model/memory.hpp"
#include "model/thread_pool.hpp"

namespace motet {

namespace {

constexpr size_t kRounds = 100'000;  // of a peak loop, for one item of work
constexpr size_t kAlwaysShared = SIZE_MAX;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// The best rate of `work`, which returns how much it has done.
template <class Work>
double best_rate(double seconds, const Work& work) {
    double best = 0;
    const auto begun = Clock::now();
    do {
        const auto start = Clock::now();
        const double done = work();
        best = std::max(best, done / seconds_since(start));
    } while (seconds_since(begun) < seconds);
    return best;
}

}  // namespace

ArithmeticSpeed arithmetic_speed(size_t threads, double seconds) {
    const Kernels& kernel = kernels();
    ThreadPool pool(threads);
    std::atomic<uint64_t> total{0};
    const auto peak = [&](uint64_t (*loop)(size_t)) {
        return best_rate(seconds, [&] {
            total = 0;
            pool.run(pool.threads(), kAlwaysShared,
                     [&](size_t, size_t) { total += loop(kRounds); });
            return 2.0 * static_cast<double>(total);
        });
    };
    return {peak(kernel.peak_float), peak(kernel.peak_int8)};
}

double reading_speed(size_t threads, size_t bytes, double seconds) {
    const Kernels& kernel = kernels();
    ThreadPool pool(threads);
    const size_t count = pool.threads();
    std::atomic<uint64_t> total{0};
    const size_t share = bytes / count / 4096 * 4096;
    const LargeBuffer memory(share * count);
    pool.run(count, kAlwaysShared, [&](size_t item, size_t) {
        std::memset(memory.data() + item * share, static_cast<int>(item + 1), share);
    });
    const auto start = Clock::now();
    double read = 0;
    do {
        pool.run(count, kAlwaysShared, [&](size_t item, size_t) {
            total += kernel.read_memory(memory.data() + item * share, share);
        });
        read += static_cast<double>(share * count);
    } while (seconds_since(start) < seconds);
    return read / seconds_since(start);
}

}  // namespace motet
