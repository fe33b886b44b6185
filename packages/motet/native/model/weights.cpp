#include "model/weights.hpp"

#include <stdexcept>

namespace motet {

namespace {

using Shape = std::vector<size_t>;

std::string text(const Shape& shape) {
    std::string result = "[";
    for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
    return result + "]";
}

class Reader {
  public:
    explicit Reader(const TensorViews& tensors) : tensors_(tensors) {}

    const Bf16* bf16(const std::string& name, const Shape& shape) const {
        return static_cast<const Bf16*>(find(name, TensorView::Type::bf16, shape));
    }

    Bf16Matrix linear(const std::string& name, size_t rows, size_t inner) const {
        return {bf16(name + ".weight", {rows, inner}), bf16(name + ".bias", {rows}), rows, inner};
    }

    std::vector<Mxfp4Matrix> experts(const std::string& name, size_t count, size_t rows,
                                     size_t inner) const {
        const size_t per_row = inner / 32;
        const auto* blocks = u8(name + "_blocks", {count, rows, per_row, 16});
        const auto* scales = u8(name + "_scales", {count, rows, per_row});
        const auto* biases = bf16(name + "_bias", {count, rows});
        std::vector<Mxfp4Matrix> matrices;
        for (size_t e = 0; e < count; ++e)
            matrices.push_back({blocks + e * rows * per_row * 16, scales + e * rows * per_row,
                                biases + e * rows, rows, inner});
        return matrices;
    }

  private:
    const uint8_t* u8(const std::string& name, const Shape& shape) const {
        return static_cast<const uint8_t*>(find(name, TensorView::Type::u8, shape));
    }

    const void* find(const std::string& name, TensorView::Type type, const Shape& shape) const {
        const auto found = tensors_.find(name);
        if (found == tensors_.end())
            throw std::invalid_argument("the tensor " + name + " is missing");
        if (found->second.type != type)
            throw std::invalid_argument("the tensor " + name + " must be " +
                                        (type == TensorView::Type::bf16 ? "bf16" : "uint8"));
        if (found->second.shape != shape)
            throw std::invalid_argument("the tensor " + name + " has shape " +
                                        text(found->second.shape) + ", but the config needs " +
                                        text(shape));
        return found->second.data;
    }

    const TensorViews& tensors_;
};

LayerWeights read_layer(const Reader& reader, const Config& c, const std::string& prefix) {
    const std::string attention = prefix + ".self_attn.";
    const std::string experts = prefix + ".mlp.experts.";
    return {
        .attention_norm = reader.bf16(prefix + ".input_layernorm.weight", {c.hidden_size}),
        .query = reader.linear(attention + "q_proj", c.query_width(), c.hidden_size),
        .key = reader.linear(attention + "k_proj", c.key_value_width(), c.hidden_size),
        .value = reader.linear(attention + "v_proj", c.key_value_width(), c.hidden_size),
        .attention_out = reader.linear(attention + "o_proj", c.hidden_size, c.query_width()),
        .sinks = reader.bf16(attention + "sinks", {c.attention_heads}),
        .expert_norm = reader.bf16(prefix + ".post_attention_layernorm.weight", {c.hidden_size}),
        .router = reader.linear(prefix + ".mlp.router", c.experts, c.hidden_size),
        .gate_up = reader.experts(experts + "gate_up_proj", c.experts, 2 * c.intermediate_size,
                                  c.hidden_size),
        .down =
            reader.experts(experts + "down_proj", c.experts, c.hidden_size, c.intermediate_size),
    };
}

}  // namespace

Weights::Weights(const Config& config, const TensorViews& tensors) {
    const Reader reader(tensors);
    embedding =
        reader.bf16("model.embed_tokens.weight", {config.vocabulary_size, config.hidden_size});
    for (size_t layer = 0; layer < config.layers(); ++layer)
        layers.push_back(read_layer(reader, config, "model.layers." + std::to_string(layer)));
    final_norm = reader.bf16("model.norm.weight", {config.hidden_size});
    head = {reader.bf16("lm_head.weight", {config.vocabulary_size, config.hidden_size}), nullptr,
            config.vocabulary_size, config.hidden_size};
}

}  // namespace motet
