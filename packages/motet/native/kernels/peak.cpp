// What this machine's arithmetic units and memory could do at best: the inner loops of the products
// without any of their loads, and loads without any arithmetic.
#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr int kChains = 8;  // enough to hide the latency of every instruction used

// Tells the compiler that a value is needed and may have changed.
template <class Value>
inline void keep(Value& value) {
#if defined(__x86_64__)
    asm volatile("" : "+x"(value));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(value));
#else
    asm volatile("" : "+m"(value));
#endif
}

}  // namespace

uint64_t peak_float(size_t rounds) {
    Floats sums[kChains] = {};
    Floats x = broadcast(1.0f), y = broadcast(0.5f);
    for (size_t i = 0; i < rounds; ++i) {
        for (Floats& sum : sums) sum = fma(x, y, sum);
        for (Floats& sum : sums) keep(sum);
    }
    return rounds * kChains * kLanes;
}

uint64_t peak_int8(size_t rounds) {
    constexpr int kRegister = sizeof(Sum32);
    Sum32 sums[kChains] = {};
    Sum32 weights = {}, x = {};
    for (size_t i = 0; i < rounds; ++i) {
        for (Sum32& sum : sums) sum = add_products(sum, weights, x);
        for (Sum32& sum : sums) keep(sum);
        keep(weights);
        keep(x);
    }
    return rounds * kChains * kRegister;
}

uint64_t read_memory(const uint8_t* from, size_t bytes) {
    Words sums[4] = {};
    for (size_t i = 0; i + 4 * sizeof(Words) <= bytes; i += 4 * sizeof(Words))
        for (int j = 0; j < 4; ++j) sums[j] += load<Words>(from + i + j * sizeof(Words));
    const Words all = sums[0] + sums[1] + sums[2] + sums[3];
    uint64_t total = 0;
    for (int i = 0; i < kLanes; ++i) total += all[i];
    return total;
}

}  // namespace motet::MOTET_ISA
