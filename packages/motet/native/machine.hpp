// Measures what this machine can do at best, with the threads a model would use.
#pragma once

#include <cstddef>

namespace motet {

struct MachineSpeed {
    double float_operations;  // multiplications and additions a second, float32
    double int8_operations;   // the same on bytes
    double read_bytes;        // a second, from memory larger than any cache
};

// Takes about `seconds` for each of the three; the best of several rounds counts, since what
// disturbs a round only makes it slower. Throws std::bad_alloc.
MachineSpeed measure_machine(size_t threads, size_t bytes, double seconds);

}  // namespace motet
