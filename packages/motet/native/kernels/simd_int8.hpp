// Dot products of 32 signed bytes, and the two weight formats that feed them.
//
// x86 without VNNI multiplies unsigned by signed bytes and adds neighbours in 16 bits, which must
// not overflow: MXFP4 is decoded to 2 * value + 12, in 0..24, and the twelve times sum of the
// activations is taken back once per block (QuantisedRows::corrections); int8 weights give their
// signs to the activations. arm64 multiplies signed bytes as they are.
#pragma once

#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

// Scales are combined for so many blocks at a time.
constexpr int kScaleLanes = 8;

#if defined(__AVX2__)

constexpr int kMxfp4Offset = 12;

typedef __m256i Weights32;  // 32 bytes, unsigned with the offset for MXFP4, signed for int8
typedef __m256 Partial;     // lanes of one output element

inline Weights32 load_weights(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

inline void store_weights(uint8_t* to, Weights32 weights) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), weights);
}

// The low nibbles of 16 bytes, then the high ones.
inline Weights32 decode_mxfp4(const uint8_t* from) {
    const __m256i table =
        _mm256_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0, 12, 13, 14, 15,
                         16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    const __m256i twice =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    const __m256i shifted = _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4));
    return _mm256_shuffle_epi8(table, _mm256_and_si256(shifted, _mm256_set1_epi8(15)));
}

inline Partial dot_mxfp4(Weights32 weights, const int8_t* x) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i pairs = _mm256_maddubs_epi16(weights, values);
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline Partial dot_int8(Weights32 weights, const int8_t* x) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(values, weights));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

typedef __m256i Sum32;

// The instructions behind a dot product, on one register of bytes each.
inline Sum32 add_products(Sum32 sum, Sum32 weights, Sum32 x) {
    const __m256i pairs = _mm256_maddubs_epi16(weights, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline Partial nothing() { return _mm256_setzero_ps(); }

inline Partial add_scaled(Partial sum, Partial dot, const float* scale) {
    return _mm256_fmadd_ps(dot, _mm256_broadcast_ss(scale), sum);
}

inline float total(Partial even, Partial odd) {
    const __m256 both = _mm256_add_ps(even, odd);
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

#else

constexpr int kMxfp4Offset = 0;

struct Weights32 {
    Bytes low;
    Bytes high;
};

inline Weights32 load_weights(const uint8_t* from) {
    return {load<Bytes>(from), load<Bytes>(from + 16)};
}

inline void store_weights(uint8_t* to, Weights32 weights) {
    __builtin_memcpy(to, &weights, sizeof weights);
}

inline Weights32 decode_mxfp4(const uint8_t* from) {
    constexpr Bytes doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const UnsignedBytes packed = load<UnsignedBytes>(from);
    return {lookup(doubled, (Bytes)(packed & 15)), lookup(doubled, (Bytes)(packed >> 4))};
}

#if defined(__ARM_FEATURE_DOTPROD)

typedef float32x4_t Partial;

inline Partial dot_int8(Weights32 weights, const int8_t* x) {
    const int32x4_t first = vdotq_s32(vdupq_n_s32(0), (int8x16_t)weights.low, vld1q_s8(x));
    return vcvtq_f32_s32(vdotq_s32(first, (int8x16_t)weights.high, vld1q_s8(x + 16)));
}

typedef int32x4_t Sum32;

inline Sum32 add_products(Sum32 sum, Sum32 weights, Sum32 x) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(x));
}

inline Partial nothing() { return vdupq_n_f32(0.0f); }

inline Partial add_scaled(Partial sum, Partial dot, const float* scale) {
    return vfmaq_n_f32(sum, dot, *scale);
}

inline float total(Partial even, Partial odd) { return vaddvq_f32(vaddq_f32(even, odd)); }

#else

typedef float Partial;

inline Partial dot_int8(Weights32 weights, const int8_t* x) {
    typedef int16_t Shorts __attribute__((vector_size(32)));
    const auto products = [](Bytes w, const int8_t* from) {
        return __builtin_convertvector(w, Shorts) *
               __builtin_convertvector(load<Bytes>(from), Shorts);
    };
    const Shorts low = products(weights.low, x), high = products(weights.high, x + 16);
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += int{low[i]} + int{high[i]};
    return static_cast<float>(sum);
}

typedef Bytes Sum32;

inline Sum32 add_products(Sum32 sum, Sum32 weights, Sum32 x) { return sum + weights * x; }

inline Partial nothing() { return 0.0f; }

inline Partial add_scaled(Partial sum, Partial dot, const float* scale) {
    return sum + dot * *scale;
}

inline float total(Partial even, Partial odd) { return even + odd; }

#endif

inline Partial dot_mxfp4(Weights32 weights, const int8_t* x) { return dot_int8(weights, x); }

#endif

}  // namespace motet::MOTET_ISA
