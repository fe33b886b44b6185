// A few threads that work through numbered items together.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace motet {

// `run` gives every thread, the caller included, its share of the items 0..count-1, and to whoever
// is done with its own what is left of others'; it returns when all are done. A share is one run of
// neighbouring items, so that what lies behind each other in memory is read by one processor, which
// fetches ahead. Items must not throw, must be independent, and must not call `run`. One caller at
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

    struct alignas(64) Share {  // of a cache line of its own
        std::atomic<size_t> next{0};
        size_t end = 0;
    };

    std::vector<std::thread> workers_;
    std::vector<Share> shares_;
    const Item* item_ = nullptr;
    std::atomic<unsigned> busy_{0};
    std::atomic<unsigned> round_{0};
    std::atomic<bool> stopping_{false};
};

}  // namespace motet
