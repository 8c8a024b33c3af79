// The loop over the elements of arrays in working precision.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstdint>

#include "bits.hpp"
#include "update.hpp"

namespace {

template <class T>
T* from(void** table, int64_t i, int64_t begin) {
  return static_cast<T*>(table[i]) + begin;
}

// What happens to the averages of an element before it is updated: nothing, where they are up to date.
struct UpToDate {
  template <bool centered, class T>
  void bring(T&, T&) const {}
};

// The loop. A function of its own, because a compiler believes that arguments don't share memory, but not that local
// pointers don't: with five arrays it would give up looking for overlaps, and with it vectors.
template <bool centered, Buffer kind, bool rare, class Before, class T, bool usual>
RMSPROP_NOINLINE void walk_as(int64_t size, const Before before, const Numbers<T, usual>& __restrict numbers,
                              T* __restrict params, const T* __restrict grads, T* __restrict spreads,
                              T* __restrict means, T* __restrict buffers) {
  for (int64_t k = 0; k < size; ++k) {
    T p = params[k], spread = spreads[k];
    T mean{}, buffer{};
    if constexpr (centered) mean = means[k];
    if constexpr (kind != Buffer::kNone) buffer = buffers[k];
    before.template bring<centered>(spread, mean);
    update<centered, kind, rare>(numbers, grads[k], p, spread, mean, buffer);
    params[k] = p;
    spreads[k] = spread;
    if constexpr (centered) means[k] = mean;
    if constexpr (kind != Buffer::kNone) buffers[k] = buffer;
  }
}

template <bool centered, Buffer kind, class T, bool usual, class Before = UpToDate>
void walk(int64_t size, const Numbers<T, usual>& numbers, T* params, const T* grads, T* spreads, T* means, T* buffers,
          const Before& before = {}) {
  if constexpr (!usual && kind != Buffer::kIterate)  // schedule-free has no rare choices
    if (numbers.is_rare)
      return walk_as<centered, kind, true>(size, before, numbers, params, grads, spreads, means, buffers);
  walk_as<centered, kind, false>(size, before, numbers, params, grads, spreads, means, buffers);
}

}  // namespace
