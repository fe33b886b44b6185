// Single kernels on numpy arrays, for tests and measurements.
#pragma once

#include <nanobind/nanobind.h>

namespace motet {

// Adds single kernels and the machine's speeds to the module.
void bind_kernels(nanobind::module_& module);

}  // namespace motet
