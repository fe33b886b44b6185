// Products of tiles, kLanes rows each, with the activations of some tokens.
//
// Lanes are rows. A block of kTiles neighbouring tiles is decoded into registers as it streams by
// and meets all tokens there, a few at a time. Meanwhile the tiles that come next are asked for.
#pragma once

#include "kernels/row_tiles.hpp"

namespace motet::MOTET_ISA {

constexpr int kGroup = 4;  // tokens whose dot products fit registers beside a block of each tile
constexpr size_t kTokensAtOnce = 128;  // whose sums stay in the first-level cache
static_assert(kTokensAtOnce * kTiles * kLanes <= scratch_floats(0));

template <class Blocks, class Scales>
class TileProducts {
  public:
    // sums: [tokens, kTiles], of at most kTokensAtOnce tokens. A tile may be there twice.
    static void read(const RowTile (&tiles)[kTiles], const QuantisedRows& x, size_t tokens,
                     Floats (*sums)[kTiles]) {
        choose<kGroup - 1>(tiles, x, tokens, sums);
    }

  private:
    static constexpr size_t kStride = Blocks::kValueBytes + Blocks::kScaleBytes;

    // Tokens % kGroup has to be a constant, and whether they are no more than a group.
    template <int Rest>
    static void choose(const RowTile (&tiles)[kTiles], const QuantisedRows& x, size_t tokens,
                       Floats (*sums)[kTiles]) {
        if (tokens % kGroup == Rest) {
            if (tokens > kGroup) return multiply_groups<Rest>(tiles, x, tokens, sums);
            return multiply_few<Rest == 0 ? kGroup : Rest>(tiles, x, sums);
        }
        if constexpr (Rest > 0) choose<Rest - 1>(tiles, x, tokens, sums);
    }

    // The sums of a single group stay in registers, and memory is asked for little by little: it is
    // what such products wait for.
    template <int Tokens>
    [[gnu::noinline]] static void multiply_few(const RowTile (&tiles)[kTiles],
                                               const QuantisedRows& x, Floats (*sums)[kTiles]) {
        Floats own[Tokens][kTiles] = {};
        for_each_block<false>(tiles,
                              [&](const DecodedBlock& block, size_t index, const uint8_t* next) {
                                  add_products<Tokens, true>(block, x, index, own, next);
                              });
        for (int t = 0; t < Tokens; ++t)
            for (int tile = 0; tile < kTiles; ++tile) sums[t][tile] = own[t][tile];
    }

    template <int Rest>
    [[gnu::noinline]] static void multiply_groups(const RowTile (&tiles)[kTiles],
                                                  const QuantisedRows& x, size_t tokens,
                                                  Floats (*sums)[kTiles]) {
        for (size_t t = 0; t < tokens; ++t)
            for (int tile = 0; tile < kTiles; ++tile) sums[t][tile] = Floats{};
        const size_t grouped = tokens - Rest;
        for_each_block<true>(tiles, [&](const DecodedBlock& block, size_t index, const uint8_t*) {
            for (size_t t = 0; t < grouped; t += kGroup)
                add_products<kGroup, false>(block, x.from(t), index, sums + t);
            if constexpr (Rest > 0)
                add_products<Rest, false>(block, x.from(grouped), index, sums + grouped);
        });
    }

    // The same block of every tile.
    struct DecodedBlock {
        Block weights[kTiles];
        Floats scales[kTiles];
    };

    // Gives each block, and where the part of the tiles to come begins that lies as far behind; it
    // is asked for unless that is left to `use`.
    template <bool kFetch, class Use>
    MOTET_INLINE static void for_each_block(const RowTile (&tiles)[kTiles], const Use& use) {
        const Matrix& matrix = tiles[0].matrix;
        const size_t blocks = matrix.blocks(), pitch = tiles[0].value_pitch();
        const uint8_t* from[kTiles];
        for (int tile = 0; tile < kTiles; ++tile) from[tile] = tiles[tile].values();
        const uint8_t* next = from[0] + kTiles * kLanes * pitch;
        Scales scales(tiles);
        for (size_t index = 0; index < blocks; ++index) {
            if constexpr (kFetch) fetch(next, 0, kQuads);
            DecodedBlock block;
            scales.next(index, block.scales);
#pragma GCC unroll 2
            for (int tile = 0; tile < kTiles; ++tile) {
                block.weights[tile] = Blocks::decode(from[tile], pitch);
                from[tile] += matrix.value_stride;
            }
            scales.bring(index);
            use(block, index, next);
            next += kTiles * kLanes * matrix.value_stride;
        }
    }

    // Adds the block's products with a few tokens to their sums, and asks for what comes next.
    template <int Tokens, bool kFetch>
    MOTET_INLINE static void add_products(const DecodedBlock& block, const QuantisedRows& x,
                                          size_t index, Floats (*sums)[kTiles],
                                          const uint8_t* next = nullptr) {
        const size_t blocks = x.inner / 32;
        const int8_t* values[Tokens];
        Quads dots[Tokens][kTiles];
#pragma GCC unroll 4
        for (int t = 0; t < Tokens; ++t) {
            values[t] = x.values + t * x.inner + index * 32;
            keep_address(values[t]);
        }
#pragma GCC unroll 4
        for (int t = 0; t < Tokens; ++t) {
            const Quads start = Blocks::start(x.corrections[t * blocks + index]);
#pragma GCC unroll 2
            for (int tile = 0; tile < kTiles; ++tile) dots[t][tile] = start;
        }
#pragma GCC unroll 8
        for (int q = 0; q < kQuads; ++q) {
            if constexpr (kFetch) fetch(next, q, q + 1);
#pragma GCC unroll 4
            for (int t = 0; t < Tokens; ++t) {
                const Quads four = broadcast_quad(values[t] + q * 4);
#pragma GCC unroll 2
                for (int tile = 0; tile < kTiles; ++tile) {
                    const Quads weights = block.weights[tile].quads[q];
                    dots[t][tile] = Blocks::add(dots[t][tile], weights, four);
                    keep(dots[t][tile]);  // or products would pile up, waiting to be added
                }
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < Tokens; ++t) {
            const Floats scale = broadcast(x.scales[t * blocks + index]);
#pragma GCC unroll 2
            for (int tile = 0; tile < kTiles; ++tile)
                sums[t][tile] +=
                    as_floats(Blocks::finish(dots[t][tile])) * (block.scales[tile] * scale);
        }
    }

    // Asks for the eighths begin..end of the lines that a block of all tiles takes.
    MOTET_INLINE static void fetch(const uint8_t* next, size_t begin, size_t end) {
        constexpr size_t kLines = (kTiles * kLanes * kStride + kLine - 1) / kLine;
#pragma GCC unroll 32
        for (size_t line = begin * kLines / kQuads; line < end * kLines / kQuads; ++line)
            __builtin_prefetch(next + line * kLine);
    }
};

}  // namespace motet::MOTET_ISA
