// Tiles of kLanes rows, and the scales of their blocks.
#pragma once

#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

constexpr int kTiles = 2;  // at once

// kLanes neighbouring rows, of which some are wanted. A matrix with fewer rows than that is taken
// row by row, all lanes reading the same.
struct RowTile {
    const Matrix& matrix;
    size_t row;
    size_t wanted_from;
    size_t wanted;
    size_t spread;  // rows from lane to lane: 1, or 0

    // The tile whose first wanted row is `row`; the last tile of a matrix begins early.
    static RowTile at(const Matrix& matrix, size_t row, size_t end) {
        if (matrix.rows < kLanes) return {matrix, row, 0, 1, 0};
        const size_t last = matrix.rows - kLanes;
        const size_t first = row < last ? row : last;
        const size_t left = end - row, lanes = kLanes - (row - first);
        return {matrix, first, row - first, left < lanes ? left : lanes, 1};
    }
    const uint8_t* values() const { return matrix.block_at(row, 0); }
    const uint8_t* scales() const { return matrix.scale_at(row, 0); }
    // Bytes from lane to lane.
    size_t value_pitch() const { return spread * matrix.blocks() * matrix.value_stride; }
    size_t scale_pitch() const { return spread * matrix.blocks() * matrix.scale_stride; }
};

// Asks for the scales of the tile so many tiles on; those beside their values come with them.
// (Inlined always: GCC takes a function that only fetches for one that does nothing.)
MOTET_INLINE void fetch_scales(const RowTile& tile, size_t ahead) {
    if (tile.matrix.scale_stride > 2) return;
    const size_t bytes = kLanes * tile.scale_pitch();
    const uint8_t* from = tile.scales() + ahead * bytes;
    for (size_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(from + byte);
}

// Scales of blocks whose values lie right behind them, as GGUF has them; one block after the other.
//
// A block also brings the scales of some rows for the blocks to come. If those of all rows were
// reached for at once, the lines that hold them would come into the first-level cache together, and
// for that time memory would be asked for nothing.
template <class Blocks>
class JoinedScales {
  public:
    static bool is_of(const Matrix& matrix) {
        return matrix.scale_stride == kStride && matrix.scales + kScaleBytes == matrix.values &&
               matrix.blocks() >= kReached;
    }

    explicit JoinedScales(const RowTile (&tiles)[kTiles])
        : blocks_(tiles[0].matrix.blocks()), pitch_(tiles[0].scale_pitch()) {
        for (int tile = 0; tile < kTiles; ++tile) from_[tile] = tiles[tile].scales();
        for (size_t turn = 0; turn < kReached; ++turn) bring(turn);
    }

    // Of block `index`: 0, 1 and so on. Each time `bring` has to follow; it is apart so that values
    // can be loaded first.
    MOTET_INLINE void next(size_t index, Floats (&scales)[kTiles]) {
        if (index % kReached == 0) {
            first_ = coming_;
            coming_ = index + 2 * kReached <= blocks_ ? index + kReached : blocks_ - kReached;
            now_ ^= 1;
        }
#pragma GCC unroll 2
        for (int tile = 0; tile < kTiles; ++tile)
            scales[tile] = Blocks::scales(
                load<typename Blocks::Scales>(scales_[tile][now_] + (index - first_) * kBytes));
    }

    MOTET_INLINE void bring(size_t index) {
        const size_t row = index % kReached * kTurnRows;
        const size_t place = row * pitch_ + coming_ * kStride;
#pragma GCC unroll 2
        for (int tile = 0; tile < kTiles; ++tile)
            bring_rows(from_[tile] + place, row, scales_[tile][now_ ^ 1]);
    }

  private:
    static constexpr size_t kScaleBytes = Blocks::kScaleBytes;
    static constexpr size_t kStride = Blocks::kValueBytes + kScaleBytes;
    static constexpr size_t kBytes = kLanes * kScaleBytes;  // of a block of all rows
    static constexpr size_t kReached = (kLine - kScaleBytes) / kStride + 1;  // blocks, from a line
    static constexpr size_t kTurnRows = kLanes / kReached;

#if defined(__AVX512VBMI__)
    static constexpr size_t kRegisters = kReached * kBytes / kLine;

    struct Places {
        uint8_t bytes[kRegisters][kLine];  // in a row, of what its blocks' scales become
        uint64_t first_row;                // the bytes that are the first row's
    };
    static constexpr Places places() {
        Places result = {};
        for (size_t i = 0; i < kRegisters * kLine; ++i)
            result.bytes[i / kLine][i % kLine] =
                static_cast<uint8_t>(i / kBytes * kStride + i % kScaleBytes);
        for (size_t i = 0; i < kLine; ++i)
            result.first_row |= uint64_t{i % kBytes < kScaleBytes} << i;
        return result;
    }
    static constexpr Places kPlaces = places();

    MOTET_INLINE void bring_rows(const uint8_t* from, size_t row, uint8_t* to) const {
        Quads scales[kRegisters];
        __builtin_memcpy(scales, to, sizeof scales);
#pragma GCC unroll 8
        for (size_t i = 0; i < kTurnRows; ++i) {
            const Quads line = load<Quads>(from + i * pitch_);
            const uint64_t mask = kPlaces.first_row << (row + i) * kScaleBytes;
#pragma GCC unroll 2
            for (size_t r = 0; r < kRegisters; ++r)
                scales[r] = permuted_into(scales[r], mask, line, load<Quads>(kPlaces.bytes[r]));
        }
        __builtin_memcpy(to, scales, sizeof scales);
    }
#else
    MOTET_INLINE void bring_rows(const uint8_t* from, size_t row, uint8_t* to) const {
        for (size_t i = 0; i < kTurnRows; ++i)
            for (size_t block = 0; block < kReached; ++block)
                __builtin_memcpy(to + block * kBytes + (row + i) * kScaleBytes,
                                 from + i * pitch_ + block * kStride, kScaleBytes);
    }
#endif

    size_t blocks_;
    size_t pitch_;
    const uint8_t* from_[kTiles];
    size_t first_ = 0;   // the block that the scales at hand begin with
    size_t coming_ = 0;  // and the one that those to come begin with
    size_t now_ = 0;     // where those at hand are
    alignas(kLine) uint8_t scales_[kTiles][2][kReached * kBytes] = {};
};

// Scales that lie in any other way, above all as neighbours: some blocks' at once.
template <class Blocks>
class OtherScales {
  public:
    explicit OtherScales(const RowTile (&tiles)[kTiles])
        : tiles_(tiles),
          blocks_(tiles[0].matrix.blocks()),
          at_once_(blocks_ < kMost ? blocks_ : kMost) {}

    MOTET_INLINE void next(size_t index, Floats (&scales)[kTiles]) {
        if (index % kMost == 0) {
            // The last ones are read again if they do not come out even.
            first_ = index + at_once_ <= blocks_ ? index : blocks_ - at_once_;
            for (int tile = 0; tile < kTiles; ++tile) read(tiles_[tile], scales_[tile]);
        }
#pragma GCC unroll 2
        for (int tile = 0; tile < kTiles; ++tile)
            scales[tile] = Blocks::scales(
                load<typename Blocks::Scales>(scales_[tile] + (index - first_) * kBytes));
    }

    MOTET_INLINE void bring(size_t) {}

  private:
    static constexpr size_t kScaleBytes = Blocks::kScaleBytes;
    static constexpr size_t kBytes = kLanes * kScaleBytes;  // of a block of all rows
    static constexpr size_t kMost = 16 / kScaleBytes;       // blocks at once

    MOTET_INLINE void read(const RowTile& tile, uint8_t* to) const {
        const size_t stride = tile.matrix.scale_stride, pitch = tile.scale_pitch();
        const uint8_t* from = tile.scales() + first_ * stride;
        if (stride == kScaleBytes && at_once_ == kMost) {
            FourQuads words;
            load_transposed(from, pitch, words);
            for (const Quads& word : words) {
                const Quads some = transposed<kScaleBytes>(word);
                __builtin_memcpy(to, &some, sizeof some);
                to += sizeof some;
            }
            return;
        }
        for (size_t block = 0; block < at_once_; ++block)
            for (size_t row = 0; row < kLanes; ++row)
                __builtin_memcpy(to + block * kBytes + row * kScaleBytes,
                                 from + row * pitch + block * stride, kScaleBytes);
    }

    const RowTile (&tiles_)[kTiles];
    size_t blocks_;
    size_t at_once_;
    size_t first_ = 0;  // the block that the scales at hand begin with
    alignas(kLine) uint8_t scales_[kTiles][kMost * kBytes];
};

}  // namespace motet::MOTET_ISA
