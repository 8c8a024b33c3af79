// What api.cpp and the kernels, one per instruction set, agree on.
#pragma once

#include <cstdint>

#include "rmsprop.h"

namespace rmsprop {

constexpr int kWeightDecays = RMSPROP_WEIGHT_DECAY_MODES;
constexpr int kMomenta = RMSPROP_MOMENTUM_MODES;
constexpr int kKernels = RMSPROP_DTYPES * 2 * kMomenta * kWeightDecays;

// Where the kernel for a storage type and the options of a rule stands in a table of kernels.
constexpr int kernel_index(int dtype, bool centered, int momentum_mode, int weight_decay_mode) {
  return ((dtype * 2 + centered) * kMomenta + momentum_mode) * kWeightDecays + weight_decay_mode;
}

// Updates elements [begin, end) of tensor i of a batch.
using Kernel = void (*)(const rmsprop_batch& batch, int64_t i, int64_t begin, int64_t end);

extern const Kernel* const kernels_baseline;
#if defined(RMSPROP_X86)
extern const Kernel* const kernels_avx2;
extern const Kernel* const kernels_avx512;
#endif

}  // namespace rmsprop
