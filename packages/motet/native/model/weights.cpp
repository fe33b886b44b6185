#include "model/weights.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace motet {

namespace {

using Shape = std::vector<size_t>;
using Type = TensorView::Type;
using Format = Matrix::Format;

constexpr size_t kRowsPerItem = 64;  // of derivation, for a thread
constexpr const char* kSearchedHead = "lm_head.searched";

std::string text(const Shape& shape) {
    std::string result = "[";
    for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
    return result + "]";
}

const uint8_t* bytes(const TensorView& view) { return static_cast<const uint8_t*>(view.data); }

void require_shape(const std::string& name, const TensorView& view, const Shape& shape) {
    if (view.shape != shape)
        throw std::invalid_argument("the tensor " + name + " has shape " + text(view.shape) +
                                    ", but the config needs " + text(shape));
}

// One number after another.
Matrix plain(const TensorView& view, size_t rows, size_t inner) {
    Matrix matrix{.values = bytes(view), .rows = rows, .inner = inner};
    switch (view.type) {
        case Type::float32:
            matrix.format = Format::float32;
            matrix.value_stride = 32 * 4;
            break;
        case Type::float16:
            matrix.format = Format::float16;
            matrix.value_stride = 32 * 2;
            break;
        default:
            matrix.format = Format::bf16;
            matrix.value_stride = 32 * 2;
    }
    return matrix;
}

// How blocks with their scale in front are stored.
struct BlockLayout {
    Format format;
    Order order;
    size_t scale_bytes;
    size_t value_bytes;
    size_t bytes() const { return scale_bytes + value_bytes; }
};

bool is_blocks(Type type) {
    return type == Type::q8_0 || type == Type::int4 || type == Type::mxfp4 ||
           type == Type::mxfp4_pairs;
}

BlockLayout layout(Type type) {
    switch (type) {
        case Type::q8_0:
            return {Format::int8, Order::natural, 2, 32};
        case Type::int4:
            return {Format::int4, Order::natural, 2, 16};
        case Type::mxfp4_pairs:
            return {Format::mxfp4, Order::even_odd, 1, 16};
        default:
            return {Format::mxfp4, Order::natural, 1, 16};
    }
}

Matrix blocks(Type type, const uint8_t* data, size_t rows, size_t inner) {
    const BlockLayout how = layout(type);
    return {.format = how.format,
            .order = how.order,
            .values = data + how.scale_bytes,
            .scales = data,
            .value_stride = how.bytes(),
            .scale_stride = how.bytes(),
            .rows = rows,
            .inner = inner};
}

}  // namespace

// Looks tensors up and checks them.
class TensorReader {
  public:
    TensorReader(const TensorViews& tensors, Weights& weights)
        : tensors_(tensors), weights_(weights) {}

    const float* vector(const std::string& name, const Shape& shape) {
        const TensorView& view = find(name);
        if (view.type != Type::bf16 && view.type != Type::float32) reject(name, "bf16 or float32");
        require_shape(name, view, shape);
        return weights_.keep_floats(view);
    }

    Matrix matrix(const std::string& name, size_t rows, size_t inner) const {
        const TensorView& view = find(name);
        if (is_blocks(view.type)) {
            require_shape(name, view, {rows, inner / 32 * layout(view.type).bytes()});
            return blocks(view.type, bytes(view), rows, inner);
        }
        if (view.type == Type::u8) reject(name, "bf16, float16, float32 or blocks");
        require_shape(name, view, {rows, inner});
        return plain(view, rows, inner);
    }

    Matrix linear(const std::string& name, size_t rows, size_t inner) {
        Matrix result = matrix(name + ".weight", rows, inner);
        result.bias = vector(name + ".bias", {rows});
        return result;
    }

    // One matrix for each expert.
    std::vector<Matrix> experts(const std::string& name, size_t count, size_t rows, size_t inner) {
        const size_t per_row = inner / 32;
        const float* biases = vector(name + "_bias", {count, rows});
        std::vector<Matrix> matrices;
        if (tensors_.contains(name)) {
            const TensorView& view = find(name);
            if (!is_blocks(view.type)) reject(name, "MXFP4 or 8-bit blocks");
            const size_t row_bytes = per_row * layout(view.type).bytes();
            require_shape(name, view, {count, rows, row_bytes});
            for (size_t e = 0; e < count; ++e)
                matrices.push_back(
                    blocks(view.type, bytes(view) + e * rows * row_bytes, rows, inner));
        } else {
            const uint8_t* values = byte_data(name + "_blocks", {count, rows, per_row, 16});
            const uint8_t* scales = byte_data(name + "_scales", {count, rows, per_row});
            for (size_t e = 0; e < count; ++e)
                matrices.push_back({.format = Format::mxfp4,
                                    .order = Order::even_odd,
                                    .values = values + e * rows * per_row * 16,
                                    .scales = scales + e * rows * per_row,
                                    .value_stride = 16,
                                    .scale_stride = 1,
                                    .rows = rows,
                                    .inner = inner});
        }
        for (size_t e = 0; e < count; ++e) matrices[e].bias = biases + e * rows;
        return matrices;
    }

    // Fused and interleaved as released, or gate and linear apart as in GGUF.
    std::vector<Expert> all_experts(const Config& c, const std::string& prefix) {
        std::vector<Expert> result(c.experts);
        const auto add = [&](const char* name, size_t rows) {
            const auto matrices = experts(prefix + name, c.experts, rows, c.hidden_size);
            for (size_t e = 0; e < c.experts; ++e) result[e].gate_up.push_back(matrices[e]);
        };
        if (tensors_.contains(prefix + "gate_proj")) {
            add("gate_proj", c.intermediate_size);
            add("up_proj", c.intermediate_size);
        } else {
            add("gate_up_proj", 2 * c.intermediate_size);
        }
        const auto down =
            experts(prefix + "down_proj", c.experts, c.hidden_size, c.intermediate_size);
        for (size_t e = 0; e < c.experts; ++e) result[e].down = down[e];
        return result;
    }

  private:
    const uint8_t* byte_data(const std::string& name, const Shape& shape) const {
        const TensorView& view = find(name);
        if (view.type != Type::u8) reject(name, "uint8");
        require_shape(name, view, shape);
        return bytes(view);
    }

    const TensorView& find(const std::string& name) const {
        const auto found = tensors_.find(name);
        if (found == tensors_.end())
            throw std::invalid_argument("the tensor " + name + " is missing");
        return found->second;
    }

    [[noreturn]] static void reject(const std::string& name, const char* type) {
        throw std::invalid_argument("the tensor " + name + " must be " + type);
    }

    const TensorViews& tensors_;
    Weights& weights_;
};

namespace {

LayerWeights read_layer(TensorReader& reader, const Config& c, const std::string& prefix) {
    const std::string attention = prefix + ".self_attn.";
    return {
        .attention_norm = reader.vector(prefix + ".input_layernorm.weight", {c.hidden_size}),
        .query = reader.linear(attention + "q_proj", c.query_width(), c.hidden_size),
        .key = reader.linear(attention + "k_proj", c.key_value_width(), c.hidden_size),
        .value = reader.linear(attention + "v_proj", c.key_value_width(), c.hidden_size),
        .attention_out = reader.linear(attention + "o_proj", c.hidden_size, c.query_width()),
        .sinks = reader.vector(attention + "sinks", {c.attention_heads}),
        .expert_norm = reader.vector(prefix + ".post_attention_layernorm.weight", {c.hidden_size}),
        .router = reader.linear(prefix + ".mlp.router", c.experts, c.hidden_size),
        .experts = reader.all_experts(c, prefix + ".mlp.experts."),
    };
}

}  // namespace

Weights::Weights(const Config& config, const TensorViews& tensors, Precision precision,
                 const Kernels& kernels, ThreadPool& threads) {
    TensorReader reader(tensors, *this);
    embedding =
        reader.matrix("model.embed_tokens.weight", config.vocabulary_size, config.hidden_size);
    for (size_t layer = 0; layer < config.layers(); ++layer)
        layers.push_back(read_layer(reader, config, "model.layers." + std::to_string(layer)));
    final_norm = reader.vector("model.norm.weight", {config.hidden_size});
    head = reader.matrix("lm_head.weight", config.vocabulary_size, config.hidden_size);
    if (precision == Precision::exact) return;
    // Keys, values and head lose more in 4 bits than their bytes are worth (docs/performance.md).
    const Type type = precision == Precision::fast4 ? Type::int4 : Type::q8_0;
    for (size_t i = 0; i < layers.size(); ++i) {
        const std::string attention = "model.layers." + std::to_string(i) + ".self_attn.";
        derive(attention + "q_proj.weight", layers[i].query, type, kernels, threads);
        derive(attention + "k_proj.weight", layers[i].key, Type::q8_0, kernels, threads);
        derive(attention + "v_proj.weight", layers[i].value, Type::q8_0, kernels, threads);
        derive(attention + "o_proj.weight", layers[i].attention_out, type, kernels, threads);
    }
    const Matrix whole_head = head;
    derive("lm_head.weight", head, Type::q8_0, kernels, threads);
    if (config.vocabulary_size < kSearchedVocabulary || head.format != Format::int8) return;
    if (tensors.contains(kSearchedHead)) {
        searched_head = reader.matrix(kSearchedHead, config.vocabulary_size, config.hidden_size);
    } else {
        searched_head = whole_head;
        derive(kSearchedHead, *searched_head, Type::int4, kernels, threads);
    }
}

const float* Weights::keep_floats(const TensorView& view) {
    size_t count = 1;
    for (const size_t size : view.shape) count *= size;
    std::vector<float>& kept = floats_.emplace_back(count);
    const uint8_t* from = bytes(view);
    for (size_t i = 0; i < count; ++i)
        if (view.type == Type::float32)
            std::memcpy(&kept[i], from + i * sizeof(float), sizeof(float));
        else
            kept[i] = reinterpret_cast<const Bf16*>(from)[i].value();
    return kept.data();
}

// Replaces a matrix by one of 8 or 4 bits, unless it has no more already.
void Weights::derive(const std::string& name, Matrix& matrix, Type type, const Kernels& kernels,
                     ThreadPool& threads) {
    const BlockLayout how = layout(type);
    if (matrix.format == how.format || matrix.format == Format::int4 ||
        matrix.format == Format::mxfp4)
        return;
    const Matrix source = matrix;
    const size_t row_bytes = source.blocks() * how.bytes();
    uint8_t* const data =
        derived_.emplace_back(name, type, source.rows, source.inner, source.rows * row_bytes)
            .memory.data();
    const auto encode = type == Type::int4 ? kernels.encode_int4 : kernels.encode_int8;
    const size_t items = (source.rows + kRowsPerItem - 1) / kRowsPerItem;
    std::vector<std::vector<float>> rows(threads.threads(), std::vector<float>(source.inner));
    threads.run(items, source.rows * source.inner, [&](size_t item, size_t worker) {
        std::vector<float>& row = rows[worker];
        const size_t end = std::min((item + 1) * kRowsPerItem, source.rows);
        for (size_t r = item * kRowsPerItem; r < end; ++r) {
            kernels.decode_row(source, r, row.data());
            for (size_t block = 0; block < source.blocks(); ++block) {
                uint8_t* to = data + r * row_bytes + block * how.bytes();
                encode(&row[block * 32], 32, to + how.scale_bytes, to);
            }
        }
    });
    const float* bias = source.bias;
    matrix = blocks(type, data, source.rows, source.inner);
    matrix.bias = bias;
}

}  // namespace motet
