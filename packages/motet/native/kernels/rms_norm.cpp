// Root-mean-square normalisation: x * (mean(x^2) + epsilon)^-1/2 * scale.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

void rms_norm(const float* x, const float* scale, size_t count, float epsilon, float* out) {
    Floats squares = {};
    for (size_t i = 0; i < count; i += kLanes) {
        const Floats values = load_floats(x + i);
        squares = fma(values, values, squares);
    }
    const float inverse =
        1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(count) + epsilon);
    for (size_t i = 0; i < count; i += kLanes)
        store(out + i, load_floats(x + i) * inverse * load_floats(scale + i));
}

}  // namespace motet::MOTET_ISA
