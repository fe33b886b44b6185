// Matrix times several activation rows in float32: the loop all weight formats share.
//
// `Weights` knows how to decode 32 consecutive weights of a row into registers. With few tokens
// the weights are decoded on the fly; with more, four rows are decoded once into a panel that
// stays in the first-level cache and serves them all. Both ways perform the same operations in
// the same order for each output element: lane l sums the elements l, l + kLanes, ... of the row,
// then the lanes are summed. Hence the results do not depend on how many tokens there are.
#pragma once

#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

constexpr int kVectorsPerBlock = 32 / kLanes;
constexpr size_t kExactRows = 4;  // at once
static_assert(kExactRows * 4096 <= scratch_floats(4096));
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr size_t kTokenTile = 4;
#else
constexpr size_t kTokenTile = 2;  // 16 registers
#endif
// Tokens that stay in the second-level cache while all rows of the range pass by.
constexpr size_t kTokenBlock = 64;

// Some decoded rows of a matrix.
struct Panel {
    float* values;
    size_t inner;

    void decode(size_t row, size_t block, Floats* out) const {
        const float* from = values + row * inner + block * 32;
        for (int j = 0; j < kVectorsPerBlock; ++j) out[j] = load_floats(from + j * kLanes);
    }
};

struct Tile {
    size_t row;         // of the matrix
    size_t source_row;  // of the weights given to multiply_tile (differs for a panel)
    const float* x;
    float* out;  // [tokens, stride], first element is this row's
};

template <int Rows, int Tokens, class Weights>
inline void multiply_tile(const Weights& weights, const Matrix& matrix, Tile tile, Output to) {
    Floats sums[Rows][Tokens] = {};
    for (size_t block = 0; block < matrix.inner / 32; ++block) {
        for (int r = 0; r < Rows; ++r) {
            Floats w[kVectorsPerBlock];
            weights.decode(tile.source_row + r, block, w);
            for (int t = 0; t < Tokens; ++t) {
                const float* x = tile.x + t * matrix.inner + block * 32;
                for (int j = 0; j < kVectorsPerBlock; ++j)
                    sums[r][t] = fma(w[j], load_floats(x + j * kLanes), sums[r][t]);
            }
        }
    }
    for (int r = 0; r < Rows; ++r) {
        const float bias = matrix.bias ? matrix.bias[tile.row + r] : 0.0f;
        for (int t = 0; t < Tokens; ++t) {
            float& out = tile.out[t * to.stride + r];
            const float value = sum(sums[r][t]) + bias;
            out = to.accumulate ? out + value : value;
        }
    }
}

template <int Rows, class Weights>
inline void multiply_rows(const Weights& weights, const Matrix& matrix, Tile tile, size_t tokens,
                          Output to) {
    while (tokens > 0) {
        const size_t count = tokens >= kTokenTile ? kTokenTile : 1;
        if (count == kTokenTile)
            multiply_tile<Rows, kTokenTile>(weights, matrix, tile, to);
        else
            multiply_tile<Rows, 1>(weights, matrix, tile, to);
        tokens -= count;
        tile.x += count * matrix.inner;
        tile.out += count * to.stride;
    }
}

template <int Rows, class Weights>
inline void multiply_group(const Weights& weights, const Matrix& matrix, Tile tile, size_t tokens,
                           Output to, float* panel) {
    if (tokens < 2 * kTokenTile) {
        multiply_rows<Rows>(weights, matrix, tile, tokens, to);
        return;
    }
    for (int r = 0; r < Rows; ++r)
        for (size_t block = 0; block < matrix.inner / 32; ++block) {
            Floats w[kVectorsPerBlock];
            weights.decode(tile.row + r, block, w);
            for (int j = 0; j < kVectorsPerBlock; ++j)
                store(panel + r * matrix.inner + block * 32 + j * kLanes, w[j]);
        }
    tile.source_row = 0;
    multiply_rows<Rows>(Panel{panel, matrix.inner}, matrix, tile, tokens, to);
}

template <class Weights>
inline void multiply(const Weights& weights, const Matrix& matrix, RowRange range, const float* x,
                     size_t tokens, Output to, float* panel) {
    for (size_t first = 0; first < tokens; first += kTokenBlock) {
        const size_t count = tokens - first < kTokenBlock ? tokens - first : kTokenBlock;
        const auto tile = [&](size_t row) {
            return Tile{row, row, x + first * matrix.inner,
                        to.data + first * to.stride + (row - range.begin)};
        };
        size_t row = range.begin;
        for (; row + kExactRows <= range.end; row += kExactRows)
            multiply_group<kExactRows>(weights, matrix, tile(row), count, to, panel);
        for (; row < range.end; ++row)
            multiply_group<1>(weights, matrix, tile(row), count, to, panel);
    }
}

}  // namespace motet::MOTET_ISA
