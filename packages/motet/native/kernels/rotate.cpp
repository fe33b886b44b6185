// Rotary position embedding of one head, in the half-split pairing of GPT-NeoX.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

void rotate(float* head, const float* cosines, const float* sines, size_t half) {
    for (size_t i = 0; i < half; ++i) {
        const float a = head[i];
        const float b = head[i + half];
        head[i] = a * cosines[i] - b * sines[i];
        head[i + half] = b * cosines[i] + a * sines[i];
    }
}

}  // namespace motet::MOTET_ISA
