// Exact sums of squares: the same bits in any order, on any number of threads, for any split and any instruction set.
// src/rmsprop/clipping.py states what they are.
#pragma once

#include <cstdint>

#include "rmsprop.h"

namespace rmsprop {

// Adds the squares of gradients [begin, end), counted in elements from the batch's first, to a sum.
using AddSquares = void (*)(const rmsprop_batch& batch, int64_t begin, int64_t end, rmsprop_squares& sum);

// Adds the squares of the quotients of elements [first, last) of tensor i to a sum.
using MeasureUpdate = void (*)(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last,
                               rmsprop_squares& sum);

// Returns how many of elements [first, last) of tensor i would take a step that agrees with their gradient.
using CountAgreements = int64_t (*)(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last);

// Writes what clips the gradients of the units of tensor i that begin in [first, last).
using ScaleUnits = void (*)(const rmsprop_batch& batch, double max_ratio, int64_t i, int64_t first, int64_t last);

struct Squares {
  AddSquares add;
  MeasureUpdate measure;
  CountAgreements count;
  ScaleUnits scale_units;
};

extern const Squares squares_baseline;
#if defined(RMSPROP_X86)
extern const Squares squares_avx2;
extern const Squares squares_avx512;
#endif

}  // namespace rmsprop
