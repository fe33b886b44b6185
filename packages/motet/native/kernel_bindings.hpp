// Single kernels on numpy arrays, for tests and measurements.
#pragma once

#include <nanobind/nanobind.h>

namespace motet {

// Adds `multiply`, `quantise`, `encode_int8` and `machine_speed` to the module.
void bind_kernels(nanobind::module_& module);

}  // namespace motet
