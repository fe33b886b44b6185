// Measures what this machine can do, with the threads a model would use.
#pragma once

#include <cstddef>

namespace motet {

// Both take about `seconds` for each figure.

// The best of several rounds, since what disturbs a round only makes it slower.
struct ArithmeticSpeed {
    double float_operations;  // multiplications and additions a second, float32
    double int8_operations;   // the same on bytes
};
ArithmeticSpeed arithmetic_speed(size_t threads, double seconds);

// Bytes a second that are read from so much memory, which should be larger than any cache, on
// average: a shared memory gives more for a moment, but a model reads for longer than that. Throws
// std::bad_alloc.
double reading_speed(size_t threads, size_t bytes, double seconds);

}  // namespace motet
