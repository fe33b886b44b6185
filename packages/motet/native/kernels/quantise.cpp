// Activations and weights to 8 bits: each block of 32 is divided by a 127th of its largest
// magnitude.
#include "kernels/half.hpp"
#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

namespace {

// Nearest integer, ties to even: adding 1.5 * 2^23 leaves it in the low mantissa bits.
inline int rounded(float value) {
    const float shifted = value + 12582912.0f;
    int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    return bits - 0x4b400000;
}

// The largest magnitude of 32 values; not a number if one of them is none or infinite.
inline float block_peak(const float* x) {
    Floats best = {}, spoilt = {};
    for (int i = 0; i < 32; i += kLanes) {
        const Floats v = load_floats(x + i);
        best = maximum(best, maximum(v, -v));
        spoilt += v * 0.0f;
    }
    return largest(best) + sum(spoilt);
}

void quantise_block(const float* x, Order order, int8_t* values, float& scale) {
    const float peak = block_peak(x);
    const float inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
    int8_t rounded_values[32];
    for (int i = 0; i < 32; ++i) rounded_values[i] = static_cast<int8_t>(rounded(x[i] * inverse));
    for (int i = 0; i < 32; ++i)
        values[order == Order::natural ? i : i / 2 + i % 2 * 16] = rounded_values[i];
    scale = peak / 127.0f;
}

struct Fitted {
    uint8_t indices[32];
    float scale;
    float gain;  // how much smaller the squared error is than without any weights
};

// The levels nearest to x / scale, and the scale with which they fit x best.
Fitted fitted(const float* x, float scale) {
    Fitted result{};
    const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    float products = 0.0f, squares = 0.0f;
    for (int i = 0; i < 32; ++i) {
        const float twice = 2 * x[i] * inverse;
        int index = 0;
        for (int level = 0; level < 15; ++level)
            index += twice > static_cast<float>(kInt4Levels[level] + kInt4Levels[level + 1]);
        const float level = kInt4Levels[index];
        result.indices[i] = static_cast<uint8_t>(index);
        products += level * x[i];
        squares += level * level;
    }
    result.scale = squares > 0.0f ? products / squares : 0.0f;
    result.gain = result.scale * products;
    return result;
}

}  // namespace

void quantise(const float* x, size_t rows, Order order, QuantisedRows out) {
    const size_t blocks = out.inner / 32;
    for (size_t i = 0; i < rows * blocks; ++i) {
        quantise_block(x + i * 32, order, out.values + i * 32, out.scales[i]);
        out.corrections[i] = correction(out.values + i * 32);
    }
}

void encode_int8(const float* x, size_t count, uint8_t* values, uint8_t* scales) {
    for (size_t block = 0; block < count / 32; ++block) {
        const uint16_t stored = half_bits(block_peak(x + block * 32) / 127.0f);
        __builtin_memcpy(scales + block * 2, &stored, sizeof stored);
        const float scale = half_value(stored);
        const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
        for (size_t i = block * 32; i < block * 32 + 32; ++i) {
            const int value = rounded(x[i] * inverse);
            values[i] = static_cast<uint8_t>(value > 127 ? 127 : value < -127 ? -127 : value);
        }
    }
}

// The levels are not symmetric: which end the largest value is put to makes a difference.
void encode_int4(const float* x, size_t count, uint8_t* values, uint8_t* scales) {
    for (size_t block = 0; block < count / 32; ++block) {
        const float scale = block_peak(x + block * 32) / 12.0f;
        const Fitted up = fitted(x + block * 32, scale), down = fitted(x + block * 32, -scale);
        const Fitted& best = down.gain > up.gain ? down : up;
        const uint16_t stored = half_bits(scale == scale ? best.scale : scale);
        __builtin_memcpy(scales + block * 2, &stored, sizeof stored);
        for (int i = 0; i < 16; ++i)
            values[block * 16 + i] =
                static_cast<uint8_t>(best.indices[i] | best.indices[i + 16] << 4);
    }
}

}  // namespace motet::MOTET_ISA
