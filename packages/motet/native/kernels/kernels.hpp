// The operations gpt-oss is made of, as a table of functions.
//
// Every kernel file of this folder is compiled once per instruction set (see CMakeLists.txt) and
// fills one `Kernels` table; `kernels()` hands out the best table this machine can execute. A
// kernel works on plain pointers, knows nothing of models, sequences or threads, and is given a
// range of rows to compute: spreading ranges over threads is the caller's business.
//
// Matrix products come in two kinds. The exact one computes in float32 on weights as they lie in
// the files. The fast one takes activations of 8 bits in blocks of 32 and weights of 8 or 4 bits in
// blocks of 32: within a block the sum of products is an exact integer.
// The sum behind one output element is always taken in the same order, whatever else is computed
// beside it: a token's result is bit-identical alone and in a batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace motet {

// Nothing outside a kernel's own namespace may be emitted by a kernel file as a function: the
// linker keeps one copy of such a function, and it could be the one compiled for AVX-512.
#define MOTET_INLINE __attribute__((always_inline)) inline

// A bfloat16 as stored: the upper half of a float32. Alignment 1, since mapped files promise none.
struct Bf16 {
    unsigned char bytes[2];

    MOTET_INLINE float value() const {
        uint16_t half;
        std::memcpy(&half, bytes, sizeof half);
        const uint32_t bits = uint32_t{half} << 16;
        float result;
        std::memcpy(&result, &bits, sizeof result);
        return result;
    }
    // The nearest one, ties to even; what is no number stays none.
    MOTET_INLINE static Bf16 of(float value) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        const bool none = value != value;
        bits = none ? bits | 0x00400000 : bits + 0x7fff + (bits >> 16 & 1);
        const uint16_t half = static_cast<uint16_t>(bits >> 16);
        Bf16 result;
        std::memcpy(&result, &half, sizeof half);
        return result;
    }
};

// The order of values within a block of 32 inputs that a weight format asks for.
enum class Order {
    natural,
    even_odd,  // the 16 even ones, then the 16 odd ones
};

// y = W x + b, W [rows, inner] in blocks of 32 values; `inner` is a multiple of 32. Blocks and
// their scales each lie at a stride of their own, so that the released files (two arrays), GGUF's
// blocks (scale and values side by side) and our own derived ones are all read in place.
struct Matrix {
    enum class Format {
        float32,
        float16,
        bf16,
        int8,   // 32 signed bytes, scale a float16
        int4,   // 16 bytes of two levels each (half.hpp), scale a float16
        mxfp4,  // 16 bytes of two values each, scale one byte E8M0
    };
    Format format = Format::bf16;
    // What a byte of two values holds: an even and the following odd element in the released files,
    // the elements i and i + 16 in GGUF and in int4. Inputs are put in that order instead of the
    // weights.
    Order order = Order::natural;
    const uint8_t* values = nullptr;
    const uint8_t* scales = nullptr;
    size_t value_stride = 0;  // bytes from block to block
    size_t scale_stride = 0;
    const float* bias = nullptr;  // [rows], may be null
    size_t rows = 0;
    size_t inner = 0;

    // Whether multiply_fast takes it.
    MOTET_INLINE bool few_bits() const {
        return format == Format::int8 || format == Format::int4 || format == Format::mxfp4;
    }
    MOTET_INLINE size_t blocks() const { return inner / 32; }
    MOTET_INLINE const uint8_t* block_at(size_t row, size_t block) const {
        return values + (row * blocks() + block) * value_stride;
    }
    MOTET_INLINE const uint8_t* scale_at(size_t row, size_t block) const {
        return scales + (row * blocks() + block) * scale_stride;
    }
};

// Activations for the fast products: x = scale * value, a scale for each 32 values.
struct QuantisedRows {
    int8_t* values = nullptr;        // [rows, inner], each in -127..127
    float* scales = nullptr;         // [rows, inner / 32]
    int32_t* corrections = nullptr;  // [rows, inner / 32], see Kernels::quantise
    size_t inner = 0;

    MOTET_INLINE QuantisedRows from(size_t row) const {
        return {values + row * inner, scales + row * (inner / 32), corrections + row * (inner / 32),
                inner};
    }
};

struct RowRange {
    size_t begin = 0;
    size_t end = 0;
    MOTET_INLINE size_t size() const { return end - begin; }
};

// Where a matrix product goes: row range.begin + r of token t to data[t * stride + r].
struct Output {
    float* data = nullptr;
    size_t stride = 0;
    bool accumulate = false;  // add to what is there instead of overwriting it
};

constexpr size_t kLine = 64;  // bytes of a cache line

// What a product needs as scratch: some decoded rows of the exact one (exact_tile.hpp), the sums of
// some tokens (tile_products.hpp) or the products of some rows (row_products.hpp) of the fast one,
// from the next cache line on.
MOTET_INLINE constexpr size_t scratch_floats(size_t inner) {
    return 4 * inner + 4096 + kLine / sizeof(float);
}

// Positions in one block of the key-value cache.
constexpr size_t kBlockPositions = 64;
constexpr size_t kMaximumHeadDim = 256;

// One block holds, for each key-value head in turn, the keys [head_dim, 64] (transposed, so that
// a query meets 16 positions with one vector operation) and the values [64, value_stride], as
// float32 or bfloat16.
struct CacheShape {
    size_t key_value_heads = 0;
    size_t head_dim = 0;
    bool bf16 = false;

    // Values are padded with zeros to whole vectors.
    MOTET_INLINE size_t value_stride() const { return (head_dim + 15) / 16 * 16; }
    MOTET_INLINE size_t head_elements() const {
        return kBlockPositions * (head_dim + value_stride());
    }
    MOTET_INLINE size_t block_bytes() const {
        return key_value_heads * head_elements() * (bf16 ? sizeof(Bf16) : sizeof(float));
    }
    // In elements.
    MOTET_INLINE size_t keys_offset(size_t head) const { return head * head_elements(); }
    MOTET_INLINE size_t values_offset(size_t head) const {
        return keys_offset(head) + kBlockPositions * head_dim;
    }
};

// The query heads of one token that share one key-value head, over positions first..last.
struct AttentionJob {
    const float* queries = nullptr;  // [heads, head_dim], rotated, scaled by head_dim^-1/2
    const float* sinks = nullptr;    // [heads]
    size_t heads = 0;
    CacheShape shape;
    size_t key_value_head = 0;
    const uint8_t* const* blocks = nullptr;  // by position / 64; only first..last need exist
    size_t first = 0;
    size_t last = 0;
    float* out = nullptr;  // [heads, head_dim]
};

struct Kernels {
    const char* name;

    // The exact product; x: [tokens, inner] in the matrix's order; scratch: scratch_floats(inner).
    // Any format.
    void (*multiply_exact)(const Matrix&, RowRange, const float* x, size_t tokens, Output,
                           float* scratch);
    // The fast product: int8, int4 and MXFP4 only.
    void (*multiply_fast)(const Matrix&, RowRange, const QuantisedRows& x, size_t tokens, Output,
                          float* scratch);
    // Rounds `rows` rows of x [rows, inner] to 8 bits. `corrections` is for multiply_fast of the
    // same instruction set (simd_int8.hpp).
    void (*quantise)(const float* x, size_t rows, Order, QuantisedRows out);
    // The same for weights: `count` values [count], scales [count / 32] float16.
    void (*encode_int8)(const float* x, size_t count, uint8_t* values, uint8_t* scales);
    // And to 4 bits: values [count / 2].
    void (*encode_int4)(const float* x, size_t count, uint8_t* values, uint8_t* scales);
    // Puts each 32 values into the order.
    void (*arrange)(const float* x, size_t count, Order, float* out);
    // Row `row` of a matrix as floats, in their natural order.
    void (*decode_row)(const Matrix&, size_t row, float* out);
    void (*rms_norm)(const float* x, const float* scale, size_t count, float epsilon, float* out);
    // Rotates one head in place: dimension i pairs with i + half.
    void (*rotate)(float* head, const float* cosines, const float* sines, size_t half);
    // gate, linear: `count` values each, `step` floats from one to the next -> out: [count].
    void (*swiglu)(const float* gate, const float* linear, size_t step, size_t count, float limit,
                   float* out);
    void (*attention)(const AttentionJob&);

    // What the machine can do at best; the first two give the number of multiply-adds done.
    uint64_t (*peak_float)(size_t rounds);
    uint64_t (*peak_int8)(size_t rounds);
    uint64_t (*read_memory)(const uint8_t* from, size_t bytes);  // gives a sum without meaning
};

// The best table this machine can execute; a model asks once, when it is made. The environment
// variable MOTET_ISA forces one ("portable", "avx2", "avxvnni", "avx512", "avx512vbmi", "dotprod");
// throws std::invalid_argument if that one cannot run here.
const Kernels& kernels();

}  // namespace motet
