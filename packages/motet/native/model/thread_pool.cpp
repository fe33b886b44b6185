#include "model/thread_pool.hpp"

#include <system_error>

namespace motet {

namespace {

constexpr size_t kWorthWaking = 400'000;  // multiply-adds: roughly 20 microseconds

}  // namespace

ThreadPool::ThreadPool(size_t threads) {
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
    if (workers_.empty() || count < 2 || work < kWorthWaking) {
        for (size_t i = 0; i < count; ++i) item(i, 0);
        return;
    }
    item_ = &item;
    count_ = count;
    next_ = 0;
    busy_ = static_cast<unsigned>(workers_.size());
    ++round_;
    round_.notify_all();
    take_items(0);
    for (unsigned busy = busy_; busy != 0; busy = busy_) busy_.wait(busy);
}

void ThreadPool::take_items(size_t worker) {
    for (size_t i = next_++; i < count_; i = next_++) (*item_)(i, worker);
}

void ThreadPool::work_loop(size_t worker) {
    for (unsigned round = 0;; ++round) {
        round_.wait(round);
        if (stopping_) return;
        take_items(worker);
        if (--busy_ == 0) busy_.notify_one();
    }
}

}  // namespace motet
