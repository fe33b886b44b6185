#include "model/thread_pool.hpp"

#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace motet {

namespace {

constexpr size_t kWorthSharing = 50'000;  // multiply-adds: a few microseconds
constexpr int kSpins = 4'000;             // tens of microseconds: the gaps within a step, not more

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`, at first awake: a sleeping thread takes as long to wake
// as a small matrix product.
template <class Value>
void wait_while(const std::atomic<Value>& value, Value old) {
    for (int i = 0; i < kSpins; ++i) {
        if (value != old) return;
        pause();
    }
    value.wait(old);
}

}  // namespace

ThreadPool::ThreadPool(size_t threads) : shares_(threads) {
    workers_.reserve(threads);
    try {
        for (size_t worker = 1; worker < threads; ++worker)
            workers_.emplace_back([this, worker] { work_loop(worker); });
    } catch (const std::system_error&) {
        // The system gives no more threads: the ones that run are enough.
    }
}

ThreadPool::~ThreadPool() {
    stopping_ = true;
    ++round_;
    round_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(size_t count, size_t work, const Item& item) {
    if (workers_.empty() || count < 2 || work < kWorthSharing) {
        for (size_t i = 0; i < count; ++i) item(i, 0);
        return;
    }
    item_ = &item;
    for (size_t worker = 0; worker < threads(); ++worker) {
        shares_[worker].next = worker * count / threads();
        shares_[worker].end = (worker + 1) * count / threads();
    }
    busy_ = static_cast<unsigned>(workers_.size());
    ++round_;
    round_.notify_all();
    take_items(0);
    for (unsigned busy = busy_; busy != 0; busy = busy_) wait_while(busy_, busy);
}

void ThreadPool::take_items(size_t worker) {
    for (size_t step = 0; step < threads(); ++step) {
        Share& share = shares_[(worker + step) % threads()];
        for (size_t i = share.next++; i < share.end; i = share.next++) (*item_)(i, worker);
    }
}

void ThreadPool::work_loop(size_t worker) {
    for (unsigned round = 0;; ++round) {
        wait_while(round_, round);
        if (stopping_) return;
        take_items(worker);
        if (--busy_ == 0) busy_.notify_one();
    }
}

}  // namespace motet
