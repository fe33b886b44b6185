#include "model/rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace motet {

namespace {

// The dimension (of half of head_dim) that makes `turns` turns within the original context.
double dimension_turning(double turns, const Config& config) {
    return static_cast<double>(config.head_dim) / 2 *
           std::log(config.initial_context_length / (turns * 2 * std::numbers::pi)) /
           std::log(config.rope_theta);
}

}  // namespace

Rope::Rope(const Config& config) {
    const double factor = config.rope_scaling_factor;
    const double low = std::max(0.0, dimension_turning(config.rope_beta_fast, config));
    double high = std::min(static_cast<double>(config.head_dim) - 1,
                           dimension_turning(config.rope_beta_slow, config));
    if (low == high) high += 0.001;

    for (size_t i = 0; i < config.head_dim / 2; ++i) {
        const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
        const double frequency = std::pow(config.rope_theta, -exponent);
        const double slow = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
        frequencies_.push_back(
            static_cast<float>(frequency / factor * slow + frequency * (1 - slow)));
    }
    concentration_ = factor > 1 ? static_cast<float>(0.1 * std::log(factor) + 1) : 1.0f;
}

void Rope::angles(size_t position, float* cosines, float* sines) const {
    for (size_t i = 0; i < half(); ++i) {
        const float angle = static_cast<float>(position) * frequencies_[i];
        cosines[i] = concentration_ * std::cos(angle);
        sines[i] = concentration_ * std::sin(angle);
    }
}

}  // namespace motet
