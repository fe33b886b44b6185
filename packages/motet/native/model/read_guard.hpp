// Weights that the system can no longer bring in from their file.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace motet {

struct UnreadableWeightsError : std::runtime_error {
    UnreadableWeightsError()
        : std::runtime_error(
              "the model's weights can no longer be read: a file became shorter while it was in "
              "use, or its disk failed; download or restore it and open the "
              "model again") {}
};

// While a guard lives, such memory among its ranges reads as zeros from then on, and the guard
// remembers: what was computed since is worthless. Without one the process would end (SIGBUS).
// The handler for that signal is set with the first guard; what is not a guard's goes on to the
// handler there was before.
class ReadGuard {
  public:
    struct Range {
        uintptr_t begin;
        uintptr_t end;
    };

    explicit ReadGuard(std::vector<Range> ranges);
    ~ReadGuard();
    ReadGuard(const ReadGuard&) = delete;
    ReadGuard& operator=(const ReadGuard&) = delete;

    // Throws UnreadableWeightsError if zeros have been read in place of weights.
    void check() const {
        if (broken_) throw UnreadableWeightsError();
    }

    // For the signal handler: puts zeros where the system found nothing, if that is in a range.
    bool replace(uintptr_t address);

  private:
    const std::vector<Range> ranges_;
    std::atomic<bool> broken_{false};
};

}  // namespace motet
