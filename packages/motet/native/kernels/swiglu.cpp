// The experts' activation: gate * sigmoid(1.702 * gate) * (linear + 1), with both sides clamped.
//
// Two particulars of gpt-oss: gate and linear values alternate in the projection's output (in GGUF
// they are apart), and the gate is clamped from above only.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr float kAlpha = 1.702f;

inline Floats activate(Floats gate, Floats linear, float limit) {
    gate = minimum(gate, broadcast(limit));
    linear = minimum(maximum(linear, broadcast(-limit)), broadcast(limit));
    return gate / (exponential(gate * -kAlpha) + 1.0f) * (linear + 1.0f);
}

inline Floats load_spaced(const float* from, size_t step) {
    if (step == 1) return load_floats(from);
    float values[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) values[lane] = from[lane * step];
    return load_floats(values);
}

}  // namespace

void swiglu(const float* gate, const float* linear, size_t step, size_t count, float limit,
            float* out) {
    for (size_t i = 0; i < count; i += kLanes)
        store(out + i, activate(load_spaced(gate + i * step, step),
                                load_spaced(linear + i * step, step), limit));
}

}  // namespace motet::MOTET_ISA
