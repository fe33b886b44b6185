// The thread pool under ThreadSanitizer: rounds of every size, idle gaps, pools that come and go.
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "model/thread_pool.hpp"

int main() {
    constexpr size_t kAlwaysShared = SIZE_MAX;
    for (size_t threads = 1; threads <= 4; ++threads) {
        for (int pools = 0; pools < 20; ++pools) {
            motet::ThreadPool pool(threads);
            std::vector<int> done(97);
            for (int round = 1; round <= 50; ++round) {
                const size_t count = 1 + static_cast<size_t>(round) * 13 % done.size();
                std::vector<int> before = done;
                pool.run(count, kAlwaysShared, [&](size_t item, size_t) { ++done[item]; });
                for (size_t i = 0; i < done.size(); ++i)
                    if (done[i] != before[i] + (i < count)) {
                        std::printf("item %zu of %zu was done %d times\n", i, count,
                                    done[i] - before[i]);
                        return 1;
                    }
                if (round % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
            }
        }
    }
    std::printf("the thread pool is sound\n");
}
