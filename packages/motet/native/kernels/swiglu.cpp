// The experts' activation: gate * sigmoid(1.702 * gate) * (linear + 1), with both sides clamped.
//
// Two particulars of gpt-oss: gate and linear values alternate in the projection's output, and
// the gate is clamped from above only.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr float kAlpha = 1.702f;

inline Floats activate(Floats gate, Floats linear, float limit) {
    gate = minimum(gate, broadcast(limit));
    linear = minimum(maximum(linear, broadcast(-limit)), broadcast(limit));
    return gate / (exponential(gate * -kAlpha) + 1.0f) * (linear + 1.0f);
}

}  // namespace

void swiglu(const float* gate_up, size_t count, float limit, float* out) {
    for (size_t i = 0; i < count; i += kLanes) {
        float gate[kLanes], linear[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            gate[lane] = gate_up[2 * (i + lane)];
            linear[lane] = gate_up[2 * (i + lane) + 1];
        }
        store(out + i, activate(load_floats(gate), load_floats(linear), limit));
    }
}

}  // namespace motet::MOTET_ISA
