// The fast products: weights in blocks of 8 or 4 bits times activations of 8 bits.
//
// Per block and output element: one exact integer dot product, and one multiply-add with the
// product of the two scales. Those products are made eight blocks at a time. With few tokens a row
// of weights is decoded as it streams by; with more, two rows are decoded once into a panel that
// stays in the first-level cache. Either way an element is the sum over the even blocks plus the
// sum over the odd ones (two chains hide the latency of the multiply-add) plus the correction: the
// same operations in the same order, so the result does not depend on the number of tokens.
#include "kernels/half.hpp"
#include "kernels/simd_int8.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr size_t kFewTokens = 4;
constexpr size_t kTokensInCache = 64;  // whose activations stay in the second-level cache
constexpr size_t kPrefetchBytes = 768;

using Format = Matrix::Format;

struct Scales {
    float of[kScaleLanes];
};

// The scales of the blocks first..first + count of a row; what follows them is of no meaning.
template <Format kFormat>
inline Scales read_scales(const Matrix& matrix, size_t row, size_t first, size_t count) {
    Scales scales;
    if constexpr (kFormat == Format::mxfp4) {
        uint8_t stored[kScaleLanes] = {};
        for (size_t i = 0; i < count; ++i) stored[i] = *matrix.scale_at(row, first + i);
        for (int i = 0; i < kScaleLanes; ++i) scales.of[i] = half_scale(stored[i]);
    } else {
        uint16_t stored[kScaleLanes] = {};
        for (size_t i = 0; i < count; ++i)
            stored[i] = load<uint16_t>(matrix.scale_at(row, first + i));
        for (int i = 0; i < kScaleLanes; ++i) scales.of[i] = half_value(stored[i]);
    }
    return scales;
}

template <Format kFormat>
inline Weights32 decode(const Matrix& matrix, size_t row, size_t block) {
    const uint8_t* from = matrix.block_at(row, block);
    if constexpr (kFormat == Format::mxfp4)
        return decode_mxfp4(from);
    else
        return load_weights(from);
}

template <Format kFormat>
inline Partial dot(Weights32 weights, const int8_t* x) {
    if constexpr (kFormat == Format::mxfp4)
        return dot_mxfp4(weights, x);
    else
        return dot_int8(weights, x);
}

// One output element in the making.
struct Element {
    Partial even = nothing();
    Partial odd = nothing();
    float corrections[kScaleLanes] = {};

    inline float value() const {
        float correction = 0.0f;
        for (int i = 0; i < kScaleLanes; ++i) correction += corrections[i];
        return total(even, odd) + correction;
    }
};

// Rows of weights as they lie in memory.
template <Format kFormat>
struct Streamed {
    const Matrix& matrix;
    size_t row;

    inline Scales scales(size_t r, size_t first, size_t count) const {
        return read_scales<kFormat>(matrix, row + r, first, count);
    }
    inline Weights32 weights(size_t r, size_t block) const {
        __builtin_prefetch(matrix.block_at(row + r, block) + kPrefetchBytes);
        return decode<kFormat>(matrix, row + r, block);
    }
};

// Rows decoded once for many tokens: values [rows, inner], scales [rows, whole groups of blocks].
template <Format kFormat>
struct Panel {
    uint8_t* values;
    float* scale_groups;
    size_t inner;

    Panel(float* scratch, size_t inner)
        : values(reinterpret_cast<uint8_t*>(scratch)),
          scale_groups(scratch + kPanelRows * inner / 4),
          inner(inner) {}

    void decode_rows(const Matrix& matrix, size_t row, size_t rows) const {
        const size_t blocks = inner / 32;
        for (size_t r = 0; r < rows; ++r) {
            for (size_t block = 0; block < blocks; ++block)
                store_weights(values + r * inner + block * 32,
                              decode<kFormat>(matrix, row + r, block));
            for (size_t first = 0; first < blocks; first += kScaleLanes) {
                const size_t count = blocks - first < kScaleLanes ? blocks - first : kScaleLanes;
                const Scales read = read_scales<kFormat>(matrix, row + r, first, count);
                __builtin_memcpy(group(r, first), &read, sizeof read);
            }
        }
    }
    inline Scales scales(size_t r, size_t first, size_t) const {
        return load<Scales>(group(r, first));
    }
    inline Weights32 weights(size_t r, size_t block) const {
        return load_weights(values + r * inner + block * 32);
    }

  private:
    inline float* group(size_t r, size_t first) const {
        const size_t groups = (inner / 32 + kScaleLanes - 1) / kScaleLanes;
        return scale_groups + r * groups * kScaleLanes + first;
    }
};

// Adds the blocks first..first + count; count is at most kScaleLanes.
template <Format kFormat, int Rows, int Tokens, class Source>
inline void add_blocks(const Source& source, const QuantisedRows& x, size_t first, int count,
                       Element (&elements)[Rows][Tokens]) {
    const size_t blocks = x.inner / 32;
    float products[Rows][Tokens][kScaleLanes];
    for (int r = 0; r < Rows; ++r) {
        const Scales scales = source.scales(r, first, count);
        for (int t = 0; t < Tokens; ++t) {
            const float* theirs = x.scales + t * blocks + first;
            for (int i = 0; i < count; ++i) products[r][t][i] = scales.of[i] * theirs[i];
            if constexpr (kFormat == Format::mxfp4 && kMxfp4Offset != 0) {
                const float* corrections = x.corrections + t * blocks + first;
                for (int i = 0; i < count; ++i)
                    elements[r][t].corrections[i] += scales.of[i] * corrections[i];
            }
        }
    }
    for (int i = 0; i < count; ++i)
        for (int r = 0; r < Rows; ++r) {
            const Weights32 weights = source.weights(r, first + i);
            for (int t = 0; t < Tokens; ++t) {
                const Partial part =
                    dot<kFormat>(weights, x.values + t * x.inner + (first + i) * 32);
                Partial& chain = i % 2 ? elements[r][t].odd : elements[r][t].even;
                chain = add_scaled(chain, part, &products[r][t][i]);
            }
        }
}

template <Format kFormat, int Rows, int Tokens, class Source>
inline void multiply_tile(const Source& source, const QuantisedRows& x, const float* bias,
                          Output out) {
    Element elements[Rows][Tokens];
    const size_t blocks = x.inner / 32;
    size_t first = 0;
    for (; first + kScaleLanes <= blocks; first += kScaleLanes)
        add_blocks<kFormat>(source, x, first, kScaleLanes, elements);
    if (first < blocks)
        add_blocks<kFormat>(source, x, first, static_cast<int>(blocks - first), elements);
    for (int r = 0; r < Rows; ++r)
        for (int t = 0; t < Tokens; ++t) {
            const float value = elements[r][t].value() + (bias ? bias[r] : 0.0f);
            float& to = out.data[t * out.stride + r * out.row_stride];
            to = out.accumulate ? to + value : value;
        }
}

template <Format kFormat, int Rows, class Source>
inline void multiply_rows(const Source& source, const QuantisedRows& x, size_t tokens,
                          const float* bias, Output out) {
    size_t t = 0;
    const auto from = [&](size_t token) {
        return Output{out.data + token * out.stride, out.stride, out.accumulate, out.row_stride};
    };
    for (; t + 2 <= tokens; t += 2)
        multiply_tile<kFormat, Rows, 2>(source, x.from(t), bias, from(t));
    if (t < tokens) multiply_tile<kFormat, Rows, 1>(source, x.from(t), bias, from(t));
}

template <Format kFormat, int Rows>
inline void multiply_group(const Matrix& matrix, size_t row, const QuantisedRows& x, size_t tokens,
                           Output out, const Panel<kFormat>& panel) {
    const float* bias = matrix.bias ? matrix.bias + row : nullptr;
    if (tokens <= kFewTokens) {
        multiply_rows<kFormat, Rows>(Streamed<kFormat>{matrix, row}, x, tokens, bias, out);
    } else {
        panel.decode_rows(matrix, row, Rows);
        multiply_rows<kFormat, Rows>(panel, x, tokens, bias, out);
    }
}

template <Format kFormat>
void multiply(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
              Output to, float* scratch) {
    const Panel<kFormat> panel(scratch, matrix.inner);
    for (size_t first = 0; first < tokens; first += kTokensInCache) {
        const size_t count = tokens - first < kTokensInCache ? tokens - first : kTokensInCache;
        const auto out = [&](size_t row) {
            return Output{to.data + first * to.stride + (row - range.begin) * to.row_stride,
                          to.stride, to.accumulate, to.row_stride};
        };
        size_t row = range.begin;
        if (count > 1)
            for (; row + 2 <= range.end; row += 2)
                multiply_group<kFormat, 2>(matrix, row, x.from(first), count, out(row), panel);
        for (; row < range.end; ++row)
            multiply_group<kFormat, 1>(matrix, row, x.from(first), count, out(row), panel);
    }
}

}  // namespace

void multiply_fast(const Matrix& matrix, RowRange range, const QuantisedRows& x, size_t tokens,
                   Output to, float* scratch) {
    if (matrix.format == Format::mxfp4)
        multiply<Format::mxfp4>(matrix, range, x, tokens, to, scratch);
    else
        multiply<Format::int8>(matrix, range, x, tokens, to, scratch);
}

}  // namespace motet::MOTET_ISA
