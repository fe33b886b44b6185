#include "model/model.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <unordered_set>

namespace motet {

namespace {

std::shared_ptr<const Config> validated(Config config) {
    config.validate();
    return std::make_shared<const Config>(std::move(config));
}

std::vector<ReadGuard::Range> ranges(const TensorViews& tensors) {
    std::vector<ReadGuard::Range> result;
    for (const auto& [name, view] : tensors) {
        const auto begin = reinterpret_cast<uintptr_t>(view.data);
        result.push_back({begin, begin + view.bytes});
    }
    return result;
}

std::vector<const void*> addresses(const TensorViews& tensors) {
    std::vector<const void*> result;
    for (const auto& [name, view] : tensors) result.push_back(view.data);
    return result;
}

constexpr size_t kEmbeddedRows = 16;  // that may be in memory with what lies around them

void reject(const std::string& sentence) { throw std::invalid_argument(sentence); }

}  // namespace

Model::Model(Config config, const TensorViews& tensors, Precision precision, size_t threads)
    : config_(validated(std::move(config))),
      kernels_(kernels()),
      precision_(precision),
      threads_(std::clamp<size_t>(threads, 1, 256)),
      guard_(ranges(tensors)),
      weights_(*config_, tensors, precision, kernels_, threads_),
      embedding_memory_(
          weights_.embedding.block_at(0, 0),
          weights_.embedding.rows * weights_.embedding.blocks() * weights_.embedding.value_stride),
      large_pages_(addresses(tensors), embedding_memory_.begin()),
      rope_(*config_),
      cache_(std::make_shared<BlockPool>(
          CacheShape{config_->key_value_heads, config_->head_dim, precision != Precision::exact})) {
    guard_.check();
    const size_t longest =
        std::max({config_->hidden_size, config_->intermediate_size, config_->query_width()});
    work_.product_scratch.assign(threads_.threads(), std::vector<float>(scratch_floats(longest)));
    work_.scratch.resize(threads_.threads());
    if (weights_.searched_head)
        work_.gathered_head.assign(threads_.threads(),
                                   std::vector<uint8_t>(kRefinedAtOnce * weights_.head.blocks() *
                                                        weights_.head.value_stride));
}

void Model::validate(std::span<const StepItem> items) const {
    std::unordered_set<const Sequence*> seen;
    for (const StepItem& item : items) {
        if (!item.sequence) reject("a step needs sequences");
        if (item.sequence->config() != config_) reject("the sequence belongs to another model");
        if (!seen.insert(item.sequence).second) reject("a sequence occurs twice in one step");
        if (item.tokens.empty()) reject("a step needs at least one token of each sequence");
        if (item.logit_rows > item.tokens.size()) reject("more logits wanted than tokens given");
        if (item.sequence->length() + item.tokens.size() > config_->context_length)
            reject("the sequence would grow to " +
                   std::to_string(item.sequence->length() + item.tokens.size()) +
                   " tokens, but the model's context is " +
                   std::to_string(config_->context_length));
        for (const int32_t token : item.tokens)
            if (token < 0 || static_cast<size_t>(token) >= config_->vocabulary_size)
                reject("the token " + std::to_string(token) + " is not in the vocabulary of " +
                       std::to_string(config_->vocabulary_size));
    }
}

void Model::step(std::span<const StepItem> items, float* logits) {
    const std::lock_guard lock(mutex_);
    validate(items);
    guard_.check();
    if (items.empty()) return;
    prepare(items);

    embed();
    for (size_t layer = 0; layer < config_->layers(); ++layer) {
        attention_layer(layer);
        expert_layer(weights_.layers[layer]);
    }
    head(items, logits);
    guard_.check();

    for (const StepItem& item : items) item.sequence->advance(item.tokens.size());
}

// Everything that can run out of memory happens here, before anything is computed.
void Model::prepare(std::span<const StepItem> items) {
    rows_.clear();
    for (const StepItem& item : items) {
        item.sequence->reserve(item.tokens.size());
        for (size_t i = 0; i < item.tokens.size(); ++i)
            rows_.push_back({item.tokens[i], item.sequence, item.sequence->length() + i});
    }
    const Config& c = *config_;
    const size_t rows = rows_.size();
    const size_t grouped = rows * c.experts_per_token;
    const auto grow = [](auto& buffer, size_t size) {
        if (buffer.size() < size) buffer.resize(size);
    };
    grow(work_.hidden, rows * c.hidden_size);
    grow(work_.normed, rows * c.hidden_size);
    grow(work_.cosines, rows * rope_.half());
    grow(work_.sines, rows * rope_.half());
    grow(work_.projected, rows * (c.query_width() + 2 * c.key_value_width()));
    grow(work_.attended, rows * c.query_width());
    grow(work_.routing, rows * c.experts);
    grow(work_.chosen, grouped);
    grow(work_.shares, grouped);
    grow(work_.places, grouped);
    grow(work_.sources, grouped);
    if (fast()) {
        work_.input8.grow(rows * std::max(c.hidden_size, c.query_width()));
        work_.gathered8.grow(grouped * c.hidden_size);
        work_.activated8.grow(grouped * c.intermediate_size);
    } else {
        grow(work_.gathered, grouped * c.hidden_size);
        grow(work_.activated, grouped * c.intermediate_size);
    }
    grow(work_.expert_out, grouped * c.hidden_size);
    for (auto& scratch : work_.scratch) grow(scratch, rows * kMostItemRows);
    groups_.reserve(c.experts);
    if (weights_.searched_head) {
        size_t wanted = 0;
        for (const StepItem& item : items) wanted += item.logit_rows;
        grow(work_.refined, wanted * kMostRefined);
        grow(work_.refined_count, wanted);
    }
}

void Model::QuantisedBuffer::grow(size_t count) {
    if (values.size() >= count) return;
    scales.resize(count / 32);
    corrections.resize(count / 32);
    values.resize(count);  // last: its size says that memory sufficed for all three
}

void Model::embed() {
    const size_t width = config_->hidden_size;
    for (size_t r = 0; r < rows_.size(); ++r) {
        kernels_.decode_row(weights_.embedding, static_cast<size_t>(rows_[r].token),
                            &work_.hidden[r * width]);
        rope_.angles(rows_[r].position, &work_.cosines[r * rope_.half()],
                     &work_.sines[r * rope_.half()]);
        // A row may have brought two megabytes around it into this process's memory.
        if (++embedded_ % kEmbeddedRows == 0) embedding_memory_.give_back();
    }
}

// normed = RMSNorm(hidden), and in the fast mode the same in 8 bits in that order.
void Model::normalise(const float* scale, Order order) {
    const size_t width = config_->hidden_size;
    threads_.run(rows_.size(), rows_.size() * width, [&](size_t row, size_t) {
        kernels_.rms_norm(&work_.hidden[row * width], scale, width, config_->rms_norm_eps,
                          &work_.normed[row * width]);
        if (fast())
            kernels_.quantise(&work_.normed[row * width], 1, order,
                              work_.input8.rows(width).from(row));
    });
}

// How many of the `rows` of a phase make an item: some for every thread, but long ones, since
// memory is read fastest without interruption.
size_t Model::item_rows(size_t rows) const {
    const size_t units = rows / threads_.threads() / 8 / kItemRowsUnit;
    return std::clamp(units * kItemRowsUnit, kItemRowsUnit, kMostItemRows);
}

// Several matrices times the same rows, cut into items of output rows.
void Model::multiply(std::initializer_list<Product> products, const Inputs& x, size_t tokens) {
    struct Piece {
        const Product* product;
        RowRange range;
    };
    std::vector<Piece> pieces;
    size_t work = 0, all_rows = 0;
    for (const Product& product : products) all_rows += product.matrix->rows;
    const size_t at_once = item_rows(all_rows);
    for (const Product& product : products) {
        const size_t rows = product.matrix->rows;
        for (size_t begin = 0; begin < rows; begin += at_once)
            pieces.push_back({&product, {begin, std::min(begin + at_once, rows)}});
        work += rows * product.matrix->inner * tokens;
    }
    threads_.run(pieces.size(), work, [&](size_t item, size_t worker) {
        const auto& [product, range] = pieces[item];
        Output out = product->out;
        out.data += range.begin;
        multiply_rows(*product->matrix, range, x, tokens, out, worker);
    });
}

void Model::multiply_rows(const Matrix& matrix, RowRange range, const Inputs& x, size_t tokens,
                          Output out, size_t worker) {
    float* scratch = work_.product_scratch[worker].data();
    if (fast() && matrix.few_bits())
        kernels_.multiply_fast(matrix, range, x.quantised, tokens, out, scratch);
    else
        kernels_.multiply_exact(matrix, range, x.values, tokens, out, scratch);
}

}  // namespace motet
