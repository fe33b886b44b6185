#include "model/sequence.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace motet {

namespace {

size_t pages_of(size_t positions) { return (positions + kBlockPositions - 1) / kBlockPositions; }

void require(bool condition, const char* sentence) {
    if (!condition) throw std::invalid_argument(sentence);
}

}  // namespace

Sequence::Sequence(std::shared_ptr<const Config> config, std::shared_ptr<BlockPool> pool)
    : config_(std::move(config)), pool_(std::move(pool)), blocks_(config_->layers()) {}

void Sequence::clear() {
    resize_tables(0);
    length_ = 0;
}

void Sequence::reserve(size_t count) {
    trim();
    const size_t needed = pages_of(length_ + count);
    if (full_.capacity() < needed) {
        for (auto& table : blocks_) table.reserve(2 * needed);
        sliding_.reserve(2 * needed);
        full_.reserve(2 * needed);  // last: it tells that all have room
    }
    while (full_.size() < needed) {
        auto full = new_page(LayerKind::full);
        auto sliding = new_page(LayerKind::sliding);
        resize_tables(full_.size() + 1);
        full_.back() = std::move(full);
        sliding_.back() = std::move(sliding);
        enter(LayerKind::full, full_.size() - 1);
        enter(LayerKind::sliding, full_.size() - 1);
    }
}

void Sequence::skip(size_t count) {
    reserve(count);
    advance(count);
    trim();
}

void Sequence::trim() {
    for (size_t index = first_reached(length_); index-- > 0 && sliding_[index];) {
        sliding_[index].reset();
        enter(LayerKind::sliding, index);
    }
}

void Sequence::truncate(size_t length) {
    require(length <= length_, "a sequence has no positions beyond its length to forget");
    const size_t kept = pages_of(length);
    const size_t reached = first_reached(length);
    require(reached == kept || sliding_[reached] || !config_->layers_of(LayerKind::sliding),
            "the sliding layers have let go of what would be seen after truncating");
    if (length % kBlockPositions)
        for (const Page* page : {full_[kept - 1].get(), sliding_[kept - 1].get()})
            require(!page || !page->shared(), "the page to be written again is shared");
    resize_tables(kept);
    length_ = length;
}

std::shared_ptr<Page> Sequence::page(LayerKind kind, size_t index) const {
    require(index < length_ / kBlockPositions, "only full pages can be shared");
    return kind == LayerKind::sliding ? sliding_[index] : full_[index];
}

void Sequence::adopt(Pages full, Pages sliding) {
    require(full_.empty(), "only an empty sequence can begin with pages of others");
    const auto check = [&](const Pages& given, LayerKind kind) {
        for (const auto& page : given)
            require(page && page->kind() == kind && &page->pool() == pool_.get(),
                    "a page belongs to other layers or to another model");
    };
    check(full, LayerKind::full);
    check(sliding, LayerKind::sliding);
    const size_t length = full.size() * kBlockPositions;
    require(length < config_->context_length, "the pages go beyond the model's context");
    require(sliding.size() <= full.size() && full.size() - sliding.size() <= first_reached(length),
            "the window reaches further back than the pages of the sliding layers");
    resize_tables(full.size());
    std::ranges::move(full, full_.begin());
    std::ranges::move(sliding, sliding_.end() - static_cast<std::ptrdiff_t>(sliding.size()));
    for (size_t index = 0; index < full_.size(); ++index) {
        enter(LayerKind::full, index);
        enter(LayerKind::sliding, index);
    }
    length_ = length;
}

std::shared_ptr<Page> Sequence::new_page(LayerKind kind) const {
    return std::make_shared<Page>(pool_, kind, config_->layers_of(kind));
}

// The first page of the sliding layers that the next token, at position `length`, sees: it sees
// the positions above length - window. Without such layers it sees itself alone.
size_t Sequence::first_reached(size_t length) const {
    const size_t window = config_->layers_of(LayerKind::sliding) ? config_->sliding_window : 1;
    return length < window ? 0 : (length + 1 - window) / kBlockPositions;
}

void Sequence::resize_tables(size_t count) {
    full_.resize(count);
    sliding_.resize(count);
    for (auto& table : blocks_) table.resize(count);
}

// Enters a page, or that it is gone, into the tables of its layers.
void Sequence::enter(LayerKind kind, size_t index) {
    const Page* page = pages(kind)[index].get();
    size_t place = 0;
    for (size_t layer = 0; layer < blocks_.size(); ++layer)
        if (config_->kind(layer) == kind)
            blocks_[layer][index] = page ? page->block(place++) : nullptr;
}

}  // namespace motet
