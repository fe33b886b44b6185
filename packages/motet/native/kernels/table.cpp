// The kernels of one instruction set, gathered.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

#define MOTET_QUOTE(name) #name
#define MOTET_NAME(name) MOTET_QUOTE(name)

void matmul_bf16(const Bf16Matrix&, RowRange, const float*, size_t, Output, float*);
void matmul_mxfp4(const Mxfp4Matrix&, RowRange, const float*, size_t, Output, float*);
void arrange_for_mxfp4(const float*, size_t, float*);
void rms_norm(const float*, const Bf16*, size_t, float, float*);
void rotate(float*, const float*, const float*, size_t);
void swiglu(const float*, size_t, float, float*);
void attention(const AttentionJob&);

extern const Kernels table;
const Kernels table = {
    .name = MOTET_NAME(MOTET_ISA),
    .matmul_bf16 = matmul_bf16,
    .matmul_mxfp4 = matmul_mxfp4,
    .arrange_for_mxfp4 = arrange_for_mxfp4,
    .rms_norm = rms_norm,
    .rotate = rotate,
    .swiglu = swiglu,
    .attention = attention,
};

}  // namespace motet::MOTET_ISA
