// Rotary position embedding with YaRN scaling.
#pragma once

#include <cstddef>
#include <vector>

#include "model/config.hpp"

namespace motet {

// Fast dimensions turn as in training; slow ones, which would leave the trained range of angles
// in a longer context, turn `rope_scaling_factor` times slower; in between a linear ramp. The
// rotation also multiplies queries and keys by a "concentration", which sharpens attention. Both
// apply to short prompts too.
class Rope {
  public:
    explicit Rope(const Config& config);

    size_t half() const { return frequencies_.size(); }

    // Writes concentration * cos and * sin of position * frequency: half() values each. Kept in
    // float32; the reference implementations round them to bf16.
    void angles(size_t position, float* cosines, float* sines) const;

  private:
    std::vector<float> frequencies_;
    float concentration_;
};

}  // namespace motet
