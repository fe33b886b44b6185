// Attention of one token's query heads over the cached positions they may see.
//
// Softmax runs online over blocks of 64 positions, so scratch memory does not grow with the
// context. Each head has a learnt sink: a score without position or value, which takes its share
// of the softmax and gives nothing. The running softmax therefore simply starts at the sink, with
// peak = sink and total = e^0. Blocks are aligned to absolute positions: the order of all sums
// depends on the token's position alone, not on how its prompt was cut into chunks.
#include "kernels/simd.hpp"

namespace motet::MOTET_ISA {

namespace {

constexpr float kMinusInfinity = -__builtin_inff();

// The running state of `Heads` query heads that read the same keys and values.
template <int Heads>
struct Softmax {
    float peak[Heads];
    float total[Heads];
    alignas(64) float weights[Heads][kBlockPositions];
    alignas(64) float mixed[Heads][kMaximumHeadDim];
};

// Scores of `Vectors * kLanes` positions from number i.
template <int Heads, int Vectors>
inline void score_some(Softmax<Heads>& state, const float* queries, size_t head_dim,
                       const float* keys, size_t i) {
    Floats scores[Heads][Vectors] = {};
    for (size_t d = 0; d < head_dim; ++d)
        for (int v = 0; v < Vectors; ++v) {
            const Floats key = load_floats(keys + d * kBlockPositions + i + v * kLanes);
            for (int h = 0; h < Heads; ++h)
                scores[h][v] = fma(broadcast(queries[h * head_dim + d]), key, scores[h][v]);
        }
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v) store(state.weights[h] + i + v * kLanes, scores[h][v]);
}

// Scores of the positions begin..end of a block; everything outside is minus infinity.
template <int Heads>
inline void score(Softmax<Heads>& state, const float* queries, size_t head_dim, const float* keys,
                  size_t begin, size_t end) {
    size_t i = begin / kLanes * kLanes;
    for (; i + kLanes < end; i += 2 * kLanes)
        score_some<Heads, 2>(state, queries, head_dim, keys, i);
    if (i < end) score_some<Heads, 1>(state, queries, head_dim, keys, i);
    for (int h = 0; h < Heads; ++h) {
        for (size_t j = 0; j < begin; ++j) state.weights[h][j] = kMinusInfinity;
        for (size_t j = end; j < kBlockPositions; ++j) state.weights[h][j] = kMinusInfinity;
    }
}

// Turns scores into weights relative to the new peak and rescales what was gathered before.
template <int Heads>
inline void weigh(Softmax<Heads>& state, size_t stride, size_t begin, size_t end) {
    for (int h = 0; h < Heads; ++h) {
        float* weights = state.weights[h];
        Floats best = load_floats(weights);
        for (size_t i = kLanes; i < kBlockPositions; i += kLanes)
            best = maximum(best, load_floats(weights + i));
        const float block_peak = largest(best);
        const float peak = block_peak > state.peak[h] ? block_peak : state.peak[h];

        for (size_t i = 0; i < kBlockPositions; i += kLanes)
            store(weights + i, exponential(load_floats(weights + i) - peak));
        for (size_t i = 0; i < begin; ++i) weights[i] = 0.0f;
        for (size_t i = end; i < kBlockPositions; ++i) weights[i] = 0.0f;
        Floats totals = {};
        for (size_t i = 0; i < kBlockPositions; i += kLanes) totals += load_floats(weights + i);

        const float shrink = exponential(broadcast(state.peak[h] - peak))[0];
        state.total[h] = state.total[h] * shrink + sum(totals);
        state.peak[h] = peak;
        for (size_t d = 0; d < stride; d += kLanes)
            store(state.mixed[h] + d, load_floats(state.mixed[h] + d) * shrink);
    }
}

// Adds the weighted values of the positions begin..end: `Vectors * kLanes` dimensions from d.
template <int Heads, int Vectors>
inline void mix_some(Softmax<Heads>& state, const float* values, size_t stride, size_t begin,
                     size_t end, size_t d) {
    Floats mixed[Heads][Vectors];
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v)
            mixed[h][v] = load_floats(state.mixed[h] + d + v * kLanes);
    for (size_t i = begin; i < end; ++i)
        for (int v = 0; v < Vectors; ++v) {
            const Floats value = load_floats(values + i * stride + d + v * kLanes);
            for (int h = 0; h < Heads; ++h)
                mixed[h][v] = fma(broadcast(state.weights[h][i]), value, mixed[h][v]);
        }
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v) store(state.mixed[h] + d + v * kLanes, mixed[h][v]);
}

template <int Heads>
inline void mix(Softmax<Heads>& state, const float* values, size_t stride, size_t begin,
                size_t end) {
    size_t d = 0;
    for (; d + kLanes < stride; d += 2 * kLanes)
        mix_some<Heads, 2>(state, values, stride, begin, end, d);
    if (d < stride) mix_some<Heads, 1>(state, values, stride, begin, end, d);
}

template <int Heads>
void attend(const AttentionJob& job, size_t first_head) {
    const size_t head_dim = job.shape.head_dim;
    const size_t stride = job.shape.value_stride();
    const float* queries = job.queries + first_head * head_dim;

    Softmax<Heads> state;
    for (int h = 0; h < Heads; ++h) {
        state.peak[h] = job.sinks[first_head + h];
        state.total[h] = 1.0f;
        for (size_t d = 0; d < stride; ++d) state.mixed[h][d] = 0.0f;
    }
    for (size_t b = job.first / kBlockPositions; b <= job.last / kBlockPositions; ++b) {
        const size_t start = b * kBlockPositions;
        const size_t begin = job.first > start ? job.first - start : 0;
        const size_t left = job.last + 1 - start;
        const size_t end = left < kBlockPositions ? left : kBlockPositions;
        const float* block = job.blocks[b];
        score(state, queries, head_dim, block + job.shape.keys_offset(job.key_value_head), begin,
              end);
        weigh(state, stride, begin, end);
        mix(state, block + job.shape.values_offset(job.key_value_head), stride, begin, end);
    }
    for (int h = 0; h < Heads; ++h)
        for (size_t d = 0; d < head_dim; ++d)
            job.out[(first_head + h) * head_dim + d] = state.mixed[h][d] / state.total[h];
}

}  // namespace

void attention(const AttentionJob& job) {
    size_t head = 0;
    for (; head + 4 <= job.heads; head += 4) attend<4>(job, head);
    switch (job.heads - head) {
        case 3:
            attend<3>(job, head);
            break;
        case 2:
            attend<2>(job, head);
            break;
        case 1:
            attend<1>(job, head);
            break;
    }
}

}  // namespace motet::MOTET_ISA
