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

// Worked on together, in registers: as many as there is room for.
#if defined(__AVX512F__)
constexpr int kHeads = 8;
#else
constexpr int kHeads = 4;
#endif
constexpr int kPartners = 16;  // that pass over the keys and values together

// The running state of up to kHeads query heads that read the same keys and values.
struct Softmax {
    float peak[kHeads];
    float total[kHeads];
    alignas(64) float weights[kHeads][kBlockPositions];
    alignas(64) float mixed[kHeads][kMaximumHeadDim];
};

inline intptr_t address(const void* from) { return reinterpret_cast<intptr_t>(from); }

// Asks for what is `ahead` bytes further on, once a line for neighbouring vectors. Blocks lie
// anywhere in memory, so that the processor cannot foresee the next one; all at once would be more
// requests than it can have open.
template <class Element>
inline void fetch(const Element* from, intptr_t ahead, int vector) {
    if (vector * kLanes * sizeof(Element) % 64 == 0)
        __builtin_prefetch(reinterpret_cast<const void*>(address(from) + ahead));
}

inline Floats load_elements(const float* from) { return load_floats(from); }
inline Floats load_elements(const Bf16* from) { return load_bf16(from); }

// Scores of `Vectors * kLanes` positions from number i.
template <int Heads, int Vectors, class Element>
inline void score_some(Softmax& state, const float* queries, size_t head_dim, const Element* keys,
                       intptr_t ahead, size_t i) {
    Floats scores[Heads][Vectors] = {};
    for (size_t d = 0; d < head_dim; ++d)
        for (int v = 0; v < Vectors; ++v) {
            const Element* from = keys + d * kBlockPositions + i + v * kLanes;
            fetch(from, ahead, v);
            const Floats key = load_elements(from);
            for (int h = 0; h < Heads; ++h)
                scores[h][v] = fma(broadcast(queries[h * head_dim + d]), key, scores[h][v]);
        }
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v) store(state.weights[h] + i + v * kLanes, scores[h][v]);
}

// Scores of the positions begin..end of a block; everything outside is minus infinity.
template <int Heads, class Element>
inline void score(Softmax& state, const float* queries, size_t head_dim, const Element* keys,
                  intptr_t ahead, size_t begin, size_t end) {
    size_t i = begin / kLanes * kLanes;
    for (; i + kLanes < end; i += 2 * kLanes)
        score_some<Heads, 2>(state, queries, head_dim, keys, ahead, i);
    if (i < end) score_some<Heads, 1>(state, queries, head_dim, keys, ahead, i);
    for (int h = 0; h < Heads; ++h) {
        for (size_t j = 0; j < begin; ++j) state.weights[h][j] = kMinusInfinity;
        for (size_t j = end; j < kBlockPositions; ++j) state.weights[h][j] = kMinusInfinity;
    }
}

// Turns scores into weights relative to the new peak and rescales what was gathered before.
template <int Heads>
inline void weigh(Softmax& state, size_t stride, size_t begin, size_t end) {
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
template <int Heads, int Vectors, class Element>
inline void mix_some(Softmax& state, const Element* values, intptr_t ahead, size_t stride,
                     size_t begin, size_t end, size_t d) {
    Floats mixed[Heads][Vectors];
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v)
            mixed[h][v] = load_floats(state.mixed[h] + d + v * kLanes);
    for (size_t i = begin; i < end; ++i)
        for (int v = 0; v < Vectors; ++v) {
            const Element* from = values + i * stride + d + v * kLanes;
            fetch(from, ahead, v);
            const Floats value = load_elements(from);
            for (int h = 0; h < Heads; ++h)
                mixed[h][v] = fma(broadcast(state.weights[h][i]), value, mixed[h][v]);
        }
    for (int h = 0; h < Heads; ++h)
        for (int v = 0; v < Vectors; ++v) store(state.mixed[h] + d + v * kLanes, mixed[h][v]);
}

template <int Heads, class Element>
inline void mix(Softmax& state, const Element* values, intptr_t ahead, size_t stride, size_t begin,
                size_t end) {
    size_t d = 0;
    for (; d + kLanes < stride; d += 2 * kLanes)
        mix_some<Heads, 2>(state, values, ahead, stride, begin, end, d);
    if (d < stride) mix_some<Heads, 1>(state, values, ahead, stride, begin, end, d);
}

inline void begin(Softmax& state, const float* sinks, int heads, size_t stride) {
    for (int h = 0; h < heads; ++h) {
        state.peak[h] = sinks[h];
        state.total[h] = 1.0f;
        for (size_t d = 0; d < stride; ++d) state.mixed[h][d] = 0.0f;
    }
}

// Takes in the positions begin..end of a block; the next one is `ahead` bytes further on.
template <int Heads, class Element>
inline void read_block(Softmax& state, const AttentionJob& job, size_t head, const Element* block,
                       intptr_t ahead, size_t begin, size_t end) {
    const CacheShape& shape = job.shape;
    const size_t stride = shape.value_stride();
    score<Heads>(state, job.queries + head * shape.head_dim, shape.head_dim,
                 block + shape.keys_offset(job.key_value_head), ahead, begin, end);
    weigh<Heads>(state, stride, begin, end);
    mix<Heads>(state, block + shape.values_offset(job.key_value_head), ahead, stride, begin, end);
}

template <int Heads, class Element>
inline void read_block(Softmax& state, const AttentionJob& job, size_t head, int heads,
                       const Element* block, intptr_t ahead, size_t begin, size_t end) {
    if (heads == Heads)
        read_block<Heads>(state, job, head, block, ahead, begin, end);
    else if constexpr (Heads > 1)
        read_block<Heads - 1>(state, job, head, heads, block, ahead, begin, end);
}

// The query heads first..last of the job. A block is in the cache when further ones meet it.
template <class Element>
void attend(const AttentionJob& job, size_t first, size_t last) {
    const size_t head_dim = job.shape.head_dim;
    const auto heads = [&](size_t head) {
        return static_cast<int>(last - head < kHeads ? last - head : kHeads);
    };
    Softmax states[kPartners / kHeads];
    for (size_t head = first; head < last; head += kHeads)
        begin(states[(head - first) / kHeads], job.sinks + head, heads(head),
              job.shape.value_stride());
    for (size_t b = job.first / kBlockPositions; b <= job.last / kBlockPositions; ++b) {
        const size_t start = b * kBlockPositions;
        const size_t begin = job.first > start ? job.first - start : 0;
        const size_t left = job.last + 1 - start;
        const size_t end = left < kBlockPositions ? left : kBlockPositions;
        const intptr_t ahead = b < job.last / kBlockPositions
                                   ? address(job.blocks[b + 1]) - address(job.blocks[b])
                                   : 0;
        for (size_t head = first; head < last; head += kHeads)
            read_block<kHeads>(states[(head - first) / kHeads], job, head, heads(head),
                               reinterpret_cast<const Element*>(job.blocks[b]), ahead, begin, end);
    }
    for (size_t head = first; head < last; ++head) {
        const Softmax& state = states[(head - first) / kHeads];
        const size_t h = (head - first) % kHeads;
        for (size_t d = 0; d < head_dim; ++d)
            job.out[head * head_dim + d] = state.mixed[h][d] / state.total[h];
    }
}

}  // namespace

void attention(const AttentionJob& job) {
    for (size_t head = 0; head < job.heads; head += kPartners) {
        const size_t last = job.heads - head < kPartners ? job.heads : head + kPartners;
        if (job.shape.bf16)
            attend<Bf16>(job, head, last);
        else
            attend<float>(job, head, last);
    }
}

}  // namespace motet::MOTET_ISA
