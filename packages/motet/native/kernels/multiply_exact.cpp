// The exact product: float32 arithmetic on weights of any format, read in place.
//
// A block of MXFP4 is 32 weights: 16 bytes of two values each and one power-of-two scale
// 2^(s - 127). A value is a sign and a float of two exponent bits and one mantissa bit (E2M1);
// twice it is one of the integers 0, 1, 2, 3, 4, 6, 8, 12, so a byte shuffle decodes 16 values at
// once and the factor 1/2 goes into the scale. Both steps are exact.
#include "kernels/exact_tile.hpp"
#include "kernels/half.hpp"

namespace motet::MOTET_ISA {

namespace {

using Format = Matrix::Format;

inline void scaled(Bytes low, Bytes high, Floats scale, Floats* out) {
    for (int j = 0; j < kVectorsPerBlock / 2; ++j) {
        out[j] = to_floats(low, j * kLanes) * scale;
        out[j + kVectorsPerBlock / 2] = to_floats(high, j * kLanes) * scale;
    }
}

template <Format kFormat>
struct Weights {
    const Matrix& matrix;

    void decode(size_t row, size_t block, Floats* out) const {
        const uint8_t* from = matrix.block_at(row, block);
        if constexpr (kFormat == Format::float32) {
            for (int j = 0; j < kVectorsPerBlock; ++j) out[j] = load<Floats>(from + j * kLanes * 4);
        } else if constexpr (kFormat == Format::bf16) {
            const auto* values = reinterpret_cast<const Bf16*>(from);
            for (int j = 0; j < kVectorsPerBlock; ++j) out[j] = load_bf16(values + j * kLanes);
        } else if constexpr (kFormat == Format::float16) {
            float values[32];
            for (int i = 0; i < 32; ++i) values[i] = half_value(load<uint16_t>(from + i * 2));
            __builtin_memcpy(out, values, sizeof values);
        } else if constexpr (kFormat == Format::int8) {
            const float scale = half_value(load<uint16_t>(matrix.scale_at(row, block)));
            scaled(load<Bytes>(from), load<Bytes>(from + 16), broadcast(scale), out);
        } else {
            constexpr bool kMxfp4 = kFormat == Format::mxfp4;
            constexpr Bytes levels = kMxfp4 ? kMxfp4Levels : kInt4Levels;
            const UnsignedBytes packed = load<UnsignedBytes>(from);
            const uint8_t* scale = matrix.scale_at(row, block);
            scaled(lookup(levels, (Bytes)(packed & 15)), lookup(levels, (Bytes)(packed >> 4)),
                   broadcast(kMxfp4 ? half_scale(*scale) : half_value(load<uint16_t>(scale))), out);
        }
    }
};

template <Format kFormat>
void multiply_format(const Matrix& matrix, RowRange range, const float* x, size_t tokens, Output to,
                     float* panel) {
    multiply(Weights<kFormat>{matrix}, matrix, range, x, tokens, to, panel);
}

template <Format kFormat>
void decode_format(const Matrix& matrix, size_t row, float* out) {
    for (size_t block = 0; block < matrix.blocks(); ++block) {
        Floats values[kVectorsPerBlock];
        Weights<kFormat>{matrix}.decode(row, block, values);
        float* to = out + block * 32;
        if (matrix.order == Order::natural) {
            __builtin_memcpy(to, values, sizeof values);
        } else {
            float arranged[32];
            __builtin_memcpy(arranged, values, sizeof values);
            for (int i = 0; i < 32; ++i) to[i] = arranged[i / 2 + i % 2 * 16];
        }
    }
}

}  // namespace

void multiply_exact(const Matrix& matrix, RowRange range, const float* x, size_t tokens, Output to,
                    float* panel) {
    switch (matrix.format) {
        case Format::float32:
            return multiply_format<Format::float32>(matrix, range, x, tokens, to, panel);
        case Format::float16:
            return multiply_format<Format::float16>(matrix, range, x, tokens, to, panel);
        case Format::bf16:
            return multiply_format<Format::bf16>(matrix, range, x, tokens, to, panel);
        case Format::int8:
            return multiply_format<Format::int8>(matrix, range, x, tokens, to, panel);
        case Format::int4:
            return multiply_format<Format::int4>(matrix, range, x, tokens, to, panel);
        case Format::mxfp4:
            return multiply_format<Format::mxfp4>(matrix, range, x, tokens, to, panel);
    }
}

void decode_row(const Matrix& matrix, size_t row, float* out) {
    switch (matrix.format) {
        case Format::float32:
            return decode_format<Format::float32>(matrix, row, out);
        case Format::float16:
            return decode_format<Format::float16>(matrix, row, out);
        case Format::bf16:
            return decode_format<Format::bf16>(matrix, row, out);
        case Format::int8:
            return decode_format<Format::int8>(matrix, row, out);
        case Format::int4:
            return decode_format<Format::int4>(matrix, row, out);
        case Format::mxfp4:
            return decode_format<Format::mxfp4>(matrix, row, out);
    }
}

void arrange(const float* x, size_t count, Order order, float* out) {
    for (size_t block = 0; block < count; block += 32)
        for (size_t i = 0; i < 32; ++i)
            out[block + (order == Order::natural ? i : i / 2 + i % 2 * 16)] = x[block + i];
}

}  // namespace motet::MOTET_ISA
