// Dot products of rows as they lie in memory with the activations of a few tokens.
//
// A register takes neighbouring blocks of one row, so that weights are read as one stream, line
// after line, as memory is fastest. What it holds of a block is added within the register; being
// integers, the sums are the same as those of a tile. They are kept for kLanes rows, and then taken
// up block by block, all rows at once, in the order that every product has.
#pragma once

#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

#if defined(__AVX2__)

constexpr size_t kGroup = kLanes;  // blocks of a row that are summed at once
// In bytes: beyond the page at whose end the processor would stop to fetch by itself.
constexpr size_t kFetchedAhead = 8 * 1024;

// Lane 4i + j has the sum of the i-th four lanes of register j.
inline Quads sum_fours(Quads a, Quads b, Quads c, Quads d) {
    const auto ab = (Quads)((Ints)low_words(a, b) + (Ints)high_words(a, b));
    const auto cd = (Quads)((Ints)low_words(c, d) + (Ints)high_words(c, d));
    return (Quads)((Ints)low_pairs(ab, cd) + (Ints)high_pairs(ab, cd));
}

// The values of as many neighbouring blocks as fit a register.
inline Quads nibble_blocks(const uint8_t* from, size_t stride) {
    return stride == 16 ? load<Quads>(from) : load_parts(from, stride);
}
#if defined(__AVX512F__)
inline Quads byte_blocks(const uint8_t* from, size_t stride) {
    typedef int64_t OneBlock __attribute__((vector_size(32)));
    return (Quads)__builtin_shufflevector(load<OneBlock>(from), load<OneBlock>(from + stride), 0, 1,
                                          2, 3, 4, 5, 6, 7);
}
#else
inline Quads byte_blocks(const uint8_t* from, size_t) { return load<Quads>(from); }
#endif

// Blocks of two values a byte. The low nibbles of register i meet the activations 2i, the high ones
// 2i + 1.
template <class Blocks>
struct NibbleRow {
    static constexpr size_t kAtOnce = sizeof(Quads) / 16;

    // A group's activations in the order they are met.
    static void arrange(const int8_t* x, int8_t* out) {
        for (size_t block = 0; block < kGroup; ++block) {
            const size_t at = block / kAtOnce * 2 * sizeof(Quads) + block % kAtOnce * 16;
            __builtin_memcpy(out + at, x + block * 32, 16);
            __builtin_memcpy(out + at + sizeof(Quads), x + block * 32 + 16, 16);
        }
    }

    template <int Tokens>
    static void dots(const uint8_t* from, size_t stride, const int8_t* const (&x)[Tokens],
                     Quads (&out)[Tokens]) {
        Quads sums[Tokens][4];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; ++i) {
            const uint8_t* at = from + i * kAtOnce * stride;
            __builtin_prefetch(at + kFetchedAhead);
            const auto two = (UnsignedQuads)nibble_blocks(at, stride);
            const Quads low = Blocks::level((Quads)(two & 15));
            const Quads high = Blocks::level((Quads)(two >> 4));
#pragma GCC unroll 4
            for (int t = 0; t < Tokens; ++t) {
                const Quads half =
                    Blocks::add(Quads{}, low, load<Quads>(x[t] + 2 * i * sizeof(Quads)));
                sums[t][i] = Blocks::finish(
                    Blocks::add(half, high, load<Quads>(x[t] + (2 * i + 1) * sizeof(Quads))));
            }
        }
        Ints natural;
        for (int block = 0; block < kLanes; ++block)
            natural[block] = block % kAtOnce * 4 + block / kAtOnce;
#pragma GCC unroll 4
        for (int t = 0; t < Tokens; ++t)
            out[t] = (Quads)__builtin_shuffle(
                (Ints)sum_fours(sums[t][0], sums[t][1], sums[t][2], sums[t][3]), natural);
    }
};

// Blocks of a byte a value.
template <class Blocks>
struct ByteRow {
    static void arrange(const int8_t* x, int8_t* out) { __builtin_memcpy(out, x, kGroup * 32); }

    template <int Tokens>
    static void dots(const uint8_t* from, size_t stride, const int8_t* const (&x)[Tokens],
                     Quads (&out)[Tokens]) {
        constexpr size_t kAtOnce = sizeof(Quads) / 32;
        Quads sums[Tokens][8];
#pragma GCC unroll 8
        for (size_t i = 0; i < 8; ++i) {
            const uint8_t* at = from + i * kAtOnce * stride;
            __builtin_prefetch(at + kFetchedAhead);
            const Quads weights = Blocks::prepared(byte_blocks(at, stride));
#pragma GCC unroll 4
            for (int t = 0; t < Tokens; ++t)
                sums[t][i] = Blocks::finish(
                    Blocks::add(Quads{}, weights, load<Quads>(x[t] + i * sizeof(Quads))));
        }
        // Where the two halves of each block are, in the first four registers' sums and the last's.
        Ints first, second;
        for (int block = 0; block < kLanes; ++block) {
            constexpr int kHalf = kLanes / 2, kPer = kAtOnce;
            const int inside = block % kHalf;
            first[block] = block / kHalf * kLanes + inside % kPer * 8 + inside / kPer;
            second[block] = first[block] + 4;
        }
#pragma GCC unroll 4
        for (int t = 0; t < Tokens; ++t) {
            const auto& s = sums[t];
            const auto left = (Ints)sum_fours(s[0], s[1], s[2], s[3]);
            const auto right = (Ints)sum_fours(s[4], s[5], s[6], s[7]);
            out[t] = (Quads)(__builtin_shuffle(left, right, first) +
                             __builtin_shuffle(left, right, second));
        }
    }
};

template <class Blocks>
struct Row : NibbleRow<Blocks> {};
template <>
struct Row<Int8Blocks> : ByteRow<Int8Blocks> {};

// The dot products of kLanes rows with a few tokens' activations, and what they are made of.
template <class Blocks>
class RowDots {
  public:
    // For at least kGroup blocks. `scratch`: 4 * inner floats are enough for two tokens.
    RowDots(const QuantisedRows& x, size_t tokens, float* scratch)
        : blocks_(x.inner / 32),
          groups_((blocks_ + kGroup - 1) / kGroup),
          pitch_((blocks_ + 3) / 4 * 4),
          arranged_(reinterpret_cast<int8_t*>(scratch)),
          sums_(reinterpret_cast<int32_t*>(scratch + tokens * groups_ * kGroup * 8)) {
        for (size_t t = 0; t < tokens; ++t)
            for (size_t group = 0; group < groups_; ++group)
                Row<Blocks>::arrange(x.from(t).values + first_block(group) * 32,
                                     activations(t, group));
    }

    // Reads kLanes rows that lie `row_pitch` bytes apart.
    template <int Tokens>
    void read(const uint8_t* rows, size_t row_pitch, size_t stride) {
        for (int row = 0; row < kLanes; ++row)
            for (size_t group = 0; group < groups_; ++group) {
                const size_t first = first_block(group);
                const int8_t* x[Tokens];
                Quads dots[Tokens];
                for (int t = 0; t < Tokens; ++t) x[t] = activations(t, group);
                Row<Blocks>::template dots<Tokens>(rows + row * row_pitch + first * stride, stride,
                                                   x, dots);
                for (int t = 0; t < Tokens; ++t)
                    __builtin_memcpy(sums(t, row) + first, &dots[t], sizeof dots[t]);
            }
    }

    // Four neighbouring blocks' sums, a register with all rows' for each.
    void four(size_t token, size_t block, FourQuads& out) const {
        load_transposed(reinterpret_cast<const uint8_t*>(sums(token, 0) + block),
                        pitch_ * sizeof(int32_t), out);
    }

  private:
    // The last group reaches back where blocks do not fill it.
    size_t first_block(size_t group) const {
        const size_t first = group * kGroup, last = blocks_ - kGroup;
        return first < last ? first : last;
    }
    int8_t* activations(size_t token, size_t group) const {
        return arranged_ + (token * groups_ + group) * kGroup * 32;
    }
    int32_t* sums(size_t token, size_t row) const {
        return sums_ + (token * kLanes + row) * pitch_;
    }

    size_t blocks_, groups_, pitch_;
    int8_t* arranged_;  // [tokens, groups, kGroup * 32]
    int32_t* sums_;     // [tokens, kLanes, pitch]
};

#endif

}  // namespace motet::MOTET_ISA
