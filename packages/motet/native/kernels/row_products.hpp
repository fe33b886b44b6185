// Products of rows as they lie in memory with the activations of one or two tokens.
//
// A register takes neighbouring blocks of one row, so that weights are read as one stream, line
// after line, as memory is fastest; a lane of 16 bytes belongs to one block. What registers hold of
// a block is added within them, and kLanes blocks' sums are converted and scaled at once. These
// products are kept for kLanes rows and then added block by block, all rows at once, in the order
// that every product has.
#pragma once

#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

#if defined(__AVX2__)

// In bytes: beyond the pages at whose ends the processor would stop to fetch by itself.
constexpr size_t kFetchedAhead = 8 * 1024;

// Asks for what lies so far behind.
template <size_t bytes>
MOTET_INLINE void fetch_lines(const uint8_t* from) {
#pragma GCC unroll 9
    for (size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + kFetchedAhead + byte);
}

// A part of a row is kLanes blocks. What is computed for each of them lies in this order: lane
// 4a + i of 32 bits belongs to block kAtOnce * i + a. So values of four bits, of which a register
// holds kAtOnce blocks, can be added without leaving their lane of 16 bytes.
constexpr int kAtOnce = kLanes / 4;

constexpr int block_of_lane(int lane) { return kAtOnce * (lane % 4) + lane / 4; }

// A value for each block, put in this order.
template <class Vector>
MOTET_INLINE Vector in_lanes(Vector by_block) {
    Vector result;
    for (int lane = 0; lane < kLanes; ++lane) result[lane] = by_block[block_of_lane(lane)];
    return result;
}

// Two ways in which rows lie in memory. A Part of a row gives its values, one register after the
// other, and then its scales.

// Values and scales in arrays of their own, as released.
template <class Blocks>
struct Apart {
    const uint8_t* values;
    const uint8_t* scales;

    static constexpr size_t kStride = Blocks::kValueBytes;

    const uint8_t* begin() const { return values; }

    static bool is_of(const Matrix& matrix) {
        return matrix.value_stride == kStride && matrix.scale_stride == Blocks::kScaleBytes;
    }
    static Apart at(const Matrix& matrix, size_t row) {
        return {matrix.block_at(row, 0), matrix.scale_at(row, 0)};
    }
    // The same row where something readable follows.
    Apart copied(size_t blocks, uint8_t* to) const {
        uint8_t* const end = to + (blocks + kLanes) * kStride;
        __builtin_memcpy(to, values, blocks * kStride);
        __builtin_memcpy(end, scales, blocks * Blocks::kScaleBytes);
        return {to, end};
    }

    struct Part {
        const uint8_t* from;
        const uint8_t* scales_from;

        Part(const Apart& row, size_t block)
            : from(row.values + block * kStride),
              scales_from(row.scales + block * Blocks::kScaleBytes) {}
        Quads values(size_t i) { return load<Quads>(from + i * sizeof(Quads)); }
        typename Blocks::Scales scales() const {
            return in_lanes(load<typename Blocks::Scales>(scales_from));
        }
    };
};

#if defined(__AVX512VBMI__)

// How a part whose blocks are scales and values by turns lies in lines of 64 bytes, the last of
// which ends where the part does. A register of values, or of scales, is chosen from two
// neighbours.
template <size_t kScaleBytes, size_t kValueBytes>
struct PartLines {
    static constexpr size_t kStride = kScaleBytes + kValueBytes;
    static constexpr size_t kBytes = kLanes * kStride;
    static constexpr size_t kCount = (kBytes + kLine - 1) / kLine;
    static constexpr size_t kRegisters = kLanes * kValueBytes / kLine;
    static constexpr size_t kScalePairs = ((kLanes - 1) * kStride / kLine + 2) / 2;

    static constexpr size_t begin(size_t line) {
        return line + 1 < kCount ? line * kLine : kBytes - kLine;
    }
    static constexpr uint8_t place(size_t byte, size_t line) {
        const bool later = byte >= begin(line) + kLine;
        return static_cast<uint8_t>(later ? kLine + byte - begin(line + 1) : byte - begin(line));
    }

    struct Places {
        uint8_t values[kRegisters][kLine];
        uint8_t scales[kScalePairs][kLine];  // in the order of lanes
        uint64_t masks[kScalePairs];
    };
    static constexpr Places places() {
        Places result = {};
        for (size_t i = 0; i < kRegisters * kLine; ++i) {
            const size_t first = i / kLine * kLine / kValueBytes;
            const size_t byte = i / kValueBytes * kStride + kScaleBytes + i % kValueBytes;
            const size_t line = (first * kStride + kScaleBytes) / kLine;
            result.values[i / kLine][i % kLine] = place(byte, line);
        }
        for (size_t i = 0; i < kLanes * kScaleBytes; ++i) {
            const size_t byte = block_of_lane(i / kScaleBytes) * kStride + i % kScaleBytes;
            const size_t pair = byte / kLine / 2;
            result.scales[pair][i] = place(byte, pair * 2);
            result.masks[pair] |= uint64_t{1} << i;
        }
        return result;
    }
};

#endif

// Every block's values behind its scale, as GGUF has them.
template <class Blocks>
struct Joined {
    const uint8_t* from;

    static constexpr size_t kScaleBytes = Blocks::kScaleBytes, kValueBytes = Blocks::kValueBytes;
    static constexpr size_t kStride = kScaleBytes + kValueBytes;
#if defined(__AVX512VBMI__)
    using Lines = PartLines<kScaleBytes, kValueBytes>;
    static constexpr typename Lines::Places kPlaces = Lines::places();
#endif

    static bool is_of(const Matrix& matrix) {
        return matrix.value_stride == kStride && matrix.scale_stride == kStride &&
               matrix.scales + kScaleBytes == matrix.values;
    }
    static Joined at(const Matrix& matrix, size_t row) { return {matrix.scale_at(row, 0)}; }
    Joined copied(size_t blocks, uint8_t* to) const {
        __builtin_memcpy(to, from, blocks * kStride);
        return {to};
    }
    const uint8_t* begin() const { return from; }

    struct Part {
        const uint8_t* from;

#if defined(__AVX512VBMI__)
        Quads line;           // in which the next register begins
        Quads gathered = {};  // scales

        Part(const Joined& row, size_t block)
            : from(row.from + block * kStride), line(load<Quads>(from)) {
            keep(line);
        }
        Quads values(size_t i) {
            Quads next = load<Quads>(from + Lines::begin(i + 1));
            keep(next);  // or it would be loaded twice
            if (i % 2 == 0) gather(next, i / 2);
            const Quads result = permuted_two(line, next, load<Quads>(kPlaces.values[i]));
            line = next;
            return result;
        }
        typename Blocks::Scales scales() {
            if (Lines::kScalePairs * 2 > Lines::kCount) gather(line, Lines::kScalePairs - 1);
            typename Blocks::Scales result;
            __builtin_memcpy(&result, &gathered, sizeof result);
            return result;
        }
        void gather(Quads next, size_t pair) {
            gathered |=
                permuted_two(line, next, load<Quads>(kPlaces.scales[pair]), kPlaces.masks[pair]);
        }
#else
        Part(const Joined& row, size_t block) : from(row.from + block * kStride) {}
        Quads values(size_t i) const {
            const uint8_t* values =
                from + i * (sizeof(Quads) / kValueBytes) * kStride + kScaleBytes;
            if constexpr (kValueBytes == 16) return load_parts(values, kStride);
#if defined(__AVX512F__)
            typedef int64_t OneBlock __attribute__((vector_size(32)));
            return (Quads)__builtin_shufflevector(
                load<OneBlock>(values), load<OneBlock>(values + kStride), 0, 1, 2, 3, 4, 5, 6, 7);
#else
            return load<Quads>(values);
#endif
        }
        typename Blocks::Scales scales() const {
            typename Blocks::Scales result;
#pragma GCC unroll 16
            for (int lane = 0; lane < kLanes; ++lane)
                __builtin_memcpy(reinterpret_cast<uint8_t*>(&result) + lane * kScaleBytes,
                                 from + block_of_lane(lane) * kStride, kScaleBytes);
            return result;
        }
#endif
    };
};

// The products of kLanes rows with a few tokens' activations.
template <class Blocks, class Layout, int Tokens>
class RowProducts {
  public:
    // For rows before `end` of a matrix with at least kLanes blocks.
    RowProducts(const Matrix& matrix, size_t end, const QuantisedRows& x, float* scratch)
        : matrix_(matrix),
          blocks_(matrix.blocks()),
          parts_((blocks_ + kLanes - 1) / kLanes),
          activations_(reinterpret_cast<Activations*>(scratch)),
          products_(reinterpret_cast<Floats*>(activations_ + parts_ * Tokens)) {
        for (size_t part = 0; part < parts_; ++part)
            for (int t = 0; t < Tokens; ++t)
                arrange(x.from(t), part * kLanes, activations_[part * Tokens + t]);
        if (matrix.rows - end < kLanes)
            last_ = Layout::at(matrix, matrix.rows - 1)
                        .copied(blocks_,
                                reinterpret_cast<uint8_t*>(products_ + parts_ * Tokens * kLanes));
    }

    // Row `first` and those behind it, or kLanes times the same if spread is 0.
    void read(size_t first, size_t spread, Floats (&sums)[Tokens]) const {
        for (size_t lane = 0; lane < kLanes; ++lane) {
            const size_t row = first + lane * spread;
            multiply_row(row + 1 == matrix_.rows ? last_ : Layout::at(matrix_, row),
                         products_ + lane * parts_);
        }
        const size_t pitch = parts_ * sizeof(Floats), whole = blocks_ / kLanes;
        const uint8_t* next = Layout::at(matrix_, first + kLanes * spread).begin();
#pragma GCC unroll 2
        for (int t = 0; t < Tokens; ++t) {
            const auto* from = reinterpret_cast<const uint8_t*>(products_ + t * kLanes * parts_);
            sums[t] = Floats{};
            for (size_t part = 0; part < whole; ++part) {
                // With a single token this takes too little time to be worth it.
                if constexpr (Tokens > 1) fetch_lines<kAddingLines * kLine>(next);
                next += kAddingLines * kLine;
                add_products(from + part * sizeof(Floats), pitch, kLanes, sums[t]);
            }
            if (whole < parts_)
                add_products(from + whole * sizeof(Floats), pitch, blocks_ % kLanes, sums[t]);
        }
    }

  private:
    typedef typename Layout::Part Part;
    static constexpr bool kNibbles = Blocks::kValueBytes == 16;
    static constexpr size_t kAddingLines = 8;  // of memory that come while a part is added

    // Of a part. Two registers are for kAtOnce blocks: where weights are nibbles their first halves
    // and their last ones, else the first blocks and the last ones. `start` is what dot products
    // have to begin with; adding it in the end saves reading it for every register.
    struct Activations {
        Quads values[4][2];
        Quads start;
        Floats scales;
    };

    // Blocks that x does not have are zero.
    void arrange(const QuantisedRows& x, size_t first, Activations& to) const {
        int8_t padded_values[kLanes * 32];
        float padded_scales[kLanes];
        const int8_t* values = x.values + first * 32;
        const float* scales = x.scales + first;
        if (const size_t count = blocks_ - first; count < kLanes) {
            values = padded(padded_values, values, count * 32);
            scales = padded(padded_scales, scales, count);
        }
        to.scales = in_lanes(load_floats(scales));
        Quads dots[4][2];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; ++i) {
            const int8_t* from = values + i * 2 * sizeof(Quads);
            const Quads a = load<Quads>(from), b = load<Quads>(from + sizeof(Quads));
            to.values[i][0] = kNibbles ? even_lanes(a, b) : a;
            to.values[i][1] = kNibbles ? odd_lanes(a, b) : b;
            multiply_register(Blocks::zero(), Blocks::zero(), to.values[i], dots[i]);
        }
        to.start = (Quads) - (Ints)added_all(dots);
    }

    template <class Value, size_t size>
    static Value* padded(Value (&to)[size], const Value* from, size_t count) {
        for (size_t i = 0; i < size; ++i) to[i] = i < count ? from[i] : Value{};
        return to;
    }

    // Every block's product with a token, [parts], and for the next token kLanes rows further.
    void multiply_row(const Layout& row, Floats* products) const {
        for (size_t i = 0; i < parts_; ++i) {
            Part part(row, i * kLanes);
            fetch_lines<kLanes * Layout::kStride>(part.from);
            const Activations* x = activations_ + i * Tokens;
            Quads dots[Tokens][4][2];
#pragma GCC unroll 4
            for (size_t r = 0; r < 4; ++r) {
                Quads first, second;
                if constexpr (kNibbles) {
                    Quads both = part.values(r);
                    keep(both);  // or it would be loaded twice
                    first = low_entries(Blocks::kLevels, both);
                    second = high_entries(Blocks::kLevels, both);
                } else {
                    first = Blocks::prepared(part.values(r * 2));
                    second = Blocks::prepared(part.values(r * 2 + 1));
                }
#pragma GCC unroll 2
                for (int t = 0; t < Tokens; ++t)
                    multiply_register(first, second, x[t].values[r], dots[t][r]);
            }
            const Floats scales = Blocks::scales(part.scales());
#pragma GCC unroll 2
            for (int t = 0; t < Tokens; ++t) {
                const auto sums = (Quads)((Ints)added_all(dots[t]) + (Ints)x[t].start);
                products[t * kLanes * parts_ + i] = as_floats(sums) * (scales * x[t].scales);
            }
        }
    }

    // Both registers of nibbles are of the same blocks, those of bytes of blocks of their own.
    static void multiply_register(Quads first, Quads second, const Quads (&x)[2],
                                  Quads (&dots)[2]) {
        dots[0] = Blocks::add(Quads{}, first, x[0]);
        if constexpr (kNibbles)
            dots[0] = Blocks::finish(Blocks::add(dots[0], second, x[1]));
        else
            dots[1] = Blocks::add(Quads{}, second, x[1]);
    }

    // The sums of what belongs to a block, in the order of lanes.
    static Quads added_all(const Quads (&dots)[4][2]) {
        if constexpr (kNibbles)
            return added_neighbours(added_small_neighbours(dots[0][0], dots[1][0]),
                                    added_small_neighbours(dots[2][0], dots[3][0]));
        else
            return added_lanes(added_words(dots, 0), added_words(dots, 1));
    }
    static Quads added_words(const Quads (&dots)[4][2], size_t i) {
        return added_neighbours(added_neighbours(dots[0][i], dots[1][i]),
                                added_neighbours(dots[2][i], dots[3][i]));
    }

    // Adds the products of one part and kLanes rows, `pitch` bytes apart, to the rows' sums.
    MOTET_INLINE static void add_products(const uint8_t* from, size_t pitch, size_t blocks,
                                          Floats& sum) {
        FourQuads columns[kAtOnce];
#pragma GCC unroll 4
        for (int i = 0; i < kAtOnce; ++i)
            load_transposed(from + i * sizeof(Bytes), pitch, columns[i]);
#pragma GCC unroll 16
        for (size_t block = 0; block < kLanes; ++block)
            if (block < blocks) sum += (Floats)columns[block % kAtOnce][block / kAtOnce];
    }

    const Matrix& matrix_;
    size_t blocks_;
    size_t parts_;              // of kLanes blocks
    Activations* activations_;  // [parts, Tokens]
    Floats* products_;          // [Tokens, kLanes, parts]
    Layout last_ = {};          // where reading beyond the end does no harm
};

#endif

}  // namespace motet::MOTET_ISA
