#include "model/large_pages.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#if defined(__linux__)
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#endif

namespace motet {

LargePages::LargePages(std::vector<const void*> weights, const void* spared)
    : weights_(std::move(weights)), spared_(spared) {}

#if defined(__linux__)

namespace {

constexpr uintptr_t kLargePage = 2 << 20;
constexpr size_t kAtOnce = 8;       // large pages: some milliseconds
constexpr size_t kMostInVain = 16;  // then the system has none

#ifndef MADV_POPULATE_READ
constexpr int MADV_POPULATE_READ = 22;
#endif

// What linux/fs.h says since version 6.7.
struct PageRegion {
    uint64_t start, end, categories;
};
struct ScanArguments {
    uint64_t size, flags, start, end, walk_end, regions, region_count, most_pages, inverted, mask,
        any_of, returned;
};
constexpr unsigned long kScanPages = _IOWR('f', 16, ScanArguments);
constexpr uint64_t kPresent = 1 << 3, kHuge = 1 << 6;

class File {
  public:
    explicit File(const char* path) : descriptor_(open(path, O_RDONLY | O_CLOEXEC)) {}
    ~File() {
        if (descriptor_ >= 0) close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int descriptor() const { return descriptor_; }

  private:
    int descriptor_;
};

// A line of the list of what this process has mapped.
struct Mapping {
    uintptr_t begin = 0, end = 0;
    uint64_t offset = 0;
    dev_t device = 0;
    ino_t inode = 0;
    std::string path;

    bool has(const void* address) const {
        const auto place = reinterpret_cast<uintptr_t>(address);
        return begin <= place && place < end;
    }

    // Of files that are shared and not to be written: nothing is lost with their pages.
    static std::optional<Mapping> of(const std::string& line) {
        Mapping result;
        unsigned major_number = 0, minor_number = 0;
        uint64_t inode = 0;
        int path = 0;
        if (std::sscanf(line.c_str(),
                        "%" SCNxPTR "-%" SCNxPTR " r--s %" SCNx64 " %x:%x %" SCNu64 " %n",
                        &result.begin, &result.end, &result.offset, &major_number, &minor_number,
                        &inode, &path) != 6 ||
            inode == 0)
            return {};
        result.device = makedev(major_number, minor_number);
        result.inode = inode;
        result.path = line.substr(path);
        return result;
    }

    // Whether the file of this path is still the one that is mapped.
    bool is_of(const File& file) const {
        struct stat status;
        return file.descriptor() >= 0 && fstat(file.descriptor(), &status) == 0 &&
               status.st_dev == device && status.st_ino == inode;
    }
};

// The first place from `begin` on where small pages are; `end` if there is none or it is unknown.
uintptr_t small_page(const File& pages, uintptr_t begin, uintptr_t end) {
    if (begin >= end) return end;
    PageRegion found;
    ScanArguments arguments{.size = sizeof(ScanArguments),
                            .flags = 0,
                            .start = begin,
                            .end = end,
                            .walk_end = 0,
                            .regions = reinterpret_cast<uintptr_t>(&found),
                            .region_count = 1,
                            .most_pages = 0,
                            .inverted = kHuge,
                            .mask = kPresent | kHuge,
                            .any_of = 0,
                            .returned = kPresent};
    return ioctl(pages.descriptor(), kScanPages, &arguments) > 0 ? found.start : end;
}

bool all_large(const File& pages, uintptr_t begin) {
    return small_page(pages, begin, begin + kLargePage) == begin + kLargePage;
}

// Brings as much as a large page from the file again; false if it cannot be read, which the next
// step will notice too. Only what is on the disk can be forgotten, and downloads are not at once.
bool read_again(const Mapping& mapping, uintptr_t begin, const File& file) {
    void* const memory = reinterpret_cast<void*>(begin);
    const auto offset = static_cast<off_t>(mapping.offset + (begin - mapping.begin));
    constexpr unsigned kToDisk =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    return sync_file_range(file.descriptor(), offset, kLargePage, kToDisk) == 0 &&
           madvise(memory, kLargePage, MADV_DONTNEED) == 0 &&
           posix_fadvise(file.descriptor(), offset, kLargePage, POSIX_FADV_DONTNEED) == 0 &&
           madvise(memory, kLargePage, MADV_POPULATE_READ) == 0;
}

uintptr_t rounded_up(uintptr_t address) {
    return (address + kLargePage - 1) / kLargePage * kLargePage;
}

}  // namespace

bool LargePages::bring() {
    const std::lock_guard lock(mutex_);
    if (in_vain_ >= kMostInVain) return false;
    const File pages("/proc/self/pagemap");
    std::ifstream mappings("/proc/self/maps");
    size_t brought = 0;
    for (std::string line; std::getline(mappings, line);) {
        const std::optional<Mapping> mapping = Mapping::of(line);
        if (!mapping || mapping->end <= next_ || mapping->has(spared_) ||
            std::ranges::none_of(weights_, [&](const void* each) { return mapping->has(each); }))
            continue;
        const File file(mapping->path.c_str());
        if (!mapping->is_of(file)) continue;
        const uintptr_t end = mapping->end / kLargePage * kLargePage;
        for (uintptr_t at = std::max(rounded_up(mapping->begin), next_);
             (at = small_page(pages, at, end) / kLargePage * kLargePage) < end; at += kLargePage) {
            next_ = at;
            if (brought++ == kAtOnce) return true;
            in_vain_ = read_again(*mapping, at, file) && all_large(pages, at) ? 0 : in_vain_ + 1;
            if (in_vain_ == kMostInVain) return false;
        }
    }
    next_ = 0;
    return false;
}

#else

bool LargePages::bring() { return false; }

#endif

}  // namespace motet
