// Every kernel table this machine can execute, against plain double precision.
//
// A program of its own, so that kernels can be checked where no Python runs: under an emulator for
// another architecture. MOTET_ISA chooses the table, as everywhere, and --all takes one after the
// other; prints it and what was checked.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernels.hpp"

using namespace motet;

namespace {

int checks = 0;

[[noreturn]] void fail(const std::string& what) {
    std::printf("failed: %s\n", what.c_str());
    std::exit(1);
}

void require(bool condition, const std::string& what) {
    ++checks;
    if (!condition) fail(what);
}

// A random matrix as it is stored, and its numbers.
struct Stored {
    Matrix matrix;
    std::vector<uint8_t> values, scales;
    std::vector<double> numbers;  // [rows, inner]
    std::vector<uint8_t> joined;

    // The same matrix with every block's values behind its scale, as GGUF has them.
    Matrix joined_matrix() {
        const size_t value = matrix.value_stride, scale = matrix.scale_stride;
        const size_t stride = value + scale;
        joined.resize(values.size() / value * stride);
        for (size_t b = 0; b < values.size() / value; ++b) {
            std::memcpy(&joined[b * stride], &scales[b * scale], scale);
            std::memcpy(&joined[b * stride + scale], &values[b * value], value);
        }
        Matrix result = matrix;
        result.scales = joined.data();
        result.values = joined.data() + scale;
        result.value_stride = result.scale_stride = stride;
        return result;
    }
};

double level(Matrix::Format format, int nibble) {
    const double int4[16] = {-12, -9, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
    const double mxfp4[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    if (format == Matrix::Format::int4) return int4[nibble];
    return (nibble & 8 ? -1 : 1) * mxfp4[nibble & 7];
}

// Scales of int8 and int4 blocks are 2^-7 or 2^-8, whose float16 patterns need no conversion here.
Stored random_matrix(Matrix::Format format, Order order, size_t rows, size_t inner,
                     std::mt19937& random) {
    const bool mxfp4 = format == Matrix::Format::mxfp4;
    const bool int8 = format == Matrix::Format::int8;
    Stored stored;
    const size_t blocks = rows * inner / 32, block_bytes = int8 ? 32 : 16;
    stored.values.resize(blocks * block_bytes);
    stored.scales.resize(blocks * (mxfp4 ? 1 : 2));
    stored.numbers.resize(rows * inner);
    for (uint8_t& byte : stored.values) byte = static_cast<uint8_t>(random());
    for (size_t b = 0; b < blocks; ++b) {
        const int exponent = -7 - static_cast<int>(random() % 2);
        double* numbers = &stored.numbers[b * 32];
        uint8_t* bytes = &stored.values[b * block_bytes];
        const auto half = static_cast<uint16_t>((exponent + 15) << 10);
        if (mxfp4)
            stored.scales[b] = static_cast<uint8_t>(127 + exponent);
        else
            std::memcpy(&stored.scales[b * 2], &half, sizeof half);
        for (int i = 0; i < 32 && int8; ++i) {
            if (bytes[i] == 0x80) bytes[i] = 0x81;  // -128 is never derived
            numbers[i] = std::ldexp(static_cast<int8_t>(bytes[i]), exponent);
        }
        for (int i = 0; i < 16 && !int8; ++i) {
            const int low = order == Order::even_odd ? 2 * i : i;
            const int high = order == Order::even_odd ? 2 * i + 1 : i + 16;
            numbers[low] = std::ldexp(level(format, bytes[i] & 15), exponent);
            numbers[high] = std::ldexp(level(format, bytes[i] >> 4), exponent);
        }
    }
    stored.matrix = {.format = format,
                     .order = order,
                     .values = stored.values.data(),
                     .scales = stored.scales.data(),
                     .value_stride = block_bytes,
                     .scale_stride = static_cast<size_t>(mxfp4 ? 1 : 2),
                     .rows = rows,
                     .inner = inner};
    return stored;
}

void check_product(const Kernels& kernel, Matrix::Format format, Order order, size_t rows,
                   size_t inner, size_t tokens, std::mt19937& random) {
    Stored stored = random_matrix(format, order, rows, inner, random);
    std::normal_distribution<float> normal;
    std::vector<float> x(tokens * inner), arranged(x.size()), out(tokens * rows);
    for (float& value : x) value = normal(random);

    std::vector<int8_t> values(x.size());
    std::vector<float> scales(x.size() / 32);
    std::vector<int32_t> corrections(x.size() / 32);
    QuantisedRows quantised{values.data(), scales.data(), corrections.data(), inner};
    kernel.quantise(x.data(), tokens, Order::natural, quantised);
    std::vector<double> rounded(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        rounded[i] = static_cast<double>(values[i]) * scales[i / 32];
        require(std::abs(rounded[i] - x[i]) <= 0.5001 * scales[i / 32], "rounding");
    }
    kernel.quantise(x.data(), tokens, order, quantised);
    kernel.arrange(x.data(), x.size(), order, arranged.data());

    std::vector<float> scratch(scratch_floats(inner));
    const std::string name = std::to_string(rows) + " x " + std::to_string(inner) + ", " +
                             std::to_string(tokens) + " tokens";
    for (const bool fast : {false, true}) {
        if (fast)
            kernel.multiply_fast(stored.matrix, {0, rows}, quantised, tokens, {out.data(), rows},
                                 scratch.data());
        else
            kernel.multiply_exact(stored.matrix, {0, rows}, arranged.data(), tokens,
                                  {out.data(), rows}, scratch.data());
        for (size_t t = 0; t < tokens; ++t)
            for (size_t r = 0; r < rows; ++r) {
                double wanted = 0, bound = 0;
                for (size_t i = 0; i < inner; ++i) {
                    const double input = fast ? rounded[t * inner + i] : x[t * inner + i];
                    wanted += input * stored.numbers[r * inner + i];
                    bound += std::abs(input * stored.numbers[r * inner + i]);
                }
                require(std::abs(out[t * rows + r] - wanted) <= 1e-5 * bound + 1e-30,
                        name + (fast ? ", fast" : ", exact"));
            }
    }
    // Bit for bit the same alone, and wherever weights and scales lie.
    std::vector<float> alone(rows);
    for (const Matrix& matrix : {stored.matrix, stored.joined_matrix()})
        for (size_t t = 0; t < tokens; ++t) {
            kernel.multiply_fast(matrix, {0, rows}, quantised.from(t), 1, {alone.data(), rows},
                                 scratch.data());
            require(!std::memcmp(alone.data(), &out[t * rows], rows * sizeof(float)),
                    name + ", alone");
        }
    std::vector<float> together(tokens * rows);
    kernel.multiply_fast(stored.joined_matrix(), {0, rows}, quantised, tokens,
                         {together.data(), rows}, scratch.data());
    require(out == together, name + ", joined");

    std::vector<float> row(inner);
    kernel.decode_row(stored.matrix, rows - 1, row.data());
    for (size_t i = 0; i < inner; ++i)
        require(row[i] == static_cast<float>(stored.numbers[(rows - 1) * inner + i]), "decoding");
}

void check(const Kernels& kernel) {
    std::mt19937 random(1);
    for (const auto& [rows, inner] : {std::pair{1, 32}, {3, 288}, {37, 320}, {37, 544}, {16, 2880}})
        for (const size_t tokens : {1, 2, 3, 4, 5, 7, 8, 70}) {
            check_product(kernel, Matrix::Format::int8, Order::natural, rows, inner, tokens,
                          random);
            check_product(kernel, Matrix::Format::int4, Order::natural, rows, inner, tokens,
                          random);
            check_product(kernel, Matrix::Format::mxfp4, Order::natural, rows, inner, tokens,
                          random);
            check_product(kernel, Matrix::Format::mxfp4, Order::even_odd, rows, inner, tokens,
                          random);
        }
    std::printf("%s: %d checks\n", kernel.name, checks);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || std::string(arguments[1]) != "--all") {
        check(kernels());
        return 0;
    }
    for (const char* isa : {"portable", "avx2", "avxvnni", "avx512", "avx512vbmi", "dotprod"}) {
        setenv("MOTET_ISA", isa, 1);
        try {
            check(kernels());
        } catch (const std::invalid_argument&) {
            std::printf("%s: this machine has none\n", isa);
        }
    }
}
