#include "model/read_guard.hpp"

#include <algorithm>

#if __has_include(<sys/mman.h>)
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace motet {

#if __has_include(<sys/mman.h>)

namespace {

// The guards there are. The handler may wait for the lock: weights are never read under it, so
// that the thread that has it is another one and will let go.
std::vector<ReadGuard*> guards;
std::atomic_flag locked;
struct sigaction previous;

class Lock {
  public:
    Lock() {
        while (locked.test_and_set(std::memory_order_acquire)) {
        }
    }
    ~Lock() { locked.clear(std::memory_order_release); }
};

void forward(int signal, siginfo_t* info, void* context) {
    if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, context);
    if (previous.sa_handler == SIG_IGN && info->si_code <= 0) return;  // sent by a process
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        return previous.sa_handler(signal);
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    raise(signal);  // ends the process when this handler returns
}

bool replace_anywhere(uintptr_t address) {
    const Lock lock;
    bool replaced = false;
    for (ReadGuard* guard : guards) replaced |= guard->replace(address);  // models share files
    return replaced;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const bool nothing_there = info->si_code == BUS_ADRERR;  // and not a fault of the memory itself
    if (!nothing_there || !replace_anywhere(reinterpret_cast<uintptr_t>(info->si_addr)))
        forward(signal, info, context);
}

void set_handler() {
    static const bool once = [] {
        struct sigaction ours = {};
        ours.sa_sigaction = on_bus_error;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        return sigaction(SIGBUS, &ours, &previous) == 0;
    }();
    static_cast<void>(once);
}

}  // namespace

ReadGuard::ReadGuard(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
    set_handler();
    const Lock lock;
    guards.push_back(this);
}

ReadGuard::~ReadGuard() {
    const Lock lock;
    std::erase(guards, this);
}

// Whole pages from the address to the end of its range: a file that ends early has none of them.
bool ReadGuard::replace(uintptr_t address) {
    const auto range = std::ranges::find_if(
        ranges_, [&](const Range& r) { return r.begin <= address && address < r.end; });
    if (range == ranges_.end()) return false;
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = address / page * page;
    const uintptr_t end = (range->end + page - 1) / page * page;
    broken_ = true;
    return mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

#else

// Where there is no such signal, the system keeps mapped files from becoming shorter.
ReadGuard::ReadGuard(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}
ReadGuard::~ReadGuard() = default;
bool ReadGuard::replace(uintptr_t) { return false; }

#endif

}  // namespace motet
