// Integer dot products of weights and activations of 8 bits, for as many rows as floats fit a
// register.
//
// A register of weights holds four neighbouring inputs of kLanes rows, so that a sum stays in its
// row's lane and nothing is ever added across lanes; the activations' four bytes are broadcast to
// all rows. x86 multiplies unsigned by signed bytes. There weights are given an offset, and what it
// adds is taken back by the number a sum starts with (QuantisedRows::corrections). Without VNNI
// neighbours are added in 16 bits. Values of four bits, which are decoded to integers of at most
// 12, become 0..24: eight such sums can wrap around, but end where they belong, for the true sum is
// within 16 * 12 * 127. For weights of 8 bits each has to be widened, and instead of an offset the
// activations take the weights' signs.
#pragma once

#include "kernels/half.hpp"

namespace motet::MOTET_ISA {

constexpr int kQuads = 8;  // of a block of 32 inputs

typedef int8_t Quads __attribute__((vector_size(kLanes * 4)));  // [kLanes, 4]
typedef uint8_t UnsignedQuads __attribute__((vector_size(kLanes * 4)));
typedef uint16_t UnsignedPairs __attribute__((vector_size(kLanes * 4)));
typedef uint8_t UnsignedLaneBytes __attribute__((vector_size(kLanes)));

// The weights of kLanes rows and 32 inputs, in the order they are stored.
struct Block {
    Quads quads[kQuads];

    inline Quads quad(int q) const { return quads[q]; }
};

typedef Quads FourQuads[4];

// load_parts: 16 bytes each from places that are `step` bytes apart. low_words .. high_pairs:
// within each 16 bytes, the first or last two words of four bytes of a and of b in turn, or their
// first or last eight bytes.
#if defined(__AVX2__)

inline __m128i load_16(const uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

#endif

#if defined(__AVX512F__)

typedef __m512i Register;

inline Quads load_parts(const uint8_t* from, size_t step) {
    Register result = _mm512_castsi128_si512(load_16(from));
    result = _mm512_inserti32x4(result, load_16(from + step), 1);
    result = _mm512_inserti32x4(result, load_16(from + 2 * step), 2);
    return (Quads)_mm512_inserti32x4(result, load_16(from + 3 * step), 3);
}

inline Quads low_words(Quads a, Quads b) {
    return (Quads)_mm512_unpacklo_epi32((Register)a, (Register)b);
}
inline Quads high_words(Quads a, Quads b) {
    return (Quads)_mm512_unpackhi_epi32((Register)a, (Register)b);
}
inline Quads low_pairs(Quads a, Quads b) {
    return (Quads)_mm512_unpacklo_epi64((Register)a, (Register)b);
}
inline Quads high_pairs(Quads a, Quads b) {
    return (Quads)_mm512_unpackhi_epi64((Register)a, (Register)b);
}

inline Quads shuffled(Bytes table, Quads index) {
    return (Quads)_mm512_shuffle_epi8(_mm512_broadcast_i32x4((__m128i)table), (Register)index);
}

#elif defined(__AVX2__)

typedef __m256i Register;

inline Quads load_parts(const uint8_t* from, size_t step) {
    return (Quads)_mm256_inserti128_si256(_mm256_castsi128_si256(load_16(from)),
                                          load_16(from + step), 1);
}

inline Quads low_words(Quads a, Quads b) {
    return (Quads)_mm256_unpacklo_epi32((Register)a, (Register)b);
}
inline Quads high_words(Quads a, Quads b) {
    return (Quads)_mm256_unpackhi_epi32((Register)a, (Register)b);
}
inline Quads low_pairs(Quads a, Quads b) {
    return (Quads)_mm256_unpacklo_epi64((Register)a, (Register)b);
}
inline Quads high_pairs(Quads a, Quads b) {
    return (Quads)_mm256_unpackhi_epi64((Register)a, (Register)b);
}

inline Quads shuffled(Bytes table, Quads index) {
    return (Quads)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256((__m128i)table), (Register)index);
}

#else

inline Quads load_parts(const uint8_t* from, size_t) { return load<Quads>(from); }

inline Quads low_words(Quads a, Quads b) {
    return (Quads)__builtin_shufflevector((Ints)a, (Ints)b, 0, 4, 1, 5);
}
inline Quads high_words(Quads a, Quads b) {
    return (Quads)__builtin_shufflevector((Ints)a, (Ints)b, 2, 6, 3, 7);
}
inline Quads low_pairs(Quads a, Quads b) {
    return (Quads)__builtin_shufflevector((Ints)a, (Ints)b, 0, 1, 4, 5);
}
inline Quads high_pairs(Quads a, Quads b) {
    return (Quads)__builtin_shufflevector((Ints)a, (Ints)b, 2, 3, 6, 7);
}

inline Quads shuffled(Bytes table, Quads index) { return lookup(table, index); }

#endif

// The entries that the low or the high halves of bytes choose of 16.
#if defined(__AVX512VBMI__)
inline Quads permuted(Quads from, Quads places) {
    return (Quads)_mm512_permutexvar_epi8((Register)places, (Register)from);
}
// `into`, but for the bytes of `mask`.
inline Quads permuted_into(Quads into, uint64_t mask, Quads from, Quads places) {
    return (Quads)_mm512_mask_permutexvar_epi8((Register)into, mask, (Register)places,
                                               (Register)from);
}
// Places of seven bits: bytes of a, then of b.
inline Quads permuted_two(Quads a, Quads b, Quads places, uint64_t mask = ~uint64_t{0}) {
    if (mask == ~uint64_t{0})
        return (Quads)_mm512_permutex2var_epi8((Register)a, (Register)places, (Register)b);
    return (Quads)_mm512_maskz_permutex2var_epi8(mask, (Register)a, (Register)places, (Register)b);
}
// A place has six bits: the two that are too many choose one of four equal tables.
inline Quads low_entries(Bytes table, Quads bytes) {
    return permuted((Quads)_mm512_broadcast_i32x4((__m128i)table), bytes);
}
inline Quads high_entries(Bytes table, Quads bytes) {
    return low_entries(table, (Quads)((UnsignedPairs)bytes >> 4));
}
#else
inline Quads low_entries(Bytes table, Quads bytes) { return shuffled(table, bytes & 15); }
inline Quads high_entries(Bytes table, Quads bytes) {
    return shuffled(table, (Quads)((UnsignedQuads)bytes >> 4));
}
#endif

#if defined(__AVX2__)

// The first, third and so on of the lanes of 16 bytes of a, then of b; and the others.
template <int64_t first>
inline Quads every_second_lane(Quads a, Quads b) {
    typedef int64_t Eights __attribute__((vector_size(sizeof(Quads))));
    Eights places;
    for (size_t i = 0; i < sizeof places / 8; ++i) places[i] = i / 2 * 4 + i % 2 + first * 2;
    return (Quads)__builtin_shuffle((Eights)a, (Eights)b, places);
}
inline Quads even_lanes(Quads a, Quads b) { return every_second_lane<0>(a, b); }
inline Quads odd_lanes(Quads a, Quads b) { return every_second_lane<1>(a, b); }

// The sums of neighbouring lanes of a, then those of b.
inline Quads added_lanes(Quads a, Quads b) {
    return (Quads)((Ints)even_lanes(a, b) + (Ints)odd_lanes(a, b));
}

// In every 16 bytes: the sums of neighbouring words of a, then those of b.
inline Quads added_neighbours(Quads a, Quads b) {
#if defined(__AVX512F__)
    const auto even = (Ints)_mm512_shuffle_ps((__m512)a, (__m512)b, 0x88);
    const auto odd = (Ints)_mm512_shuffle_ps((__m512)a, (__m512)b, 0xdd);
#else
    const auto even = (Ints)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88);
    const auto odd = (Ints)_mm256_shuffle_ps((__m256)a, (__m256)b, 0xdd);
#endif
    return (Quads)(even + odd);
}

// The same of words within 16 bits.
inline Quads added_small_neighbours(Quads a, Quads b) {
    const Ints ones = Ints{} + 0x00010001;
#if defined(__AVX512F__)
    const __m512i pairs = _mm512_packs_epi32((Register)a, (Register)b);
    return (Quads)_mm512_madd_epi16(pairs, (Register)ones);
#else
    const __m256i pairs = _mm256_packs_epi32((Register)a, (Register)b);
    return (Quads)_mm256_madd_epi16(pairs, (Register)ones);
#endif
}

#endif

inline Quads everywhere(int32_t four) { return (Quads)(Ints{} + four); }

inline Floats as_floats(Quads sums) { return __builtin_convertvector((Ints)sums, Floats); }

// 16 bytes of each of kLanes rows that are `pitch` bytes apart: out[i] has the bytes 4i..4i + 3.
// (Inlined always: GCC would call it wherever a file is long, and pass registers through memory.)
MOTET_INLINE void load_transposed(const uint8_t* from, size_t pitch, FourQuads& out) {
    const Quads a = load_parts(from, 4 * pitch), b = load_parts(from + pitch, 4 * pitch);
    const Quads c = load_parts(from + 2 * pitch, 4 * pitch);
    const Quads d = load_parts(from + 3 * pitch, 4 * pitch);
    const Quads low_ab = low_words(a, b), low_cd = low_words(c, d);
    const Quads high_ab = high_words(a, b), high_cd = high_words(c, d);
    out[0] = low_pairs(low_ab, low_cd);
    out[1] = high_pairs(low_ab, low_cd);
    out[2] = low_pairs(high_ab, high_cd);
    out[3] = high_pairs(high_ab, high_cd);
}

// Four activations for all rows.
inline Quads broadcast_quad(const int8_t* x) { return everywhere(load<int32_t>(x)); }

// Dot products of small weights (at most 12) and of any bytes. A sum starts with what `correction`
// made of a block's activations, takes the products of kQuads quads and is then finished. Where
// lanes are no rows it is less by what the weights that stand for `zero` would add.

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)

inline Quads dot(Quads sum, Quads weights, Quads x) {
#if defined(__AVX512VNNI__)
    return (Quads)_mm512_dpbusd_epi32((Register)sum, (Register)weights, (Register)x);
#else
    return (Quads)_mm256_dpbusd_avx_epi32((Register)sum, (Register)weights, (Register)x);
#endif
}

constexpr int kOffset = 12;
constexpr int kTileOffset = 128;  // in tiles that of bytes, so that one correction serves all

inline int32_t correction(const int8_t* values) {
    int32_t total = 0;
    for (int i = 0; i < 32; ++i) total += values[i];
    return -kTileOffset * total;
}

struct SmallDot {
    static Quads zero() { return Quads{} + int8_t{kOffset}; }
    static Quads start(int32_t correction) { return everywhere(correction); }
    static Quads add(Quads sum, Quads weights, Quads x) { return dot(sum, weights, x); }
    static Quads finish(Quads sum) { return sum; }
};

struct ByteDot {
    static Quads start(int32_t correction) { return everywhere(correction); }
    static Quads zero() { return prepared(Quads{}); }
    static Quads prepared(Quads weights) { return weights ^ int8_t{-128}; }
    static Quads add(Quads sum, Quads weights, Quads x) { return dot(sum, weights, x); }
    static Quads finish(Quads sum) { return sum; }
};

#elif defined(__AVX2__)

constexpr int kOffset = 12, kTileOffset = kOffset;

// Of the first two of each four activations, and of the last two.
inline int32_t correction(const int8_t* values) {
    int32_t first = 0, last = 0;
    for (int i = 0; i < 32; i += 4) {
        first += values[i] + values[i + 1];
        last += values[i + 2] + values[i + 3];
    }
    const int16_t both[2] = {static_cast<int16_t>(-kOffset * first),
                             static_cast<int16_t>(-kOffset * last)};
    return load<int32_t>(both);
}

inline Quads pair_sums(Quads unsigned_bytes, Quads signed_bytes) {
    return (Quads)_mm256_maddubs_epi16((Register)unsigned_bytes, (Register)signed_bytes);
}

inline Ints widened(Quads pairs) {
    return (Ints)_mm256_madd_epi16((Register)pairs, _mm256_set1_epi16(1));
}

struct SmallDot {
    static Quads zero() { return Quads{} + int8_t{kOffset}; }
    static Quads start(int32_t correction) { return everywhere(correction); }
    static Quads add(Quads sum, Quads weights, Quads x) {
        return (Quads)((UnsignedPairs)sum + (UnsignedPairs)pair_sums(weights, x));
    }
    static Quads finish(Quads sum) { return (Quads)widened(sum); }
};

struct ByteDot {
    static Quads start(int32_t) { return everywhere(0); }
    static Quads zero() { return Quads{}; }
    static Quads prepared(Quads weights) { return weights; }
    static Quads add(Quads sum, Quads weights, Quads x) {
        const Quads magnitudes = (Quads)_mm256_abs_epi8((Register)weights);
        const Quads signed_x = (Quads)_mm256_sign_epi8((Register)x, (Register)weights);
        return (Quads)((Ints)sum + widened(pair_sums(magnitudes, signed_x)));
    }
    static Quads finish(Quads sum) { return sum; }
};

#else

constexpr int kOffset = 0, kTileOffset = 0;

inline int32_t correction(const int8_t*) { return 0; }

#if defined(__ARM_FEATURE_DOTPROD)

inline Quads dot(Quads sum, Quads w, Quads x) {
    return (Quads)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
}

#else

inline Quads dot(Quads sum, Quads w, Quads x) {
    Ints result = (Ints)sum;
    for (int row = 0; row < kLanes; ++row)
        for (int i = 0; i < 4; ++i) result[row] += int{w[row * 4 + i]} * int{x[row * 4 + i]};
    return (Quads)result;
}

#endif

struct ByteDot {
    static Quads start(int32_t) { return everywhere(0); }
    static Quads prepared(Quads weights) { return weights; }
    static Quads add(Quads sum, Quads weights, Quads x) { return dot(sum, weights, x); }
    static Quads finish(Quads sum) { return sum; }
};

struct SmallDot : ByteDot {};

#endif

// Four bytes of each of kLanes rows, as parts of `width` bytes: [kLanes, parts] becomes
// [parts, kLanes].
template <size_t width>
inline Quads transposed(Quads words) {
    Quads places;
    for (size_t i = 0; i < sizeof places; ++i)
        places[i] =
            static_cast<int8_t>(i / width % kLanes * 4 + i / width / kLanes * width + i % width);
    return __builtin_shuffle(words, places);
}

// 16 bytes of two values each: the low nibbles, then the high ones.
template <class Blocks>
inline Block decode_nibbles(const uint8_t* from, size_t pitch) {
    constexpr Bytes kLevels = Blocks::kLevels + static_cast<int8_t>(kTileOffset - kOffset);
    FourQuads packed;
    load_transposed(from, pitch, packed);
    Block block;
    for (int i = 0; i < 4; ++i) {
        block.quads[i] = low_entries(kLevels, packed[i]);
        block.quads[i + 4] = high_entries(kLevels, packed[i]);
    }
    return block;
}

inline Words widened_bytes(LaneBytes bytes) {
#if defined(__AVX512F__)
    return (Words)_mm512_cvtepu8_epi32((__m128i)bytes);
#else
    return __builtin_convertvector((UnsignedLaneBytes)bytes, Words);
#endif
}

// Half precision, see half_value.
inline Floats half_values(Halves halves) {
#if defined(__AVX512F__) && !defined(MOTET_EMULATED)
    return (Floats)_mm512_cvtph_ps((__m256i)halves);
#else
    const Words stored = __builtin_convertvector(halves, Words);
    const Words magnitude = (stored & 0x7fff) << 13;
    const Words finite = (Words)((Floats)magnitude * 0x1p112f);
    const Words none = 0x7f800000 | (magnitude & 0x007fffff);
    const Words bits = (stored & 0x7c00) == 0x7c00 ? none : finite;
    return (Floats)(bits | (stored & 0x8000) << 16);
#endif
}

// 2^(byte - 128), an MXFP4 block's scale, halved; subnormal if the byte is 0 or 1.
inline Floats half_powers(Words stored) {
    const Words bits = stored << 23, smallest = Words{} + 0x00400000;
    return (Floats)(bits > smallest ? bits : smallest) * 0.5f;
}

struct Mxfp4Blocks : SmallDot {
    static constexpr size_t kScaleBytes = 1, kValueBytes = 16;
    static constexpr Bytes kLevels = kMxfp4Levels + kOffset;

    static Block decode(const uint8_t* from, size_t pitch) {
        return decode_nibbles<Mxfp4Blocks>(from, pitch);
    }
    typedef LaneBytes Scales;  // of kLanes blocks
    static Floats scales(Scales bytes) { return half_powers(widened_bytes(bytes)); }
};

struct Int4Blocks : SmallDot {
    static constexpr size_t kScaleBytes = 2, kValueBytes = 16;
    static constexpr Bytes kLevels = kInt4Levels + kOffset;

    static Block decode(const uint8_t* from, size_t pitch) {
        return decode_nibbles<Int4Blocks>(from, pitch);
    }
    typedef Halves Scales;
    static Floats scales(Scales halves) { return half_values(halves); }
};

struct Int8Blocks : ByteDot {
    static constexpr size_t kScaleBytes = 2, kValueBytes = 32;

    static Block decode(const uint8_t* from, size_t pitch) {
        FourQuads low, high;
        load_transposed(from, pitch, low);
        load_transposed(from + 16, pitch, high);
        Block block;
        for (int i = 0; i < 4; ++i) {
            block.quads[i] = prepared(low[i]);
            block.quads[i + 4] = prepared(high[i]);
        }
        return block;
    }
    typedef Halves Scales;
    static Floats scales(Scales halves) { return half_values(halves); }
};

}  // namespace motet::MOTET_ISA
