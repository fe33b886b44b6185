// Vectors of floats, as wide as the instruction set this file is compiled for.
//
// Written with the vector extensions shared by GCC and Clang; intrinsics only where the language
// has no word for it (fused multiply-add, horizontal sum, byte shuffle). Everything lives in the
// instruction set's own namespace and nothing of the C++ library is instantiated here: a template
// compiled for AVX-512 must never be the copy the linker keeps for all.
#pragma once

#include "kernels/kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace motet::MOTET_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
typedef int8_t LaneBytes __attribute__((vector_size(kLanes)));
typedef int8_t Bytes __attribute__((vector_size(16)));
typedef uint8_t UnsignedBytes __attribute__((vector_size(16)));

template <class Vector>
inline Vector load(const void* from) {
    Vector result;
    __builtin_memcpy(&result, from, sizeof result);
    return result;
}

// Tells the compiler that a value is needed now, in a register, and may have changed.
template <class Vector>
inline void keep(Vector& value) {
#if defined(__AVX512F__) && !defined(MOTET_EMULATED)  // where vectors fit registers
    asm volatile("" : "+v"(value));
#elif defined(__x86_64__) && !defined(MOTET_EMULATED)
    asm volatile("" : "+x"(value));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(value));
#else
    asm volatile("" : "+m"(value));
#endif
}

// The same of an address: what is computed from it is not computed ahead and put aside.
template <class Value>
inline void keep_address(Value*& address) {
    asm volatile("" : "+r"(address));
}

inline Floats load_floats(const float* from) { return load<Floats>(from); }

inline void store(float* to, Floats value) { __builtin_memcpy(to, &value, sizeof value); }

inline Floats broadcast(float value) {
#if defined(__AVX512F__)
    return (Floats)_mm512_set1_ps(value);
#elif defined(__AVX2__)
    return (Floats)_mm256_set1_ps(value);
#else
    return Floats{value, value, value, value};
#endif
}

inline Floats load_bf16(const Bf16* from) {
#if defined(__AVX512F__)  // the compiler would convert two halves and join them
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load<__m256i>(from)), 16);
#else
    return (Floats)(__builtin_convertvector(load<Halves>(from), Words) << 16);
#endif
}

inline Floats fma(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

// Where a is not a number, neither is the result: damaged weights must not be clamped into shape.
inline Floats minimum(Floats a, Floats b) { return b < a ? b : a; }
inline Floats maximum(Floats a, Floats b) { return b > a ? b : a; }

inline float sum(Floats v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float lanes[kLanes];
    store(lanes, v);
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    return lanes[0];
#endif
}

inline float largest(Floats v) {
    float best = v[0];
    for (int i = 1; i < kLanes; ++i) best = v[i] > best ? v[i] : best;
    return best;
}

// table[index] for 16 indices of 0..15.
inline Bytes lookup(Bytes table, Bytes index) {
#if defined(__AVX2__)
    return (Bytes)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
#elif defined(__aarch64__)
    return (Bytes)vqtbl1q_s8((int8x16_t)table, (uint8x16_t)index);
#else
    Bytes result;
    for (int i = 0; i < 16; ++i) result[i] = table[index[i]];
    return result;
#endif
}

// Small integers to floats: kLanes of the 16, from number `first`.
inline Floats to_floats(Bytes bytes, int first) {
#if defined(__AVX512F__)
    (void)first;
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)bytes));
#elif defined(__AVX2__)
    const __m128i half = first ? _mm_srli_si128((__m128i)bytes, 8) : (__m128i)bytes;
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(half));
#else
    LaneBytes lanes;
    __builtin_memcpy(&lanes, reinterpret_cast<const char*>(&bytes) + first, sizeof lanes);
    return __builtin_convertvector(__builtin_convertvector(lanes, Ints), Floats);
#endif
}

// e^x to about one unit in the last place; arguments are clamped to -87..88.
inline Floats exponential(Floats x) {
    const Floats clamped = minimum(maximum(broadcast(-87.0f), x), broadcast(88.0f));
    const Floats magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Floats n = fma(clamped, broadcast(1.44269504f), magic) - magic;
    Floats r = fma(n, broadcast(-0.693359375f), clamped);
    r = fma(n, broadcast(2.12194440e-4f), r);
    Floats p = broadcast(1.9875691500e-4f);
    p = fma(p, r, broadcast(1.3981999507e-3f));
    p = fma(p, r, broadcast(8.3334519073e-3f));
    p = fma(p, r, broadcast(4.1665795894e-2f));
    p = fma(p, r, broadcast(1.6666665459e-1f));
    p = fma(p, r, broadcast(5.0000001201e-1f));
    p = fma(p * r, r, r) + 1.0f;
    const Floats power = (Floats)((__builtin_convertvector(n, Ints) + 127) << 23);
    return x == x ? p * power : x;
}

}  // namespace motet::MOTET_ISA
