// Large buffers for derived weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace motet {

// Uninitialised memory in huge pages where the system has them: reading weights through ordinary
// pages costs a third of the memory's bandwidth. Throws std::bad_alloc.
class LargeBuffer {
  public:
    explicit LargeBuffer(size_t bytes);
    ~LargeBuffer();
    LargeBuffer(const LargeBuffer&) = delete;
    LargeBuffer& operator=(const LargeBuffer&) = delete;

    uint8_t* data() const { return data_; }
    size_t bytes() const { return bytes_; }

  private:
    uint8_t* data_;
    size_t bytes_;
};

}  // namespace motet
