// The kernels of one instruction set, gathered.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

#define MOTET_QUOTE(name) #name
#define MOTET_NAME(name) MOTET_QUOTE(name)

void multiply_exact(const Matrix&, RowRange, const float*, size_t, Output, float*);
void multiply_fast(const Matrix&, RowRange, const QuantisedRows&, size_t, Output, float*);
void quantise(const float*, size_t, Order, QuantisedRows);
void encode_int8(const float*, size_t, uint8_t*, uint8_t*);
void encode_int4(const float*, size_t, uint8_t*, uint8_t*);
void arrange(const float*, size_t, Order, float*);
void decode_row(const Matrix&, size_t, float*);
void rms_norm(const float*, const float*, size_t, float, float*);
void rotate(float*, const float*, const float*, size_t);
void swiglu(const float*, const float*, size_t, size_t, float, float*);
void attention(const AttentionJob&);
uint64_t peak_float(size_t);
uint64_t peak_int8(size_t);
uint64_t read_memory(const uint8_t*, size_t);

extern const Kernels table;
const Kernels table = {
    .name = MOTET_NAME(MOTET_ISA),
    .multiply_exact = multiply_exact,
    .multiply_fast = multiply_fast,
    .quantise = quantise,
    .encode_int8 = encode_int8,
    .encode_int4 = encode_int4,
    .arrange = arrange,
    .decode_row = decode_row,
    .rms_norm = rms_norm,
    .rotate = rotate,
    .swiglu = swiglu,
    .attention = attention,
    .peak_float = peak_float,
    .peak_int8 = peak_int8,
    .read_memory = read_memory,
};

}  // namespace motet::MOTET_ISA
