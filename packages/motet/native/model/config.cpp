#include "model/config.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace motet {

namespace {

void require(bool condition, const std::string& sentence) {
    if (!condition) throw std::invalid_argument(sentence);
}

// Bounds every size, so that no product of them can overflow.
void require_size(const char* name, size_t value, size_t maximum) {
    require(value >= 1 && value <= maximum, std::string(name) + " is " + std::to_string(value) +
                                                ", but must be 1 to " + std::to_string(maximum));
}

void require_blocks(const char* name, size_t value) {
    require(value % 32 == 0,
            std::string(name) + " is " + std::to_string(value) + ", but must be a multiple of 32");
}

void require_positive(const char* name, double value) {
    require(std::isfinite(value) && value > 0, std::string(name) + " must be a positive number");
}

}  // namespace

void Config::validate() const {
    require_size("the number of layers", layers(), 4096);
    require_size("hidden_size", hidden_size, 1 << 20);
    require_size("intermediate_size", intermediate_size, 1 << 20);
    require_size("experts", experts, 1 << 16);
    require_size("experts_per_token", experts_per_token, experts);
    require_size("attention_heads", attention_heads, 1 << 14);
    require_size("key_value_heads", key_value_heads, attention_heads);
    require_size("head_dim", head_dim, kMaximumHeadDim);
    require_size("vocabulary_size", vocabulary_size, 1 << 24);
    require_size("sliding_window", sliding_window, size_t{1} << 32);
    require_size("context_length", context_length, size_t{1} << 31);
    require_blocks("hidden_size", hidden_size);
    require_blocks("intermediate_size", intermediate_size);
    require_blocks("attention_heads * head_dim", query_width());
    require(head_dim % 2 == 0, "head_dim must be even");
    require(attention_heads % key_value_heads == 0,
            "attention_heads must be a multiple of key_value_heads");
    require(std::isfinite(rope_theta) && rope_theta > 1, "rope_theta must be a number above 1");
    require_positive("rope_scaling_factor", rope_scaling_factor);
    require_positive("rope_beta_slow", rope_beta_slow);
    require_positive("rope_beta_fast", rope_beta_fast);
    require_positive("initial_context_length", initial_context_length);
    require_positive("swiglu_limit", swiglu_limit);
    require_positive("rms_norm_eps", rms_norm_eps);
}

}  // namespace motet
