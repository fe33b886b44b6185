#include "kernel_bindings.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/kernels.hpp"
#include "machine.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace motet {

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class Value>
using Array = nb::ndarray<nb::numpy, Value, nb::ndim<2>>;

Matrix::Format format_of(const std::string& name) {
    if (name == "float32") return Matrix::Format::float32;
    if (name == "float16") return Matrix::Format::float16;
    if (name == "bf16") return Matrix::Format::bf16;
    if (name == "int8") return Matrix::Format::int8;
    if (name == "int4") return Matrix::Format::int4;
    if (name == "mxfp4") return Matrix::Format::mxfp4;
    throw std::invalid_argument("there is no weight format " + name);
}

// values [rows, blocks, bytes of a block], scales [rows, blocks, bytes of a scale].
Matrix matrix_of(const std::string& format, bool even_odd, const Bytes& values,
                 const Bytes& scales) {
    return {.format = format_of(format),
            .order = even_odd ? Order::even_odd : Order::natural,
            .values = values.data(),
            .scales = scales.data(),
            .value_stride = values.shape(2),
            .scale_stride = scales.shape(2),
            .rows = values.shape(0),
            .inner = values.shape(1) * 32};
}

template <class Value>
Array<Value> new_array(size_t rows, size_t columns) {
    auto* data = new Value[rows * columns]();
    const nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<Value*>(p); });
    return Array<Value>(data, {rows, columns}, owner);
}

struct QuantisedMemory {
    std::vector<int8_t> values;
    std::vector<float> scales;
    std::vector<int32_t> corrections;
    QuantisedRows rows;

    QuantisedMemory(const Rows& x, Order order)
        : values(x.size()), scales(x.size() / 32), corrections(x.size() / 32) {
        rows = {values.data(), scales.data(), corrections.data(), x.shape(1)};
        kernels().quantise(x.data(), x.shape(0), order, rows);
    }
};

Array<float> multiply(const std::string& format, bool even_odd, const Bytes& values,
                      const Bytes& scales, const Rows& x, bool fast) {
    const Matrix matrix = matrix_of(format, even_odd, values, scales);
    if (x.shape(1) != matrix.inner) throw std::invalid_argument("x does not fit the matrix");
    const size_t tokens = x.shape(0);
    std::vector<float> scratch(scratch_floats(matrix.inner));
    Array<float> out = new_array<float>(tokens, matrix.rows);
    const Output to{out.data(), matrix.rows};
    if (fast) {
        const QuantisedMemory quantised(x, matrix.order);
        kernels().multiply_fast(matrix, {0, matrix.rows}, quantised.rows, tokens, to,
                                scratch.data());
    } else {
        std::vector<float> arranged(x.size());
        kernels().arrange(x.data(), x.size(), matrix.order, arranged.data());
        kernels().multiply_exact(matrix, {0, matrix.rows}, arranged.data(), tokens, to,
                                 scratch.data());
    }
    return out;
}

std::tuple<Array<int8_t>, Array<float>> quantise(const Rows& x, bool even_odd) {
    const QuantisedMemory memory(x, even_odd ? Order::even_odd : Order::natural);
    Array<int8_t> values = new_array<int8_t>(x.shape(0), x.shape(1));
    Array<float> scales = new_array<float>(x.shape(0), x.shape(1) / 32);
    std::copy(memory.values.begin(), memory.values.end(), values.data());
    std::copy(memory.scales.begin(), memory.scales.end(), scales.data());
    return {values, scales};
}

std::tuple<Array<uint8_t>, Array<uint16_t>> encode(const Rows& x, size_t bits) {
    Array<uint8_t> values = new_array<uint8_t>(x.shape(0), x.shape(1) * bits / 8);
    Array<uint16_t> scales = new_array<uint16_t>(x.shape(0), x.shape(1) / 32);
    const auto encode_rows = bits == 4 ? kernels().encode_int4 : kernels().encode_int8;
    encode_rows(x.data(), x.size(), values.data(), reinterpret_cast<uint8_t*>(scales.data()));
    return {values, scales};
}

std::tuple<double, double> arithmetic(size_t threads, double seconds) {
    const nb::gil_scoped_release unlocked;
    const ArithmeticSpeed speed = arithmetic_speed(threads, seconds);
    return {speed.float_operations, speed.int8_operations};
}

double reading(size_t threads, size_t bytes, double seconds) {
    const nb::gil_scoped_release unlocked;
    return reading_speed(threads, bytes, seconds);
}

}  // namespace

void bind_kernels(nb::module_& module) {
    module.def("multiply", &multiply, "format_"_a, "even_odd"_a, "values"_a, "scales"_a, "x"_a,
               "fast"_a);
    module.def("quantise", &quantise, "x"_a, "even_odd"_a);
    module.def("arithmetic_speed", &arithmetic, "threads"_a, "seconds"_a);
    module.def("reading_speed", &reading, "threads"_a, "size"_a, "seconds"_a);
    module.def("encode", &encode, "x"_a, "bits"_a);
}

}  // namespace motet
