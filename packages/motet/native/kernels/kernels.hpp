// The operations gpt-oss is made of, as a table of functions.
//
// Every kernel file of this folder is compiled once per instruction set (see CMakeLists.txt) and
// fills one `Kernels` table; `kernels()` hands out the best table this machine can execute. A
// kernel works on plain pointers, knows nothing of models, sequences or threads, and is given a
// range of rows to compute: spreading ranges over threads is the caller's business.
//
// All arithmetic is float32 on weights as they lie in the released files (bf16, MXFP4). The sum
// behind one output element is always taken in the same order, whatever else is computed beside
// it: a token's result is bit-identical alone and in a batch.
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
};

// y = W x + b with W bf16 [rows, inner] row-major; `inner` is a multiple of 32, `bias` may be null.
struct Bf16Matrix {
    const Bf16* weights = nullptr;
    const Bf16* bias = nullptr;
    size_t rows = 0;
    size_t inner = 0;
};

// The same with MXFP4 weights: blocks [rows, inner/32, 16], scales [rows, inner/32].
struct Mxfp4Matrix {
    const uint8_t* blocks = nullptr;
    const uint8_t* scales = nullptr;
    const Bf16* bias = nullptr;
    size_t rows = 0;
    size_t inner = 0;
};

struct RowRange {
    size_t begin = 0;
    size_t end = 0;
    MOTET_INLINE size_t size() const { return end - begin; }
};

// Where a matrix product goes: row `range.begin` of token t is written to data[t * stride].
struct Output {
    float* data = nullptr;
    size_t stride = 0;
    bool accumulate = false;  // add to what is there instead of overwriting it
};

// Rows of a matrix that are decoded at once; a product needs room for that many in `panel`.
constexpr size_t kPanelRows = 4;

// Positions in one block of the key-value cache.
constexpr size_t kBlockPositions = 64;
constexpr size_t kMaximumHeadDim = 256;

// One block holds, for each key-value head in turn, the keys [head_dim, 64] (transposed, so that
// a query meets 16 positions with one vector operation) and the values [64, value_stride].
struct CacheShape {
    size_t key_value_heads = 0;
    size_t head_dim = 0;

    // Values are padded with zeros to whole vectors.
    MOTET_INLINE size_t value_stride() const { return (head_dim + 15) / 16 * 16; }
    MOTET_INLINE size_t head_floats() const {
        return kBlockPositions * (head_dim + value_stride());
    }
    MOTET_INLINE size_t block_floats() const { return key_value_heads * head_floats(); }
    MOTET_INLINE size_t keys_offset(size_t head) const { return head * head_floats(); }
    MOTET_INLINE size_t values_offset(size_t head) const {
        return keys_offset(head) + kBlockPositions * head_dim;
    }
};

// The query heads of one token that share one key-value head, over positions first..last.
struct AttentionJob {
    const float* queries = nullptr;  // [heads, head_dim], rotated, scaled by head_dim^-1/2
    const Bf16* sinks = nullptr;     // [heads]
    size_t heads = 0;
    CacheShape shape;
    size_t key_value_head = 0;
    const float* const* blocks = nullptr;  // by position / 64; only first..last need exist
    size_t first = 0;
    size_t last = 0;
    float* out = nullptr;  // [heads, head_dim]
};

struct Kernels {
    const char* name;

    // x: [tokens, inner]; panel: kPanelRows * inner floats of scratch.
    void (*matmul_bf16)(const Bf16Matrix&, RowRange, const float* x, size_t tokens, Output,
                        float* panel);
    // The same, x in the order of `arrange_for_mxfp4`.
    void (*matmul_mxfp4)(const Mxfp4Matrix&, RowRange, const float* x, size_t tokens, Output,
                         float* panel);
    // Within each 32 values: the 16 even ones, then the 16 odd ones (a byte of MXFP4 holds one
    // of each, so this order lets whole bytes be decoded without shuffling them back).
    void (*arrange_for_mxfp4)(const float* x, size_t count, float* out);
    void (*rms_norm)(const float* x, const Bf16* scale, size_t count, float epsilon, float* out);
    // Rotates one head in place: dimension i pairs with i + half.
    void (*rotate)(float* head, const float* cosines, const float* sines, size_t half);
    // gate_up: [2 * count], gate and linear interleaved -> out: [count].
    void (*swiglu)(const float* gate_up, size_t count, float limit, float* out);
    void (*attention)(const AttentionJob&);
};

// The best table this machine can execute; a model asks once, when it is made. The environment
// variable MOTET_ISA forces one ("portable", "avx2", "avx512"); throws std::invalid_argument if
// that one cannot run here.
const Kernels& kernels();

}  // namespace motet
