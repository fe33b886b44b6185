// The gpt-oss forward pass over a batch of sequences.
//
// A step takes new tokens of any number of sequences: a whole prompt, a chunk of one, or the one
// token sampled last. All tokens of the step go through each layer together, as the rows of one
// matrix; only attention asks which sequence and position a row belongs to. Read model.cpp first,
// then attention_layer.cpp, expert_layer.cpp and head.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/config.hpp"
#include "model/large_pages.hpp"
#include "model/memory.hpp"
#include "model/read_guard.hpp"
#include "model/rope.hpp"
#include "model/sequence.hpp"
#include "model/thread_pool.hpp"
#include "model/weights.hpp"

namespace motet {

// Output rows of a matrix that are one item of work for a thread, at most, and what their number is
// a multiple of: in experts, whose gate and linear rows become activations, whole blocks of the
// next product's inputs.
constexpr size_t kMostItemRows = 256, kItemRowsUnit = 64;
static_assert(kMostItemRows % kItemRowsUnit == 0);

// How many logits of a token are computed again where the head is searched: see head.cpp.
constexpr size_t kRefined = 4096, kMostRefined = kRefined + kRefined / 4;
constexpr size_t kRefinedAtOnce = 128;

struct StepItem {
    Sequence* sequence;
    std::span<const int32_t> tokens;
    size_t logit_rows;  // logits are wanted after the last so many of the tokens
};

class Model {
  public:
    // The tensors' memory must outlive the model. Throws std::invalid_argument,
    // UnreadableWeightsError.
    Model(Config config, const TensorViews& tensors, Precision precision, size_t threads);

    const std::shared_ptr<const Config>& config() const { return config_; }
    size_t threads() const { return threads_.threads(); }
    const char* instruction_set() const { return kernels_.name; }
    const std::deque<DerivedMatrix>& derived() const { return weights_.derived(); }
    // Memory held by all pages of keys and values, in sequences or kept by others.
    size_t cache_bytes() const { return cache_->bytes(); }
    // Memory of one page, 64 positions, of the layers of a kind.
    size_t page_bytes(LayerKind kind) const {
        return config_->layers_of(kind) * cache_->shape().block_bytes();
    }

    std::shared_ptr<Sequence> sequence() const {
        return std::make_shared<Sequence>(config_, cache_);
    }

    // Throws std::invalid_argument if a step cannot be: nothing has changed then.
    void validate(std::span<const StepItem> items) const;

    // Appends the tokens to their sequences and writes logits [sum of logit_rows, vocabulary] in
    // the order of the items. One step at a time; further callers wait. If memory runs out
    // (std::bad_alloc) or weights cannot be read (UnreadableWeightsError, from then on always), the
    // sequences are as before.
    void step(std::span<const StepItem> items, float* logits);

    // Makes steps faster if mapped weights lie in small pages of memory, and takes some
    // milliseconds for a part of it: call it while nobody waits, until it returns that nothing is
    // left to do.
    bool bring_large_pages() { return large_pages_.bring(); }

  private:
    // One row of the step: a token, where it stands, and what is known of its position.
    struct Row {
        int32_t token;
        Sequence* sequence;
        size_t position;
    };

    // Memory of QuantisedRows.
    struct QuantisedBuffer {
        std::vector<int8_t> values;
        std::vector<float> scales;
        std::vector<int32_t> corrections;

        void grow(size_t count);
        QuantisedRows rows(size_t inner) {
            return {values.data(), scales.data(), corrections.data(), inner};
        }
    };

    // Buffers of a step; they grow to the largest step seen and are kept.
    struct Workspace {
        std::vector<float> hidden;      // [rows, hidden] the residual stream
        std::vector<float> normed;      // [rows, hidden]
        std::vector<float> cosines;     // [rows, head_dim / 2]
        std::vector<float> sines;       // [rows, head_dim / 2]
        std::vector<float> projected;   // [rows, query + key + value width]
        std::vector<float> attended;    // [rows, query width]
        std::vector<float> routing;     // [rows, experts] router logits
        std::vector<uint32_t> chosen;   // [rows, experts_per_token] expert numbers
        std::vector<float> shares;      // [rows, experts_per_token] their weights
        std::vector<size_t> places;     // [rows, experts_per_token] index into the grouped rows
        std::vector<size_t> sources;    // [grouped rows] the row each came from
        std::vector<float> gathered;    // [grouped rows, hidden] inputs in the weights' order
        std::vector<float> activated;   // [grouped rows, intermediate] in the weights' order
        std::vector<float> expert_out;  // [grouped rows, hidden]
        // The same rounded to 8 bits, in the fast mode: the current input of a product by row,
        // and of the experts by grouped row.
        QuantisedBuffer input8, gathered8, activated8;
        // By worker: of products with the longest inner dimension, and see expert_layer.cpp.
        std::vector<std::vector<float>> product_scratch, scratch;
        // Where the head is searched: vocabulary places by row, and by worker rows of the head.
        std::vector<uint32_t> refined;      // [wanted rows, kMostRefined]
        std::vector<size_t> refined_count;  // [wanted rows]
        std::vector<std::vector<uint8_t>> gathered_head;
    };

    // Grouped rows `begin`..`end` go to one expert.
    struct Group {
        size_t expert;
        size_t begin;
        size_t end;
        size_t size() const { return end - begin; }
    };

    struct Product {
        const Matrix* matrix;
        Output out;
    };

    // What a product is taken of: rows in float32 and, in the fast mode, in 8 bits.
    struct Inputs {
        const float* values;
        QuantisedRows quantised;
    };

    void prepare(std::span<const StepItem> items);
    void embed();
    void attention_layer(size_t layer);
    void expert_layer(const LayerWeights& weights);
    void head(std::span<const StepItem> items, float* logits);
    void refine(float* logits, size_t rows);
    void refine_places(float* logits, size_t row, std::span<const uint32_t> places, size_t worker);

    bool fast() const { return precision_ != Precision::exact; }
    void normalise(const float* scale, Order order);
    size_t item_rows(size_t rows) const;
    void multiply(std::initializer_list<Product> products, const Inputs& x, size_t tokens);
    void multiply_rows(const Matrix& matrix, RowRange range, const Inputs& x, size_t tokens,
                       Output out, size_t worker);
    void rotate_and_store(size_t layer);
    void attend(size_t layer);
    void route(const LayerWeights& weights);
    void group_rows(Order order);
    void gather(size_t place, Order order);
    void run_experts(const LayerWeights& weights);
    void activate(const Expert& expert, const Group& group, RowRange range, size_t worker);
    void combine_experts();

    std::shared_ptr<const Config> config_;
    const Kernels& kernels_;
    const Precision precision_;
    ThreadPool threads_;
    const ReadGuard guard_;
    Weights weights_;
    const SparseMemory embedding_memory_;
    LargePages large_pages_;
    size_t embedded_ = 0;  // rows so far
    Rope rope_;
    std::shared_ptr<BlockPool> cache_;
    std::mutex mutex_;

    std::vector<Row> rows_;
    std::vector<Group> groups_;
    Workspace work_;
};

}  // namespace motet
