// How weight blocks are stored: the levels of four bits, and scales as float16 or one byte E8M0.
#pragma once

#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

// Twice the values of MXFP4 (E2M1), and the 16 levels of int4. The latter lie so that normally
// distributed weights, divided by a twelfth of the largest of 32, lose little: 8 % of their size.
constexpr Bytes kMxfp4Levels = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr Bytes kInt4Levels = {-12, -9, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};

template <class To, class From>
inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    __builtin_memcpy(&result, &from, sizeof result);
    return result;
}

// IEEE half precision by integers: not every machine of these families has an instruction for it.
inline float half_value(uint16_t stored) {
    const uint32_t half = stored;
    const uint32_t magnitude = (half & 0x7fff) << 13;
    uint32_t bits = bits_as<uint32_t>(bits_as<float>(magnitude) * 0x1p112f);
    if ((half & 0x7c00) == 0x7c00) bits = 0x7f800000 | (magnitude & 0x007fffff);
    return bits_as<float>(bits | (half & 0x8000) << 16);
}

// The nearest half, ties to even; too large becomes infinite.
inline uint16_t half_bits(float value) {
    const uint32_t bits = bits_as<uint32_t>(value);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
    if (magnitude < 0x38800000) {  // subnormal: let the adder round to multiples of 2^-24
        const float aligned = bits_as<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (bits_as<uint32_t>(aligned) - 0x3f000000));
    }
    const uint32_t rounded = magnitude + 0x0fff + (magnitude >> 13 & 1);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

// 2^(scale - 128): the block's scale, halved.
inline float half_scale(uint8_t scale) {
    return bits_as<float>(scale ? uint32_t{scale} << 23 : uint32_t{0x00400000}) * 0.5f;
}

}  // namespace motet::MOTET_ISA
