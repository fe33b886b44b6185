// A few threads that work through numbered items together.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace motet {

// `run` hands items 0..count-1 to whichever thread is free, the caller included, and returns when
// all are done. Items must not throw, must be independent, and must not call `run`. One caller at
// a time.
class ThreadPool {
  public:
    using Item = std::function<void(size_t item, size_t worker)>;

    // Makes do with fewer threads if the system refuses some.
    explicit ThreadPool(size_t threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    size_t threads() const { return workers_.size() + 1; }

    // `work` is the size of the whole job in multiply-adds: what is done sooner than another thread
    // takes notice is done by the caller alone. Between jobs threads stay awake for tens of
    // microseconds and then sleep.
    void run(size_t count, size_t work, const Item& item);

  private:
    void work_loop(size_t worker);
    void take_items(size_t worker);

    std::vector<std::thread> workers_;
    const Item* item_ = nullptr;
    size_t count_ = 0;
    std::atomic<size_t> next_{0};
    std::atomic<unsigned> busy_{0};
    std::atomic<unsigned> round_{0};
    std::atomic<bool> stopping_{false};
};

}  // namespace motet
