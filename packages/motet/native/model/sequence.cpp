#include "model/sequence.hpp"

namespace motet {

Sequence::Sequence(std::shared_ptr<const Config> config, std::shared_ptr<BlockPool> pool)
    : config_(std::move(config)), pool_(std::move(pool)), blocks_(config_->layers()) {}

Sequence::~Sequence() { clear(); }

void Sequence::clear() {
    for (auto& layer : blocks_) {
        for (uint8_t* block : layer) pool_->release(block);
        layer.clear();
    }
    length_ = 0;
}

void Sequence::reserve(size_t count) {
    const size_t needed = (length_ + count + kBlockPositions - 1) / kBlockPositions;
    for (auto& layer : blocks_) {
        if (layer.capacity() < needed) layer.reserve(2 * needed);
        while (layer.size() < needed) layer.push_back(pool_->allocate());
    }
}

void Sequence::advance(size_t count) {
    length_ += count;
    // The next token, at position length_, sees the positions above length_ - window.
    if (length_ < config_->sliding_window) return;
    const size_t unreachable = (length_ + 1 - config_->sliding_window) / kBlockPositions;
    for (size_t layer = 0; layer < blocks_.size(); ++layer) {
        if (!config_->sliding[layer]) continue;
        for (size_t b = unreachable; b-- > 0 && blocks_[layer][b];) {
            pool_->release(blocks_[layer][b]);
            blocks_[layer][b] = nullptr;
        }
    }
}

}  // namespace motet
