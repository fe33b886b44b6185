// What this machine's arithmetic units and memory could do at best: the inner loops of the products
// without any of their loads, and loads without any arithmetic.
#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr int kChains = 8;  // enough to hide the latency of every instruction used

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
    Quads sums[kChains] = {};
    Quads weights = everywhere(0), x = everywhere(0);
    for (size_t i = 0; i < rounds; ++i) {
        for (int quad = 0; quad < kQuads; ++quad) {
            for (Quads& sum : sums) {
                sum = SmallDot::add(sum, weights, x);
                keep(sum);
                keep(weights);  // or one product would do for all sums
                keep(x);
            }
        }
        for (Quads& sum : sums) sum = SmallDot::finish(sum);
    }
    return rounds * kQuads * kChains * sizeof(Quads);
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
