// What the kernels for AVX-512 and AVX-VNNI use of those instruction sets, for machines without.
//
// Included before everything else when the kernels are compiled for a test: what the instructions
// do is written out after Intel's Intrinsics Guide, so that the logic around them is checked
// anywhere. EMULATED_AVX512 chooses the 512 bits of one and not the 256 of the other, EMULATED_VBMI
// its permutations of bytes as well.
#pragma once

#define MOTET_EMULATED 1

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace emulated {

template <class Vector>
inline Vector dpbusd(Vector sum, Vector unsigned_bytes, Vector signed_bytes) {
    int32_t sums[sizeof(Vector) / 4];
    uint8_t a[sizeof(Vector)];
    int8_t b[sizeof(Vector)];
    std::memcpy(sums, &sum, sizeof sum);
    std::memcpy(a, &unsigned_bytes, sizeof sum);
    std::memcpy(b, &signed_bytes, sizeof sum);
    for (std::size_t i = 0; i < sizeof(Vector); ++i) sums[i / 4] += int{a[i]} * int{b[i]};
    std::memcpy(&sum, sums, sizeof sum);
    return sum;
}

#if defined(EMULATED_AVX512)

// Of 512 bits as four parts of 128, each with the operation of SSE.
template <class Operation>
inline __m512i by_parts(__m512i a, __m512i b, Operation operation) {
    __m128i left[4], right[4];
    std::memcpy(left, &a, sizeof a);
    std::memcpy(right, &b, sizeof b);
    for (int part = 0; part < 4; ++part) left[part] = operation(left[part], right[part]);
    std::memcpy(&a, left, sizeof a);
    return a;
}

inline __m512i from_128(__m128i low) {
    __m512i result = {};
    std::memcpy(&result, &low, sizeof low);
    return result;
}

inline __m512i with_part(__m512i into, __m128i part, int index) {
    std::memcpy(reinterpret_cast<char*>(&into) + 16 * index, &part, sizeof part);
    return into;
}

inline __m512i low_words(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_unpacklo_epi32(x, y); });
}
inline __m512i high_words(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_unpackhi_epi32(x, y); });
}
inline __m512i low_pairs(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_unpacklo_epi64(x, y); });
}
inline __m512i high_pairs(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_unpackhi_epi64(x, y); });
}
inline __m512i shuffled(__m512i table, __m512i index) {
    return by_parts(table, index, [](__m128i x, __m128i y) { return _mm_shuffle_epi8(x, y); });
}
inline __m512i packed(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_packs_epi32(x, y); });
}
inline __m512i added_pairs(__m512i a, __m512i b) {
    return by_parts(a, b, [](__m128i x, __m128i y) { return _mm_madd_epi16(x, y); });
}
// `into`, but for the bytes of `mask`: there `from` at the place's last six bits.
inline __m512i permuted_into(__m512i into, uint64_t mask, __m512i places, __m512i from) {
    uint8_t place[64], source[64], result[64];
    std::memcpy(place, &places, sizeof place);
    std::memcpy(source, &from, sizeof source);
    std::memcpy(result, &into, sizeof result);
    for (int i = 0; i < 64; ++i)
        if (mask >> i & 1) result[i] = source[place[i] & 63];
    std::memcpy(&into, result, sizeof result);
    return into;
}
inline __m512i permuted(__m512i places, __m512i from) {
    return permuted_into(from, ~uint64_t{0}, places, from);
}
// Where `mask` has a bit: the byte of a, and behind them b, at the place's last seven bits.
inline __m512i permuted_two_or_zero(uint64_t mask, __m512i a, __m512i places, __m512i b) {
    uint8_t place[64], source[128], result[64];
    std::memcpy(place, &places, sizeof place);
    std::memcpy(source, &a, sizeof a);
    std::memcpy(source + 64, &b, sizeof b);
    for (int i = 0; i < 64; ++i) result[i] = mask >> i & 1 ? source[place[i] & 127] : 0;
    std::memcpy(&a, result, sizeof result);
    return a;
}
inline __m512i permuted_two(__m512i a, __m512i places, __m512i b) {
    return permuted_two_or_zero(~uint64_t{0}, a, places, b);
}
inline __m512i repeated(__m128i part) {
    __m512i result = {};
    for (int index = 0; index < 4; ++index) result = with_part(result, part, index);
    return result;
}

inline __m512 multiplied_and_added(__m512 a, __m512 b, __m512 c) {
    for (int i = 0; i < 16; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
// In each part two floats of a and two of b, by two bits of `which` each.
inline __m512 chosen(__m512 a, __m512 b, int which) {
    __m512 result;
    for (int i = 0; i < 16; ++i)
        result[i] = (i % 4 < 2 ? a : b)[i / 4 * 4 + (which >> i % 4 * 2 & 3)];
    return result;
}
inline __m512 broadcast(float value) { return __m512{} + value; }
// In the order of the intrinsic: halves, quarters, and so on are added.
inline float sum(__m512 v) {
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) v[i] += v[i + width];
    return v[0];
}
template <class Value, class Vector>
inline __m512i widened(Vector values) {
    Value from[16];
    int32_t to[16];
    std::memcpy(from, &values, sizeof from);
    for (int i = 0; i < 16; ++i) to[i] = from[i];
    __m512i result;
    std::memcpy(&result, to, sizeof to);
    return result;
}
inline __m512i shifted_left(__m512i words, unsigned bits) {
    uint32_t each[16];
    std::memcpy(each, &words, sizeof each);
    for (uint32_t& word : each) word <<= bits;
    std::memcpy(&words, each, sizeof each);
    return words;
}
inline __m512 as_floats(__m512i integers) {
    int32_t from[16];
    std::memcpy(from, &integers, sizeof from);
    __m512 result;
    for (int i = 0; i < 16; ++i) result[i] = static_cast<float>(from[i]);
    return result;
}

#endif

}  // namespace emulated

#if defined(EMULATED_AVX512)
#define __AVX512F__ 1
#define __AVX512VNNI__ 1
#define _mm512_castsi128_si512 emulated::from_128
#define _mm512_cvtepu16_epi32 emulated::widened<uint16_t>
#define _mm512_cvtepu8_epi32 emulated::widened<uint8_t>
#define _mm512_slli_epi32 emulated::shifted_left
#define _mm512_inserti32x4 emulated::with_part
#define _mm512_unpacklo_epi32 emulated::low_words
#define _mm512_unpackhi_epi32 emulated::high_words
#define _mm512_unpacklo_epi64 emulated::low_pairs
#define _mm512_unpackhi_epi64 emulated::high_pairs
#define _mm512_shuffle_epi8 emulated::shuffled
#define _mm512_broadcast_i32x4 emulated::repeated
#define _mm512_packs_epi32 emulated::packed
#define _mm512_madd_epi16 emulated::added_pairs
#if defined(EMULATED_VBMI)
#define __AVX512VBMI__ 1
#define _mm512_permutexvar_epi8 emulated::permuted
#define _mm512_mask_permutexvar_epi8 emulated::permuted_into
#define _mm512_permutex2var_epi8 emulated::permuted_two
#define _mm512_maskz_permutex2var_epi8 emulated::permuted_two_or_zero
#endif
#define _mm512_dpbusd_epi32 emulated::dpbusd<__m512i>
#define _mm512_fmadd_ps emulated::multiplied_and_added
#define _mm512_set1_ps emulated::broadcast
#undef _mm512_shuffle_ps
#define _mm512_shuffle_ps emulated::chosen
#define _mm512_reduce_add_ps emulated::sum
#define _mm512_cvtepi8_epi32 emulated::widened<int8_t>
#define _mm512_cvtepi32_ps emulated::as_floats
#else
#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 emulated::dpbusd<__m256i>
#endif
