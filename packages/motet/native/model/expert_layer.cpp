// hidden += sum over the chosen experts of share * expert(RMSNorm(hidden)).
//
// The router picks the experts with the largest logits first and takes the softmax over those
// alone. Rows are then grouped by expert, so that an expert's weights are read once for all its
// rows. Every (row, expert) pair is computed on its own and a row's experts are summed in the
// order the router ranked them: who else is in the batch cannot change a result.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/model.hpp"

namespace motet {

namespace {

// The `count` largest of the logits, best first (the lower number on ties), and their softmax.
void choose_experts(const float* logits, size_t experts, size_t count, uint32_t* chosen,
                    float* shares) {
    for (size_t k = 0; k < count; ++k) {
        size_t best = experts;
        for (size_t e = 0; e < experts; ++e) {
            const bool taken = std::find(chosen, chosen + k, e) != chosen + k;
            if (!taken && (best == experts || logits[e] > logits[best])) best = e;
        }
        chosen[k] = static_cast<uint32_t>(best);
        shares[k] = logits[best];
    }
    const float peak = shares[0];
    float total = 0;
    for (size_t k = 0; k < count; ++k) total += shares[k] = std::exp(shares[k] - peak);
    for (size_t k = 0; k < count; ++k) shares[k] /= total;
}

}  // namespace

void Model::expert_layer(const LayerWeights& weights) {
    const Order order = weights.experts.front().gate_up.front().order;
    normalise(weights.expert_norm, order);
    route(weights);
    group_rows(order);
    run_experts(weights);
    combine_experts();
}

void Model::route(const LayerWeights& weights) {
    const size_t experts = config_->experts;
    const size_t count = config_->experts_per_token;
    multiply({{&weights.router, {work_.routing.data(), experts}}}, {work_.normed.data(), {}},
             rows_.size());
    for (size_t r = 0; r < rows_.size(); ++r)
        choose_experts(&work_.routing[r * experts], experts, count, &work_.chosen[r * count],
                       &work_.shares[r * count]);
}

// Sorts the (row, expert) pairs by expert and gathers the experts' inputs in that order.
void Model::group_rows(Order order) {
    const Config& c = *config_;
    const size_t pairs = rows_.size() * c.experts_per_token;
    groups_.clear();
    size_t place = 0;
    for (size_t e = 0; e < c.experts; ++e) {
        const size_t begin = place;
        for (size_t pair = 0; pair < pairs; ++pair) {
            if (work_.chosen[pair] != e) continue;
            work_.places[pair] = place;
            work_.sources[place++] = pair / c.experts_per_token;
        }
        if (place > begin) groups_.push_back({e, begin, place});
    }
    threads_.run(pairs, pairs * c.hidden_size, [&](size_t p, size_t) { gather(p, order); });
}

void Model::gather(size_t place, Order order) {
    const size_t width = config_->hidden_size;
    const size_t row = work_.sources[place];
    if (!fast()) {
        kernels_.arrange(&work_.normed[row * width], width, order, &work_.gathered[place * width]);
        return;
    }
    const QuantisedRows from = work_.input8.rows(width).from(row);
    const QuantisedRows to = work_.gathered8.rows(width).from(place);
    std::copy_n(from.values, width, to.values);
    std::copy_n(from.scales, width / 32, to.scales);
    std::copy_n(from.corrections, width / 32, to.corrections);
}

void Model::run_experts(const LayerWeights& weights) {
    const Config& c = *config_;
    const size_t pairs = rows_.size() * c.experts_per_token;
    // Cuts `rows` of every group's expert into items, and runs them.
    const auto run = [&](size_t rows, size_t work, const auto& item) {
        const size_t at_once = item_rows(groups_.size() * rows);
        const size_t pieces = (rows + at_once - 1) / at_once;
        threads_.run(groups_.size() * pieces, work, [&](size_t number, size_t worker) {
            const size_t begin = number % pieces * at_once;
            item(groups_[number / pieces], RowRange{begin, std::min(begin + at_once, rows)},
                 worker);
        });
    };
    run(2 * c.intermediate_size, pairs * 2 * c.intermediate_size * c.hidden_size,
        [&](const Group& group, RowRange range, size_t worker) {
            activate(weights.experts[group.expert], group, range, worker);
        });
    run(c.hidden_size, pairs * c.intermediate_size * c.hidden_size,
        [&](const Group& group, RowRange range, size_t worker) {
            const Inputs x = {
                work_.activated.data() + (fast() ? 0 : group.begin * c.intermediate_size),
                work_.activated8.rows(c.intermediate_size).from(group.begin)};
            multiply_rows(
                weights.experts[group.expert].down, range, x, group.size(),
                {&work_.expert_out[group.begin * c.hidden_size + range.begin], c.hidden_size},
                worker);
        });
}

// The activations of one group's rows that come of a range of gate and linear rows.
void Model::activate(const Expert& expert, const Group& group, RowRange range, size_t worker) {
    const Config& c = *config_;
    const size_t begin = range.begin / 2, count = range.size() / 2;
    float* gate_up = work_.scratch[worker].data();
    const Inputs x = {work_.gathered.data() + (fast() ? 0 : group.begin * c.hidden_size),
                      work_.gathered8.rows(c.hidden_size).from(group.begin)};
    const size_t parts = expert.gate_up.size();  // 1: gate and linear rows alternate; 2: apart
    // Every second item takes them the other way round and goes on where the last one was.
    const size_t first_part = begin / count % parts;
    for (size_t i = 0; i < parts; ++i) {
        const size_t part = (first_part + i) % parts;
        const size_t rows = 2 * count / parts;
        const size_t first = begin * 2 / parts;
        multiply_rows(expert.gate_up[part], {first, first + rows}, x, group.size(),
                      {gate_up + part * rows, 2 * count}, worker);
    }
    const size_t to_linear = parts == 1 ? 1 : count, step = parts == 1 ? 2 : 1;
    for (size_t i = 0; i < group.size(); ++i) {
        float activated[kMostItemRows / 2];
        const float* gate = gate_up + i * 2 * count;
        kernels_.swiglu(gate, gate + to_linear, step, count, c.swiglu_limit, activated);
        if (fast()) {
            QuantisedRows to = work_.activated8.rows(c.intermediate_size).from(group.begin + i);
            to.values += begin;
            to.scales += begin / 32;
            to.corrections += begin / 32;
            to.inner = count;
            kernels_.quantise(activated, 1, expert.down.order, to);
        } else {
            kernels_.arrange(activated, count, expert.down.order,
                             &work_.activated[(group.begin + i) * c.intermediate_size + begin]);
        }
    }
}

void Model::combine_experts() {
    const size_t width = config_->hidden_size;
    const size_t count = config_->experts_per_token;
    threads_.run(rows_.size(), rows_.size() * count * width, [&](size_t r, size_t) {
        float* hidden = &work_.hidden[r * width];
        for (size_t k = 0; k < count; ++k) {
            const float share = work_.shares[r * count + k];
            const float* out = &work_.expert_out[work_.places[r * count + k] * width];
            for (size_t i = 0; i < width; ++i) hidden[i] += share * out[i];
        }
    });
}

}  // namespace motet
