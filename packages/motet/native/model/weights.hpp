// The tensors of a checkpoint, checked and named by what they do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/config.hpp"
#include "model/memory.hpp"
#include "model/thread_pool.hpp"

namespace motet {

// From so many tokens on a vocabulary's logits are searched in 4 bits.
constexpr size_t kSearchedVocabulary = 32'768;

// A tensor in memory that somebody else keeps alive.
struct TensorView {
    // Numbers one by one, or blocks of 32 with their scale: GGUF's 32 signed bytes behind a float16
    // and MXFP4 behind a byte, with the nibbles in either order; our own four bits behind a
    // float16.
    enum class Type { bf16, u8, float16, float32, q8_0, int4, mxfp4, mxfp4_pairs };
    Type type;
    std::vector<size_t> shape;  // of the array: bytes in the last dimension, for blocks
    const void* data;
    size_t bytes;
};

using TensorViews = std::unordered_map<std::string, TensorView>;  // by Hugging Face name

// How a model computes.
enum class Precision {
    exact,  // float32 on the weights of the file
    fast,   // activations of 8 bits; dense matrices in 8 bits, derived when the model is loaded
    fast4,  // the same with queries' and outputs' matrices in 4 bits
};

struct Expert {
    // Either one matrix [2 * intermediate, hidden] whose rows alternate between gate and linear,
    // or one matrix [intermediate, hidden] for each.
    std::vector<Matrix> gate_up;
    Matrix down;  // [hidden, intermediate]
};

struct LayerWeights {
    const float* attention_norm;  // [hidden]
    Matrix query, key, value, attention_out;
    const float* sinks;        // [attention_heads]
    const float* expert_norm;  // [hidden]
    Matrix router;             // [experts, hidden], never derived: it decides more than it weighs
    std::vector<Expert> experts;
};

// A matrix [rows, inner] of fewer bits than the file's, in blocks of 32 with their scale.
struct DerivedMatrix {
    std::string name;  // of the tensor it stands for, or that of the head to search
    TensorView::Type type;
    size_t rows;
    size_t inner;
    LargeBuffer memory;

    DerivedMatrix(std::string name, TensorView::Type type, size_t rows, size_t inner, size_t bytes)
        : name(std::move(name)), type(type), rows(rows), inner(inner), memory(bytes) {}
};

class Weights {
  public:
    Matrix embedding;  // [vocabulary, hidden]
    std::vector<LayerWeights> layers;
    const float* final_norm;  // [hidden]
    Matrix head;              // [vocabulary, hidden]
    // The same in 4 bits, in the fast modes and for a vocabulary of some size: see head.cpp.
    std::optional<Matrix> searched_head;

    // Throws std::invalid_argument naming a tensor that is missing or of the wrong type or shape.
    Weights(const Config& config, const TensorViews& tensors, Precision precision,
            const Kernels& kernels, ThreadPool& threads);

    const std::deque<DerivedMatrix>& derived() const { return derived_; }

  private:
    const float* keep_floats(const TensorView& view);
    void derive(const std::string& name, Matrix& matrix, TensorView::Type type,
                const Kernels& kernels, ThreadPool& threads);

    friend class TensorReader;
    std::deque<std::vector<float>> floats_;  // vectors of the model, as float32
    std::deque<DerivedMatrix> derived_;
};

}  // namespace motet
