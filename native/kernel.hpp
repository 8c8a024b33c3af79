// What api.cpp and the kernels, one per instruction set, agree on.
#pragma once

#include <cstdint>

#include "rmsprop.h"

namespace rmsprop {

// Compiled apart are the working precision and which arrays there are.
constexpr int kKernels = 2 * 2 * 2;

// Where a kernel stands in a table of kernels.
constexpr int kernel_index(int dtype, bool centered, bool has_momentum) {
  return ((dtype == RMSPROP_FLOAT64) * 2 + centered) * 2 + has_momentum;
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
