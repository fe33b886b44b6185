// Attention projections, router and output head: bf16 weights, read in place.
#include "kernels/matmul_tile.hpp"

namespace motet::MOTET_ISA {

namespace {

struct Bf16Weights {
    const Bf16* values;
    size_t inner;

    void decode(size_t row, size_t block, Floats* out) const {
        const Bf16* from = values + row * inner + block * 32;
        for (int j = 0; j < kVectorsPerBlock; ++j) out[j] = load_bf16(from + j * kLanes);
    }
};

}  // namespace

void matmul_bf16(const Bf16Matrix& matrix, RowRange range, const float* x, size_t tokens, Output to,
                 float* panel) {
    const Bf16Weights weights{matrix.weights, matrix.inner};
    multiply(weights, matrix, range, x, tokens, to, panel);
}

}  // namespace motet::MOTET_ISA
