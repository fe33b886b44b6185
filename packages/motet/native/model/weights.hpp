// The released tensors, checked and named by what they do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/config.hpp"

namespace motet {

// A tensor in memory that somebody else keeps alive.
struct TensorView {
    enum class Type { bf16, u8 };
    Type type;
    std::vector<size_t> shape;
    const void* data;
};

using TensorViews = std::unordered_map<std::string, TensorView>;  // by Hugging Face name

struct LayerWeights {
    const Bf16* attention_norm;  // [hidden]
    Bf16Matrix query, key, value, attention_out;
    const Bf16* sinks;                 // [attention_heads]
    const Bf16* expert_norm;           // [hidden]
    Bf16Matrix router;                 // [experts, hidden]
    std::vector<Mxfp4Matrix> gate_up;  // by expert: [2 * intermediate, hidden], interleaved rows
    std::vector<Mxfp4Matrix> down;     // by expert: [hidden, intermediate]
};

struct Weights {
    const Bf16* embedding;  // [vocabulary, hidden]
    std::vector<LayerWeights> layers;
    const Bf16* final_norm;  // [hidden]
    Bf16Matrix head;         // [vocabulary, hidden]

    // Throws std::invalid_argument naming a tensor that is missing or of the wrong type or shape.
    Weights(const Config& config, const TensorViews& tensors);
};

}  // namespace motet
