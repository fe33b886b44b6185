// Products of rows as they lie in memory with the activations of one or two tokens.
//
// A register takes neighbouring blocks of one row, so that weights are read as one stream, line
// after line, as memory is fastest; a lane of 16 bytes belongs to one block. What it holds of a
// block is added within the register, and kLanes blocks' sums are converted and scaled at once.
// These products are kept for kLanes rows and then added block by block, all rows at once, in the
// order that every product has.
#pragma once

#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

#if defined(__AVX2__)

// In bytes: beyond the page at whose end the processor would stop to fetch by itself.
constexpr size_t kFetchedAhead = 6 * 1024;

// Asks for what lies so far behind.
template <size_t bytes>
MOTET_INLINE void fetch_lines(const uint8_t* from) {
#pragma GCC unroll 9
    for (size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + kFetchedAhead + byte);
}

// Of blocks of 32 bytes in two registers, the first halves and the last.
struct LaneHalves {
    Quads low, high;

    LaneHalves(Quads a, Quads b) {
        typedef int64_t Eights __attribute__((vector_size(sizeof(Quads))));
        Eights first;
        for (size_t i = 0; i < sizeof first / 8; ++i) first[i] = i / 2 * 4 + i % 2;
        low = (Quads)__builtin_shuffle((Eights)a, (Eights)b, first);
        high = (Quads)__builtin_shuffle((Eights)a, (Eights)b, first + 2);
    }
};

// Two ways in which rows lie in memory. A Part is kLanes blocks of one: of those behind `first` it
// gives the values of as many as fit a register, and the scales of all.

// Values and scales in arrays of their own, as released.
template <class Blocks>
struct Apart {
    const uint8_t* values;
    const uint8_t* scales;

    static constexpr size_t kStride = Blocks::kValueBytes;

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
        Quads values(size_t first) const { return load<Quads>(from + first * kStride); }
        typename Blocks::Scales scales() const {
            return load<typename Blocks::Scales>(scales_from);
        }
    };
};

// Every block's values behind its scale, as GGUF has them.
template <class Blocks>
struct Joined {
    const uint8_t* from;

    static constexpr size_t kScaleBytes = Blocks::kScaleBytes, kValueBytes = Blocks::kValueBytes;
    static constexpr size_t kStride = kScaleBytes + kValueBytes;

    static bool is_of(const Matrix& matrix) {
        return matrix.value_stride == kStride && matrix.scale_stride == kStride &&
               matrix.scales + kScaleBytes == matrix.values;
    }
    static Joined at(const Matrix& matrix, size_t row) { return {matrix.scale_at(row, 0)}; }
    Joined copied(size_t blocks, uint8_t* to) const {
        __builtin_memcpy(to, from, blocks * kStride);
        return {to};
    }

    struct Part {
        const uint8_t* from;

        Part(const Joined& row, size_t block) : from(row.from + block * kStride) { reach(); }
        Quads values(size_t first) const {
            const uint8_t* values = from + first * kStride + kScaleBytes;
            if constexpr (kValueBytes == 16) return sixteen_each(first);
#if defined(__AVX512F__)
            typedef int64_t OneBlock __attribute__((vector_size(32)));
            return (Quads)__builtin_shufflevector(
                load<OneBlock>(values), load<OneBlock>(values + kStride), 0, 1, 2, 3, 4, 5, 6, 7);
#else
            return load<Quads>(values);
#endif
        }

#if defined(__AVX512VBMI__)
        // From the scale of every kReached-th block on, which takes in the scales of the next ones
        // and, of blocks of 16 bytes, all values but the last block's.
        static constexpr size_t kReached = sizeof(Quads) / kValueBytes;
        Quads reached[kLanes / kReached];

        void reach() {
            for (size_t i = 0; i < kLanes / kReached; ++i) {
                reached[i] = load<Quads>(from + i * kReached * kStride);
                if (kValueBytes == 16) keep(reached[i]);  // or it would be loaded twice
            }
        }
        Quads sixteen_each(size_t first) const {
            Quads places;
            for (size_t byte = 0; byte < sizeof places; ++byte)
                places[byte] = byte / 16 * kStride + kScaleBytes + byte % 16;
            const Quads three = permuted(reached[first / kReached], places);
            const __m128i last = load_16(from + (first + 3) * kStride + kScaleBytes);
            return (Quads)_mm512_inserti32x4((Register)three, last, 3);
        }
        typename Blocks::Scales scales() const {
            const Quads gathered = joined_scales<Blocks>(reached);
            typename Blocks::Scales result;
            __builtin_memcpy(&result, &gathered, sizeof result);
            return result;
        }
#else
        void reach() {}
        Quads sixteen_each(size_t first) const {
            return load_parts(from + first * kStride + kScaleBytes, kStride);
        }
        typename Blocks::Scales scales() const {
            typename Blocks::Scales result;
#pragma GCC unroll 16
            for (size_t i = 0; i < kLanes; ++i)
                __builtin_memcpy(reinterpret_cast<uint8_t*>(&result) + i * kScaleBytes,
                                 from + i * kStride, kScaleBytes);
            return result;
        }
#endif
    };
};

// The weights of as many blocks as a register has lanes of 16 bytes, each lane with half a block.
template <class Blocks>
struct LaneWeights {
    Quads low, high;

    template <class Part>
    LaneWeights(const Part& part, size_t first) {
        if constexpr (Blocks::kValueBytes == 16) {
            Quads two = part.values(first);
            keep(two);  // or it would be loaded twice
            low = low_entries(Blocks::kLevels, two);
            high = high_entries(Blocks::kLevels, two);
        } else {
            const LaneHalves halves(part.values(first), part.values(first + kLanes / 8));
            low = Blocks::prepared(halves.low);
            high = Blocks::prepared(halves.high);
        }
    }
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
        for (Floats& sum : sums) sum = Floats{};
        const size_t pitch = parts_ * sizeof(Floats);
        for (size_t block = 0; block < blocks_; block += 4)
#pragma GCC unroll 2
            for (int t = 0; t < Tokens; ++t) {
                const auto* from = reinterpret_cast<const uint8_t*>(products_) +
                                   t * kLanes * pitch + block * sizeof(float);
                FourQuads four;
                load_transposed(from, pitch, four);
#pragma GCC unroll 4
                for (size_t i = 0; i < 4; ++i)
                    if (block + i < blocks_) sums[t] += (Floats)four[i];
            }
    }

  private:
    typedef typename Layout::Part Part;
    static constexpr size_t kAtOnce = kLanes / 4;

    // Of kLanes blocks: the first halves of kAtOnce blocks, the last ones, and what the sum of both
    // dot products begins with.
    struct Activations {
        Quads low[4], high[4], starts[4];
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
        to.scales = load_floats(scales);
        const Quads zero = Blocks::zero();
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; ++i) {
            const int8_t* from = values + i * 2 * sizeof(Quads);
            const LaneHalves halves(load<Quads>(from), load<Quads>(from + sizeof(Quads)));
            to.low[i] = halves.low;
            to.high[i] = halves.high;
            to.starts[i] = Blocks::less(
                Blocks::add(Blocks::add(Quads{}, zero, halves.low), zero, halves.high));
        }
    }

    template <class Value, size_t size>
    static Value* padded(Value (&to)[size], const Value* from, size_t count) {
        for (size_t i = 0; i < size; ++i) to[i] = i < count ? from[i] : Value{};
        return to;
    }

    // Every block's product with a token, [parts], and for the next token kLanes rows further.
    void multiply_row(const Layout& row, Floats* products) const {
        for (size_t i = 0; i < parts_; ++i) {
            const Part part(row, i * kLanes);
            fetch_lines<kLanes * Layout::kStride>(part.from);
            const Activations* x = activations_ + i * Tokens;
            Ints dots[Tokens];
            multiply_part(part, x, dots);
            const Floats scales = Blocks::scales(part.scales());
#pragma GCC unroll 2
            for (int t = 0; t < Tokens; ++t)
                products[t * kLanes * parts_ + i] =
                    as_floats((Quads)dots[t]) * (scales * x[t].scales);
        }
    }

    // The dot products of kLanes blocks with each token.
    static void multiply_part(const Part& part, const Activations* x, Ints (&dots)[Tokens]) {
        Quads sums[Tokens][2];
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; ++half) {
            Quads quarters[Tokens][2];
#pragma GCC unroll 2
            for (size_t quarter = 0; quarter < 2; ++quarter) {
                const size_t i = half * 2 + quarter;
                const LaneWeights<Blocks> weights(part, i * kAtOnce);
#pragma GCC unroll 2
                for (int t = 0; t < Tokens; ++t) {
                    const Quads first = Blocks::add(x[t].starts[i], weights.low, x[t].low[i]);
                    quarters[t][quarter] =
                        Blocks::finish(Blocks::add(first, weights.high, x[t].high[i]));
                }
            }
#pragma GCC unroll 2
            for (int t = 0; t < Tokens; ++t)
                sums[t][half] = Blocks::added_neighbours(quarters[t][0], quarters[t][1]);
        }
        // Lane 4i + j has block i of register j.
        Ints natural;
        for (int lane = 0; lane < kLanes; ++lane)
            natural[lane] = lane % kAtOnce * 4 + lane / kAtOnce;
#pragma GCC unroll 2
        for (int t = 0; t < Tokens; ++t) {
            const auto sum = (Ints)Blocks::added_neighbours(sums[t][0], sums[t][1]);
            dots[t] = __builtin_shuffle(sum, natural);
        }
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
