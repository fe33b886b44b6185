// The dimensions of a gpt-oss model.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/kernels.hpp"

namespace motet {

// What a layer sees: everything before, or the last `sliding_window` positions.
enum class LayerKind { full, sliding };

struct Config {
    size_t hidden_size = 0;
    size_t intermediate_size = 0;
    size_t experts = 0;
    size_t experts_per_token = 0;
    size_t attention_heads = 0;
    size_t key_value_heads = 0;
    size_t head_dim = 0;
    size_t vocabulary_size = 0;
    size_t sliding_window = 0;
    size_t context_length = 0;
    std::vector<bool> sliding;  // by layer: does it see only the last `sliding_window` positions?

    double rope_theta = 0;
    double rope_scaling_factor = 0;
    double rope_beta_slow = 0;
    double rope_beta_fast = 0;
    double initial_context_length = 0;
    float swiglu_limit = 0;
    float rms_norm_eps = 0;

    size_t layers() const { return sliding.size(); }
    LayerKind kind(size_t layer) const {
        return sliding[layer] ? LayerKind::sliding : LayerKind::full;
    }
    size_t layers_of(LayerKind kind) const {
        return static_cast<size_t>(std::ranges::count(sliding, kind == LayerKind::sliding));
    }
    size_t query_width() const { return attention_heads * head_dim; }
    size_t key_value_width() const { return key_value_heads * head_dim; }
    size_t group() const { return attention_heads / key_value_heads; }

    // Throws std::invalid_argument naming the field that cannot be.
    void validate() const;
};

}  // namespace motet
