// The experts: MXFP4 weights, read in place.
//
// A block is 32 weights: 16 bytes, each with an even element in its low and the following odd
// element in its high nibble, and one power-of-two scale 2^(s - 127). A nibble is a sign and a
// float of two exponent bits and one mantissa bit (E2M1); twice its value is one of the integers
// 0, 1, 2, 3, 4, 6, 8, 12, so a byte shuffle decodes 16 nibbles at once and the factor 1/2 goes
// into the scale. Both steps are exact.
#include "kernels/matmul_tile.hpp"

namespace motet::MOTET_ISA {

namespace {

// 2^(scale - 128): the block's scale, halved. The two smallest are subnormal, hence a mantissa bit.
inline float half_scale(uint8_t scale) {
    const uint32_t bits = scale >= 2 ? uint32_t(scale - 1) << 23 : uint32_t{0x00200000} << scale;
    float result;
    __builtin_memcpy(&result, &bits, sizeof result);
    return result;
}

struct Mxfp4Weights {
    const uint8_t* blocks;
    const uint8_t* scales;
    size_t blocks_per_row;

    void decode(size_t row, size_t block, Floats* out) const {
        constexpr Bytes doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
        const size_t index = row * blocks_per_row + block;
        const UnsignedBytes packed = load<UnsignedBytes>(blocks + index * 16);
        const Bytes even = lookup(doubled, (Bytes)(packed & 15));
        const Bytes odd = lookup(doubled, (Bytes)(packed >> 4));
        const Floats scale = broadcast(half_scale(scales[index]));
        for (int j = 0; j < kVectorsPerBlock / 2; ++j) {
            out[j] = to_floats(even, j * kLanes) * scale;
            out[j + kVectorsPerBlock / 2] = to_floats(odd, j * kLanes) * scale;
        }
    }
};

}  // namespace

void matmul_mxfp4(const Mxfp4Matrix& matrix, RowRange range, const float* x, size_t tokens,
                  Output to, float* panel) {
    const Mxfp4Weights weights{matrix.blocks, matrix.scales, matrix.inner / 32};
    multiply(weights, matrix, range, x, tokens, to, panel);
}

void arrange_for_mxfp4(const float* x, size_t count, float* out) {
    for (size_t block = 0; block < count; block += 32)
        for (size_t i = 0; i < 16; ++i) {
            out[block + i] = x[block + 2 * i];
            out[block + 16 + i] = x[block + 2 * i + 1];
        }
}

}  // namespace motet::MOTET_ISA
