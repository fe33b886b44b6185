// Scales of weight blocks as they are stored: float16 for int8, one byte E8M0 for MXFP4.
#pragma once

#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

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

// 2^(scale - 128): the block's scale, halved. The two smallest are subnormal, hence a mantissa bit.
inline float half_scale(uint8_t scale) {
    return bits_as<float>(scale >= 2 ? uint32_t(scale - 1) << 23 : uint32_t{0x00200000} << scale);
}

}  // namespace motet::MOTET_ISA
