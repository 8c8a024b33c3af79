// Rows of a table that have gradients: what rows_api.cpp and the kernels, one per instruction set, agree on.
#pragma once

#include <cstdint>

#include "rmsprop.h"

namespace rmsprop {

// A gradient of a row: the unit that the row is in, and the gradient's place among all.
struct Entry {
  int64_t unit, place;
};

// Updates the units of entries, which are in the order of their units and then of their places. `sums` has room for the
// gradients of a unit in working precision.
using UpdateRows = void (*)(const rmsprop_batch& batch, const rmsprop_rows& rows, const Entry* begin, const Entry* end,
                            void* sums);
// Brings the averages of units [begin, end) up to date.
using SettleRows = void (*)(const rmsprop_batch& batch, const rmsprop_rows& rows, int64_t begin, int64_t end);

// Compiled apart are the working precision and which arrays there are.
constexpr int kRowKernels = 2 * 2 * 2;
struct RowKernels {
  UpdateRows update[kRowKernels];
  UpdateRows rowwise[2];  // with one average per row, in float32 and in float64
  SettleRows settle[kRowKernels];
};

constexpr int row_kernel_index(int dtype, const rmsprop_rule& rule) {
  return ((dtype == RMSPROP_FLOAT64) * 2 + (rule.centered != 0)) * 2 + (rule.has_momentum != 0);
}

extern const RowKernels rows_baseline;
#if defined(RMSPROP_X86)
extern const RowKernels rows_avx2;
extern const RowKernels rows_avx512;
#endif

// Those of the instruction set in use.
const RowKernels& row_kernels();

}  // namespace rmsprop
