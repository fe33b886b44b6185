// Mapped weights brought from small pages of memory into large ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace motet {

// A file lies in the system's cache as it came there: in small pages if it was written in small
// pieces, as downloads are, or first read by a program that did not ask for large ones. Weights are
// read more slowly through those. So the system is asked to forget such parts of a file, and they
// come again from the disk, in large pages where the system has them for files. What it does not
// forget, since another program uses it too, stays as it is. Only what has been read already is
// looked at.
//
// Does nothing where the system is not Linux 6.7 or later.
class LargePages {
  public:
    // `weights` are addresses in the mappings to look after; the mapping that `spared` lies in, of
    // memory that is read here and there, is left alone.
    LargePages(std::vector<const void*> weights, const void* spared);

    // Brings some megabytes; false when nothing is left to do. The memory may be read meanwhile.
    bool bring();

  private:
    const std::vector<const void*> weights_;
    const void* const spared_;
    std::mutex mutex_;
    uintptr_t next_ = 0;  // what lies before it has been looked at
    size_t in_vain_ = 0;  // how many parts in a row came in small pages again
};

}  // namespace motet
