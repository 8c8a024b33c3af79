// The units of a tensor, each of which has a norm of its own: the stretches of memory of one leading index.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>

#include "rmsprop.h"
#include "update.hpp"

namespace {

// Calls part(first, last) on elements [first, last) of tensor i: once, or where its units scale their gradients apart
// once for what lies in each of them, with the numbers set for it.
template <class T, bool usual, class Part>
void by_unit(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, Numbers<T, usual>& numbers,
             const Part& part) {
  if (!batch.unit_scales) return part(first, last);
  for (int64_t k = first; k < last;) {
    const int64_t unit = k / batch.unit_sizes[i], end = std::min((unit + 1) * batch.unit_sizes[i], last);
    numbers.grad_scale = static_cast<T>(batch.rule.grad_scale * batch.unit_scales[i][unit]);
    part(k, end);
    k = end;
  }
}

}  // namespace
