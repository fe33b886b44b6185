// Chooses the kernels this machine can execute.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.hpp"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace motet {

namespace portable {
extern const Kernels table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels table;
}
namespace avxvnni {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
namespace avx512vbmi {
extern const Kernels table;
}
#elif defined(__aarch64__)
namespace dotprod {
extern const Kernels table;
}
#endif

namespace {

// Best last.
std::vector<const Kernels*> executable() {
    std::vector<const Kernels*> tables = {&portable::table};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tables.push_back(&avx2::table);
        if (__builtin_cpu_supports("avxvnni")) tables.push_back(&avxvnni::table);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512vnni")) {
            tables.push_back(&avx512::table);
            if (__builtin_cpu_supports("avx512vbmi")) tables.push_back(&avx512vbmi::table);
        }
    }
#elif defined(__aarch64__) && defined(__linux__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) tables.push_back(&dotprod::table);
#elif defined(__aarch64__)
    tables.push_back(&dotprod::table);  // Apple's processors all have it
#endif
    return tables;
}

}  // namespace

const Kernels& kernels() {
    const std::vector<const Kernels*> tables = executable();
    const char* forced = std::getenv("MOTET_ISA");
    if (!forced || !*forced) return *tables.back();
    std::string names;
    for (const Kernels* table : tables) {
        if (std::string_view(table->name) == forced) return *table;
        names += (names.empty() ? "" : ", ") + std::string(table->name);
    }
    throw std::invalid_argument("MOTET_ISA is \"" + std::string(forced) +
                                "\", but this machine can execute only: " + names);
}

}  // namespace motet
