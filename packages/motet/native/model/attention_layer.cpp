// hidden += W_out attention(RMSNorm(hidden)) + b_out.
#include <algorithm>
#include <cmath>
#include <functional>

#include "model/model.hpp"

namespace motet {

void Model::attention_layer(size_t layer) {
    const LayerWeights& weights = weights_.layers[layer];
    const size_t query = config_->query_width();
    const size_t key_value = config_->key_value_width();
    const size_t stride = query + 2 * key_value;
    float* projected = work_.projected.data();

    normalise(weights.attention_norm, Order::natural);
    multiply({{&weights.query, {projected, stride}},
              {&weights.key, {projected + query, stride}},
              {&weights.value, {projected + query + key_value, stride}}},
             {work_.normed.data(), work_.input8.rows(config_->hidden_size)}, rows_.size());
    rotate_and_store(layer);
    attend(layer);
    if (fast())
        threads_.run(rows_.size(), rows_.size() * query, [&](size_t row, size_t) {
            kernels_.quantise(&work_.attended[row * query], 1, Order::natural,
                              work_.input8.rows(query).from(row));
        });
    multiply({{&weights.attention_out, {work_.hidden.data(), config_->hidden_size, true}}},
             {work_.attended.data(), work_.input8.rows(query)}, rows_.size());
}

namespace {

// One head's keys and values at a position of a block.
template <class Element, class Convert>
void keep(const CacheShape& shape, uint8_t* block, size_t head, size_t position, const float* keys,
          const float* values, const Convert& convert) {
    auto* elements = reinterpret_cast<Element*>(block);
    Element* kept_keys = elements + shape.keys_offset(head) + position;
    Element* kept_values = elements + shape.values_offset(head) + position * shape.value_stride();
    for (size_t d = 0; d < shape.head_dim; ++d) {
        kept_keys[d * kBlockPositions] = convert(keys[d]);
        kept_values[d] = convert(values[d]);
    }
}

}  // namespace

// Rotates queries and keys to their positions and puts keys and values into the cache.
void Model::rotate_and_store(size_t layer) {
    const Config& c = *config_;
    const CacheShape& shape = cache_->shape();
    const size_t stride = c.query_width() + 2 * c.key_value_width();
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));

    threads_.run(rows_.size(), rows_.size() * stride * 2, [&](size_t r, size_t) {
        const Row& row = rows_[r];
        float* queries = &work_.projected[r * stride];
        float* keys = queries + c.query_width();
        const float* values = keys + c.key_value_width();
        const float* cosines = &work_.cosines[r * rope_.half()];
        const float* sines = &work_.sines[r * rope_.half()];

        for (size_t h = 0; h < c.attention_heads; ++h)
            kernels_.rotate(queries + h * c.head_dim, cosines, sines, rope_.half());
        for (size_t i = 0; i < c.query_width(); ++i) queries[i] *= scale;

        uint8_t* block = row.sequence->blocks(layer)[row.position / kBlockPositions];
        const size_t position = row.position % kBlockPositions;
        for (size_t h = 0; h < c.key_value_heads; ++h) {
            float* key = keys + h * c.head_dim;
            const float* value = values + h * c.head_dim;
            kernels_.rotate(key, cosines, sines, rope_.half());
            if (shape.bf16)
                keep<Bf16>(shape, block, h, position, key, value,
                           [](float number) { return Bf16::of(number); });
            else
                keep<float>(shape, block, h, position, key, value, std::identity());
        }
    });
}

// Every row looks back at its own sequence. In sliding layers the window includes the row itself.
void Model::attend(size_t layer) {
    const Config& c = *config_;
    const size_t stride = c.query_width() + 2 * c.key_value_width();
    const auto first_seen = [&](const Row& row) -> size_t {
        if (!c.sliding[layer] || row.position < c.sliding_window) return 0;
        return row.position + 1 - c.sliding_window;
    };
    size_t work = 0;
    for (const Row& row : rows_) work += (row.position + 1 - first_seen(row)) * c.query_width() * 2;

    threads_.run(rows_.size() * c.key_value_heads, work, [&](size_t item, size_t) {
        const size_t r = item / c.key_value_heads;
        const size_t head = item % c.key_value_heads;
        const Row& row = rows_[r];
        const size_t offset = head * c.group() * c.head_dim;
        kernels_.attention({
            .queries = &work_.projected[r * stride + offset],
            .sinks = weights_.layers[layer].sinks + head * c.group(),
            .heads = c.group(),
            .shape = cache_->shape(),
            .key_value_head = head,
            .blocks = row.sequence->blocks(layer),
            .first = first_seen(row),
            .last = row.position,
            .out = &work_.attended[r * c.query_width() + offset],
        });
    });
}

}  // namespace motet
