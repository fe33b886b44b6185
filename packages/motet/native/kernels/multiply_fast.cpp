// The fast products: weights in blocks of 8 or 4 bits times activations of 8 bits.
//
// The integer dot product of a block and its activations is exact; it is converted, multiplied by
// the product of both scales, rounded, and added to the sum of the blocks before. An element is
// thus the same chain of the same operations however many tokens there are, which rows are computed
// beside it, and where its weights come from.
//
// The unit is a tile of kLanes rows. With one or two tokens they are read one after the other
// (row_products.hpp). With a few more the weights are decoded as they stream by, so that each lane
// is a row, and the next tile is fetched from memory while this one is computed. With many, tiles
// are decoded once into a panel in the cache.
#include "kernels/row_products.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr int kFewTokens = 8;   // for which decoding pays no panel
constexpr int kTokens = 6;      // of one pass over a panel's tiles
constexpr int kMostTokens = 8;  // of the last one, or it would be left with too few
constexpr size_t kPanelTiles = kPanelRows / kLanes;

// kLanes neighbouring rows, of which some are wanted. Rows are `pitch` bytes apart; a matrix with
// fewer rows than that is taken row by row, all lanes reading the same.
struct Tile {
    const Matrix& matrix;
    size_t row;
    size_t wanted_from;
    size_t wanted;
    size_t spread;  // rows from lane to lane: 1, or 0

    inline const uint8_t* values() const { return matrix.block_at(row, 0); }
    inline size_t value_pitch() const { return spread * matrix.blocks() * matrix.value_stride; }
    inline const uint8_t* scales() const { return matrix.scale_at(row, 0); }
    inline size_t scale_pitch() const { return spread * matrix.blocks() * matrix.scale_stride; }
};

// The tile whose first wanted row is `row`; the last tile of a matrix begins early.
inline Tile tile_at(const Matrix& matrix, size_t row, size_t end) {
    if (matrix.rows < kLanes) return {matrix, row, 0, 1, 0};
    const size_t last = matrix.rows - kLanes;
    const size_t first = row < last ? row : last;
    const size_t left = end - row, lanes = kLanes - (row - first);
    return {matrix, first, row - first, left < lanes ? left : lanes, 1};
}

// 16 bytes of scales of a row, or as many as `count` blocks have.
template <class Blocks>
MOTET_INLINE void gather_scales(const uint8_t* from, size_t stride, size_t count, uint8_t* to) {
    constexpr size_t kBytes = Blocks::kScaleBytes;
#if defined(__AVX512VBMI__)
    if (stride == kBytes + Blocks::kValueBytes && count * kBytes == 16) {
        Quads registers[16 / kBytes * Blocks::kValueBytes / sizeof(Quads)];
        for (Quads& next : registers) {
            next = load<Quads>(from);
            from += sizeof(Quads) / Blocks::kValueBytes * stride;
        }
        const Quads gathered = joined_scales<Blocks>(registers);
        __builtin_memcpy(to, &gathered, 16);
        return;
    }
#endif
#pragma GCC unroll 16
    for (size_t block = 0; block < count; ++block)
        __builtin_memcpy(to + block * kBytes, from + block * stride, kBytes);
}

// The scales of `count` blocks of a tile, at most 16 bytes of every row, one block after the other.
template <class Blocks>
MOTET_INLINE void convert_scales(const Tile& tile, size_t first, size_t count, float* out) {
    constexpr size_t kBytes = Blocks::kScaleBytes, kInWord = 4 / kBytes;
    const size_t stride = tile.matrix.scale_stride, pitch = tile.scale_pitch();
    const uint8_t* from = tile.scales() + first * stride;
    FourQuads words;
    if (stride == kBytes && count * kBytes == 16) {
        load_transposed(from, pitch, words);
    } else {
        uint8_t together[kLanes][16] = {};
        for (int lane = 0; lane < kLanes; ++lane)
            gather_scales<Blocks>(from + lane * pitch, stride, count, together[lane]);
        load_transposed(together[0], 16, words);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < count; ++i)
        store(out + (first + i) * kLanes, Blocks::scales(words[i / kInWord], i % kInWord));
}

// The scales of a tile; the last ones are read again if they do not come out even.
template <class Blocks>
inline void read_scales(const Tile& tile, float* out) {
    constexpr size_t kAtOnce = 16 / Blocks::kScaleBytes;
    const size_t blocks = tile.matrix.blocks();
    if (blocks < kAtOnce) return convert_scales<Blocks>(tile, 0, blocks, out);
    for (size_t block = 0; block < blocks; block += kAtOnce) {
        const size_t last = blocks - kAtOnce;
        convert_scales<Blocks>(tile, block < last ? block : last, kAtOnce, out);
    }
}

// Asks for the scales of the tile so many tiles on; those beside their values come with them.
// (Inlined always: GCC takes a function that only fetches for one that does nothing.)
MOTET_INLINE void fetch_scales(const Tile& tile, size_t ahead) {
    if (tile.matrix.scale_stride > 2) return;
    const size_t bytes = kLanes * tile.scale_pitch();
    const uint8_t* from = tile.scales() + ahead * bytes;
    for (size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + byte);
}

// A tile's weights as they lie in memory. Reading a block fetches the part of the next tile that
// lies as far behind.
template <class Blocks>
struct Streamed {
    const uint8_t* values;
    size_t pitch;
    size_t stride;
    size_t ahead;  // to the next tile

    explicit Streamed(const Tile& tile)
        : values(tile.values()),
          pitch(tile.value_pitch()),
          stride(tile.matrix.value_stride),
          ahead(pitch * kLanes) {}

    inline Block block(size_t index) const {
        fetch(index);
        return Blocks::decode(values + index * stride, pitch);
    }

  private:
    inline void fetch(size_t index) const {
        const uint8_t* next = values + ahead + index * kLanes * stride;
#pragma GCC unroll 8
        for (size_t byte = 0; byte < kLanes * Blocks::kValueBytes; byte += 64)
            __builtin_prefetch(next + byte);
    }
};

constexpr size_t kBlockBytes = kQuads * sizeof(Quads);

struct DecodedBlock {
    const uint8_t* from;

    inline Quads quad(int q) const { return load<Quads>(from + q * sizeof(Quads)); }
};

// A tile decoded once for many tokens: blocks, and behind them their scales.
struct Decoded {
    uint8_t* values;
    float* scales;

    Decoded(float* panel, size_t inner, size_t tile)
        : values(reinterpret_cast<uint8_t*>(panel + tile * floats(inner))),
          scales(panel + tile * floats(inner) + inner * kLanes / 4) {}

    static inline size_t floats(size_t inner) { return (inner / 4 + inner / 32) * kLanes; }

    template <class Blocks>
    inline void decode(const Tile& tile) const {
        const Streamed<Blocks> source(tile);
        fetch_scales(tile, 0);
        for (size_t index = 0; index < tile.matrix.blocks(); ++index) {
            const Block decoded = source.block(index);
            for (int q = 0; q < kQuads; ++q)
                __builtin_memcpy(values + index * kBlockBytes + q * sizeof(Quads),
                                 &decoded.quads[q], sizeof(Quads));
        }
        read_scales<Blocks>(tile, scales);
    }
    inline DecodedBlock block(size_t index) const { return {values + index * kBlockBytes}; }
};

template <class OneBlock, int Tiles>
struct BlocksOf {
    OneBlock of[Tiles];
};

template <class Source>
inline auto blocks_of(const Source (&sources)[1], size_t index) {
    return BlocksOf<decltype(sources[0].block(index)), 1>{{sources[0].block(index)}};
}

template <class Source>
inline auto blocks_of(const Source (&sources)[2], size_t index) {
    return BlocksOf<decltype(sources[0].block(index)), 2>{
        {sources[0].block(index), sources[1].block(index)}};
}

// Tiles times tokens, block by block; scales [blocks, kLanes] for each tile.
template <class Blocks, int Tiles, int Tokens, class Source>
inline void multiply_tiles(const Source (&sources)[Tiles], const float* const (&scales)[Tiles],
                           const QuantisedRows& x, Floats (&sums)[Tiles][Tokens]) {
    const size_t blocks = x.inner / 32;
    for (auto& tile : sums)
        for (Floats& sum : tile) sum = Floats{};
    for (size_t index = 0; index < blocks; ++index) {
        Quads dots[Tiles][Tokens];
        const auto weights = blocks_of(sources, index);
        for (int t = 0; t < Tokens; ++t) {
            const Quads start = Blocks::start(x.corrections[t * blocks + index]);
            for (int tile = 0; tile < Tiles; ++tile) dots[tile][t] = start;
        }
        const int8_t* values = x.values + index * 32;
#pragma GCC unroll 8
        for (int q = 0; q < kQuads; ++q)
#pragma GCC unroll 8
            for (int t = 0; t < Tokens; ++t) {
                const Quads four = broadcast_quad(values + t * x.inner + q * 4);
#pragma GCC unroll 2
                for (int tile = 0; tile < Tiles; ++tile) {
                    dots[tile][t] = Blocks::add(dots[tile][t], weights.of[tile].quad(q), four);
                    keep(dots[tile][t]);  // or products would pile up, waiting to be added
                }
            }
        for (int tile = 0; tile < Tiles; ++tile) {
            const Floats scale = load_floats(scales[tile] + index * kLanes);
            for (int t = 0; t < Tokens; ++t)
                sums[tile][t] += as_floats(Blocks::finish(dots[tile][t])) *
                                 (scale * broadcast(x.scales[t * blocks + index]));
        }
    }
}

// Where the rows range.begin.. of a product go.
struct Target {
    Output out;
    size_t first_row;

    inline void put(const Tile& tile, size_t token, Floats sums) const {
        float values[kLanes];
        store(values, sums);
        for (size_t lane = tile.wanted_from; lane < tile.wanted_from + tile.wanted; ++lane) {
            const size_t row = tile.row + lane * tile.spread;
            const float* bias = tile.matrix.bias;
            const float value = values[lane] + (bias ? bias[row] : 0.0f);
            float& to = out.data[token * out.stride + (row - first_row) * out.row_stride];
            to = out.accumulate ? to + value : value;
        }
    }
};

// Not inlined: on its own each keeps its sums in registers.
template <class Blocks, int Tiles, int Tokens, class Source>
[[gnu::noinline]] void multiply_pass(const Tile (&tiles)[Tiles], const Source (&sources)[Tiles],
                                     const float* const (&scales)[Tiles], const QuantisedRows& x,
                                     size_t token, const Target& target) {
    Floats sums[Tiles][Tokens];
    multiply_tiles<Blocks>(sources, scales, x.from(token), sums);
    for (int tile = 0; tile < Tiles; ++tile)
        for (int t = 0; t < Tokens; ++t) target.put(tiles[tile], token + t, sums[tile][t]);
}

// The tokens `token`..`end`, at most kMost of them.
template <class Blocks, int Tiles, int kMost, class Source>
inline void multiply_tokens(const Tile (&tiles)[Tiles], const Source (&sources)[Tiles],
                            const float* const (&scales)[Tiles], const QuantisedRows& x,
                            size_t token, size_t end, const Target& target) {
    if (end - token == kMost)
        return multiply_pass<Blocks, Tiles, kMost>(tiles, sources, scales, x, token, target);
    if constexpr (kMost > 1)
        multiply_tokens<Blocks, Tiles, kMost - 1>(tiles, sources, scales, x, token, end, target);
}

template <class Blocks>
void multiply_streamed(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                       const Target& target, float* panel) {
    for (size_t row = range.begin; row < range.end;) {
        const Tile tile = tile_at(matrix, row, range.end);
        read_scales<Blocks>(tile, panel);
        fetch_scales(tile, 1);
        multiply_tokens<Blocks, 1, kFewTokens>({tile}, {Streamed<Blocks>(tile)}, {panel}, x, 0,
                                               tokens, target);
        row += tile.wanted;
    }
}

#if defined(__AVX2__)

template <int Tokens, class Blocks, class Layout>
void multiply_rows(const Matrix& matrix, RowRange range, const QuantisedRows& x,
                   const Target& target, float* scratch) {
    const RowProducts<Blocks, Layout, Tokens> products(matrix, range.end, x, scratch);
    for (size_t row = range.begin; row < range.end;) {
        const Tile tile = tile_at(matrix, row, range.end);
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
void multiply_decoded(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                      const Target& target, float* panel) {
    for (size_t row = range.begin; row < range.end;) {
        size_t rows[kPanelTiles], count = 0;
        for (; count < kPanelTiles && row < range.end; ++count) {
            const Tile tile = tile_at(matrix, rows[count] = row, range.end);
            Decoded(panel, matrix.inner, count).template decode<Blocks>(tile);
            row += tile.wanted;
        }
        // A few tokens stay in the first-level cache while the whole panel passes by.
        for (size_t token = 0, end; token < tokens; token = end) {
            end = tokens - token > kMostTokens ? token + kTokens : tokens;
            size_t tile = 0;
            for (; tile + 2 <= count; tile += 2) {
                const Decoded a(panel, matrix.inner, tile), b(panel, matrix.inner, tile + 1);
                multiply_tokens<Blocks, 2, kMostTokens>(
                    {tile_at(matrix, rows[tile], range.end),
                     tile_at(matrix, rows[tile + 1], range.end)},
                    {a, b}, {a.scales, b.scales}, x, token, end, target);
            }
            for (; tile < count; ++tile) {
                const Decoded a(panel, matrix.inner, tile);
                multiply_tokens<Blocks, 1, kMostTokens>({tile_at(matrix, rows[tile], range.end)},
                                                        {a}, {a.scales}, x, token, end, target);
            }
        }
    }
}

template <class Blocks>
void multiply(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
              Output out, float* scratch) {
    const Target target{out, range.begin};
    const uintptr_t lines = (reinterpret_cast<uintptr_t>(scratch) + kLine - 1) / kLine;
    float* const panel = reinterpret_cast<float*>(lines * kLine);
#if defined(__AVX2__)
    if (tokens == 1 && multiplied_by_rows<1, Blocks>(matrix, range, x, target, panel)) return;
    if (tokens == 2 && multiplied_by_rows<2, Blocks>(matrix, range, x, target, panel)) return;
#endif
    if (tokens <= kFewTokens)
        multiply_streamed<Blocks>(matrix, range, x, tokens, target, panel);
    else
        multiply_decoded<Blocks>(matrix, range, x, tokens, target, panel);
}

}  // namespace

void multiply_fast(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                   Output out, float* scratch) {
    switch (matrix.format) {
        case Matrix::Format::mxfp4:
            return multiply<Mxfp4Blocks>(matrix, range, x, tokens, out, scratch);
        case Matrix::Format::int4:
            return multiply<Int4Blocks>(matrix, range, x, tokens, out, scratch);
        default:
            return multiply<Int8Blocks>(matrix, range, x, tokens, out, scratch);
    }
}

}  // namespace motet::MOTET_ISA
