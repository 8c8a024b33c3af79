// What api.cpp and the kernels, one per instruction set, agree on.
#pragma once

#include <cstdint>

#include "rmsprop.h"

namespace rmsprop {

// Compiled apart are the working precision and which arrays there are.
constexpr int kBuffers = 3;  // none, momentum, the iterates that parameters average
constexpr int kKernels = 2 * 2 * kBuffers;

// Where a kernel stands in a table of kernels.
constexpr int kernel_index(int dtype, const rmsprop_rule& rule) {
  const int buffer = rule.averages ? 2 : rule.has_momentum != 0;
  return ((dtype == RMSPROP_FLOAT64) * 2 + (rule.centered != 0)) * kBuffers + buffer;
}

// The numbers of a tensor that an update changes.
inline int64_t size_of(const rmsprop_batch& batch, int64_t i) {
  return batch.sizes[i] == RMSPROP_RESTS ? 0 : batch.sizes[i];
}

// Updates the part of a batch that lies in [begin, end), counted in elements from the batch's first.
using Kernel = void (*)(const rmsprop_batch& batch, int64_t begin, int64_t end);

extern const Kernel* const kernels_baseline;
#if defined(RMSPROP_X86)
extern const Kernel* const kernels_avx2;
extern const Kernel* const kernels_avx512;
#endif

}  // namespace rmsprop
