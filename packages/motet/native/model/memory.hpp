// What the system is told of memory: large buffers for derived weights, and sparsely read files.
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

// Memory of which a little is read here and there. If it is that of a mapped file, what lies around
// is not brought from the disk, and what has been read can be given back.
class SparseMemory {
  public:
    SparseMemory(const uint8_t* memory, size_t bytes);

    // The mapping takes no memory then; what is read again is mapped again.
    void give_back() const;

    // Where its whole pages begin; null unless it is a file's.
    const void* begin() const { return begin_; }

  private:
    void* begin_ = nullptr;  // whole pages
    size_t bytes_ = 0;
};

}  // namespace motet
