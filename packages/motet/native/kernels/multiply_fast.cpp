// The fast products: weights in blocks of 8 or 4 bits times activations of 8 bits.
//
// The integer dot product of a block and its activations is exact; it is converted, multiplied by
// the product of both scales, rounded, and added to the sum of the blocks before. An element is
// thus the same chain of the same operations however many tokens there are, which rows are computed
// beside it, and where its weights come from.
//
// With one or two tokens rows are read one after the other (row_products.hpp), with more in tiles
// of as many as a register has lanes (tile_products.hpp).
#include "kernels/row_products.hpp"
#include "kernels/tile_products.hpp"

namespace motet::MOTET_ISA {

namespace {

// Where the rows range.begin.. of a product go.
struct Target {
    Output out;
    size_t first_row;

    void put(const RowTile& tile, size_t token, Floats sums) const {
        const float* bias = tile.matrix.bias;
        if (tile.wanted == kLanes) {
            float* to = out.data + token * out.stride + (tile.row - first_row);
            if (bias) sums += load_floats(bias + tile.row);
            return store(to, out.accumulate ? load_floats(to) + sums : sums);
        }
        float values[kLanes];
        store(values, sums);
        for (size_t lane = tile.wanted_from; lane < tile.wanted_from + tile.wanted; ++lane) {
            const size_t row = tile.row + lane * tile.spread;
            const float value = values[lane] + (bias ? bias[row] : 0.0f);
            float& to = out.data[token * out.stride + row - first_row];
            to = out.accumulate ? to + value : value;
        }
    }
};

template <class Blocks, class Scales>
void multiply_tiles(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                    const Target& target, float* scratch) {
    auto* const sums = reinterpret_cast<Floats(*)[kTiles]>(scratch);
    for (size_t row = range.begin; row < range.end;) {
        const RowTile first = RowTile::at(matrix, row, range.end);
        row += first.wanted;
        const bool both = row < range.end;
        const RowTile second = both ? RowTile::at(matrix, row, range.end) : first;
        row += both ? second.wanted : 0;
        for (size_t ahead = 0; ahead < kTiles; ++ahead) fetch_scales(first, kTiles + ahead);
        for (size_t token = 0; token < tokens; token += kTokensAtOnce) {
            const size_t left = tokens - token, count = left < kTokensAtOnce ? left : kTokensAtOnce;
            TileProducts<Blocks, Scales>::read({first, second}, x.from(token), count, sums);
            for (size_t t = 0; t < count; ++t) {
                target.put(first, token + t, sums[t][0]);
                if (both) target.put(second, token + t, sums[t][1]);
            }
        }
    }
}

#if defined(__AVX2__)

template <int Tokens, class Blocks, class Layout>
void multiply_rows(const Matrix& matrix, RowRange range, const QuantisedRows& x,
                   const Target& target, float* scratch) {
    const RowProducts<Blocks, Layout, Tokens> products(matrix, range.end, x, scratch);
    for (size_t row = range.begin; row < range.end;) {
        const RowTile tile = RowTile::at(matrix, row, range.end);
        fetch_scales(tile, 1);
        Floats sums[Tokens];
        products.read(tile.row, tile.spread, sums);
        for (int t = 0; t < Tokens; ++t) target.put(tile, t, sums[t]);
        row += tile.wanted;
    }
}

// Whether it could be done: rows are long enough, and blocks lie in one of the known ways.
template <int Tokens, class Blocks>
bool multiplied_by_rows(const Matrix& matrix, RowRange range, const QuantisedRows& x,
                        const Target& target, float* scratch) {
    if (matrix.blocks() < kLanes) return false;
    if (Apart<Blocks>::is_of(matrix))
        multiply_rows<Tokens, Blocks, Apart<Blocks>>(matrix, range, x, target, scratch);
    else if (Joined<Blocks>::is_of(matrix))
        multiply_rows<Tokens, Blocks, Joined<Blocks>>(matrix, range, x, target, scratch);
    else
        return false;
    return true;
}

#endif

template <class Blocks>
void multiply(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
              Output out, float* scratch) {
    const Target target{out, range.begin};
#if defined(__AVX2__)
    if (tokens == 1 && multiplied_by_rows<1, Blocks>(matrix, range, x, target, scratch)) return;
    if (tokens == 2 && multiplied_by_rows<2, Blocks>(matrix, range, x, target, scratch)) return;
#endif
    if (JoinedScales<Blocks>::is_of(matrix))
        multiply_tiles<Blocks, JoinedScales<Blocks>>(matrix, range, x, tokens, target, scratch);
    else
        multiply_tiles<Blocks, OtherScales<Blocks>>(matrix, range, x, tokens, target, scratch);
}

}  // namespace

void multiply_fast(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                   Output out, float* scratch) {
    const uintptr_t lines = (reinterpret_cast<uintptr_t>(scratch) + kLine - 1) / kLine;
    float* const from_line = reinterpret_cast<float*>(lines * kLine);
    switch (matrix.format) {
        case Matrix::Format::mxfp4:
            return multiply<Mxfp4Blocks>(matrix, range, x, tokens, out, from_line);
        case Matrix::Format::int4:
            return multiply<Int4Blocks>(matrix, range, x, tokens, out, from_line);
        default:
            return multiply<Int8Blocks>(matrix, range, x, tokens, out, from_line);
    }
}

}  // namespace motet::MOTET_ISA
