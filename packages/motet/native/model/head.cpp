// Logits: the product with the head, the largest matrix of the model.
//
// A large vocabulary's head is a fifth of what a token reads, and nearly all of it says that a word
// is unlikely. In the fast modes the head is therefore searched in 4 bits, and the likeliest few
// thousand logits are computed again in 8.
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "model/model.hpp"

namespace motet {

namespace {

size_t count_from(float least, const float* values, size_t count) {
    uint32_t result = 0;
    for (size_t i = 0; i < count; ++i) result += values[i] >= least;
    return result;
}

// A value that `least` to `most` of the values reach, and how many do. If so many are equal that
// there is none: the greatest that more reach.
struct Threshold {
    float value = -FLT_MAX;
    size_t reached_by = SIZE_MAX;

    // Looks at `guess` first and then on either side of it, at `distance` and further.
    static Threshold of(const float* values, size_t count, size_t least, size_t most, float guess,
                        float distance) {
        Threshold low;
        float high = FLT_MAX;
        for (float middle = guess; low.value < middle && middle < high;) {
            const size_t reached_by = count_from(middle, values, count);
            if (reached_by < least) {
                high = middle;
            } else {
                low = {middle, reached_by};
                if (reached_by <= most) break;
            }
            if (low.value > -FLT_MAX && high < FLT_MAX) {
                middle = low.value / 2 + high / 2;
            } else {
                middle = high < FLT_MAX ? high - distance : low.value + distance;
                distance *= 2;
            }
        }
        return low;
    }
};

Threshold threshold(const float* values, size_t count) {
    // A sample tells nearly always about where it is.
    constexpr size_t kSample = 4096;
    std::array<float, kSample> sample;
    size_t size = 0;
    for (size_t i = 0; i < kSample; ++i)
        if (const float value = values[i * count / kSample]; std::isfinite(value))
            sample[size++] = value;
    if (size == 0) return {};
    const auto [least, most] = std::minmax_element(sample.begin(), sample.begin() + size);
    const float distance = std::max({*most / 16 - *least / 16, std::abs(*most) * 1e-6f, FLT_MIN});
    constexpr size_t kMiddle = (kRefined + kMostRefined) / 2;
    const size_t reached_by = std::max<size_t>(kMiddle * kSample / count, 1);
    const float guess =
        Threshold::of(sample.data(), size, reached_by, reached_by, *most - distance, distance)
            .value;
    return Threshold::of(values, count, kRefined, kMostRefined, guess, distance);
}

// The places of the greatest values, kRefined to kMostRefined of them; of equal ones the first.
size_t greatest(const float* values, size_t count, uint32_t* places) {
    const Threshold first = threshold(values, count);
    size_t found = 0;
    const auto take = [&](auto wanted) {
        for (size_t i = 0; i < count && found < kMostRefined; ++i) {
            places[found] = static_cast<uint32_t>(i);
            found += wanted(values[i]);
        }
    };
    if (first.reached_by > kMostRefined) {
        take([&](float value) { return value > first.value; });
        take([&](float value) { return value == first.value; });
    } else {
        take([&](float value) { return value >= first.value; });
    }
    return found;
}

}  // namespace

// Logits of the wanted rows only.
void Model::head(std::span<const StepItem> items, float* logits) {
    const size_t width = config_->hidden_size;
    size_t row = 0;
    size_t wanted = 0;
    for (const StepItem& item : items) {
        row += item.tokens.size();
        for (size_t r = row - item.logit_rows; r < row; ++r, ++wanted)
            kernels_.rms_norm(&work_.hidden[r * width], weights_.final_norm, width,
                              config_->rms_norm_eps, &work_.normed[wanted * width]);
    }
    if (fast())
        kernels_.quantise(work_.normed.data(), wanted, Order::natural, work_.input8.rows(width));
    const Matrix& first = weights_.searched_head ? *weights_.searched_head : weights_.head;
    multiply({{&first, {logits, config_->vocabulary_size}}},
             {work_.normed.data(), work_.input8.rows(width)}, wanted);
    if (weights_.searched_head) refine(logits, wanted);
}

// Computes the greatest logits of each row again, by the head itself.
void Model::refine(float* logits, size_t rows) {
    const size_t vocabulary = config_->vocabulary_size;
    threads_.run(rows, rows * vocabulary, [&](size_t row, size_t) {
        work_.refined_count[row] =
            greatest(logits + row * vocabulary, vocabulary, &work_.refined[row * kMostRefined]);
    });
    struct Piece {
        size_t row;
        std::span<const uint32_t> places;
    };
    std::vector<Piece> pieces;
    for (size_t row = 0; row < rows; ++row) {
        const uint32_t* places = &work_.refined[row * kMostRefined];
        const size_t count = work_.refined_count[row];
        for (size_t begin = 0; begin < count; begin += kRefinedAtOnce)
            pieces.push_back({row, {places + begin, std::min(count - begin, kRefinedAtOnce)}});
    }
    threads_.run(pieces.size(), rows * kRefined * config_->hidden_size,
                 [&](size_t item, size_t worker) {
                     const auto& [row, places] = pieces[item];
                     refine_places(logits + row * vocabulary, row, places, worker);
                 });
}

// Products by places are products of a matrix that is brought together first.
void Model::refine_places(float* logits, size_t row, std::span<const uint32_t> places,
                          size_t worker) {
    Matrix matrix = weights_.head;
    const size_t row_bytes = matrix.blocks() * matrix.value_stride;
    uint8_t* const gathered = work_.gathered_head[worker].data();
    const auto row_at = [&](size_t i) { return weights_.head.scale_at(places[i], 0); };
    for (size_t i = 0; i < places.size(); ++i) {
        if (i + 2 < places.size())
            for (size_t byte = 0; byte < row_bytes; byte += kLine)
                __builtin_prefetch(row_at(i + 2) + byte);
        std::memcpy(gathered + i * row_bytes, row_at(i), row_bytes);
    }
    matrix.values = gathered + (matrix.values - matrix.scales);
    matrix.scales = gathered;
    matrix.rows = places.size();
    std::array<float, kRefinedAtOnce> products;
    multiply_rows(matrix, {0, places.size()},
                  {nullptr, work_.input8.rows(config_->hidden_size).from(row)}, 1,
                  {products.data(), kRefinedAtOnce}, worker);
    for (size_t i = 0; i < places.size(); ++i) logits[places[i]] = products[i];
}

}  // namespace motet
