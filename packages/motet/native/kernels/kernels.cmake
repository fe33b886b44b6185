# The kernels are compiled once for every instruction set a machine of this family may have and
# chosen at run time (dispatch.cpp), so one wheel is right everywhere. Contraction
# of a*b+c is left to the explicit fma() of simd.hpp: a sum must not depend on what the compiler
# fused, or a token's logits would depend on the tile it was computed in.
set(KERNEL_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention.cpp
  ${CMAKE_CURRENT_LIST_DIR}/multiply_exact.cpp
  ${CMAKE_CURRENT_LIST_DIR}/multiply_fast.cpp
  ${CMAKE_CURRENT_LIST_DIR}/quantise.cpp
  ${CMAKE_CURRENT_LIST_DIR}/peak.cpp
  ${CMAKE_CURRENT_LIST_DIR}/rms_norm.cpp
  ${CMAKE_CURRENT_LIST_DIR}/rotate.cpp
  ${CMAKE_CURRENT_LIST_DIR}/swiglu.cpp
  ${CMAKE_CURRENT_LIST_DIR}/table.cpp)

set(KERNEL_OBJECTS "")
set(KERNEL_TARGETS "")
set(KERNEL_INCLUDES "${CMAKE_CURRENT_LIST_DIR}/..")
function(motet_add_kernels isa)
  add_library(kernels_${isa} OBJECT ${KERNEL_SOURCES})
  target_compile_definitions(kernels_${isa} PRIVATE MOTET_ISA=${isa})
  target_include_directories(kernels_${isa} PRIVATE ${KERNEL_INCLUDES})
  target_compile_options(kernels_${isa} PRIVATE
    -Wall -Wextra -Wno-psabi -ffp-contract=off -fno-exceptions -fvisibility=hidden ${ARGN})
  set(KERNEL_OBJECTS ${KERNEL_OBJECTS} $<TARGET_OBJECTS:kernels_${isa}> PARENT_SCOPE)
  set(KERNEL_TARGETS ${KERNEL_TARGETS} kernels_${isa} PARENT_SCOPE)
endfunction()

motet_add_kernels(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  motet_add_kernels(avx2 -mavx2 -mfma -mtune=haswell)
  motet_add_kernels(avxvnni -mavx2 -mfma -mavxvnni)
  set(avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  motet_add_kernels(avx512 ${avx512})
  motet_add_kernels(avx512vbmi ${avx512} -mavx512vbmi)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  motet_add_kernels(dotprod -march=armv8.2-a+dotprod)
endif()
