// Sums of the squares of gradients, and of the quotients g/√v of an update. Compiled once per instruction set, with
// RMSPROP_SQUARES naming what it defines.
#include "squares.hpp"

#include <algorithm>

#include "exact_sum.hpp"
#include "storage.hpp"
#include "update.hpp"

namespace {

constexpr int64_t kSummed = 1024;

template <class T>
void add_rows(const T* values, int64_t first, int64_t last, rmsprop_squares& sum) {
  for (int64_t k = first; k < last; k += kSummed) add_block(values + k, std::min(kSummed, last - k), sum);
}

void add_narrow_rows(const rmsprop_batch& batch, const uint16_t* values, int64_t first, int64_t last,
                     rmsprop_squares& sum) {
  const auto widen = batch.dtype == RMSPROP_BFLOAT16 ? widen_row<BFloat16> : widen_row<Float16>;
  float row[kSummed];
  for (int64_t k = first; k < last; k += kSummed) {
    const int64_t size = std::min(kSummed, last - k);
    widen(values + k, size, row);
    add_block(row, size, sum);
  }
}

void add_squares(const rmsprop_batch& batch, int64_t begin, int64_t end, rmsprop_squares& sum) {
  int64_t offset = 0;
  for (int64_t i = 0; i < batch.count && offset < end; ++i) {
    const int64_t size = std::max<int64_t>(batch.sizes[i], 0);
    const int64_t first = std::max<int64_t>(begin - offset, 0), last = std::min(end - offset, size);
    offset += size;
    if (first >= last) continue;
    const void* grads = batch.grads[i];
    if (batch.dtype == RMSPROP_FLOAT64)
      add_rows(static_cast<const double*>(grads), first, last, sum);
    else if (batch.dtype == RMSPROP_FLOAT32)
      add_rows(static_cast<const float*>(grads), first, last, sum);
    else
      add_narrow_rows(batch, static_cast<const uint16_t*>(grads), first, last, sum);
  }
}

// What a rule makes of rows in working precision, all of which stay as they are.
template <bool centered, class T>
RMSPROP_NOINLINE void quotients(int64_t size, const Numbers<T, false>& numbers, const T* params, const T* grads,
                                const T* spreads, const T* means, T* __restrict found) {
  for (int64_t k = 0; k < size; ++k) {
    T p = params[k], spread = spreads[k], mean{};
    if constexpr (centered) mean = means[k];
    found[k] = quotient_of<centered, true>(numbers, grads[k], p, spread, mean);
  }
}

template <bool centered, class T>
void measure_rows(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, rmsprop_squares& sum) {
  const Numbers<T, false> numbers(batch.rule);
  T params[kBlock], grads[kBlock], found[kBlock];
  for (int64_t k = first; k < last; k += kBlock) {
    const int64_t size = std::min(kBlock, last - k);
    const T* p = static_cast<const T*>(batch.params[i]) + k;
    const T* g = static_cast<const T*>(batch.grads[i]) + k;
    if constexpr (sizeof(T) == sizeof(float)) {
      if (batch.dtype != RMSPROP_FLOAT32) {
        const Narrow narrow(batch, i);
        narrow.read_params(k, size, params);
        narrow.read_grads(k, size, grads);
        p = params, g = grads;
      }
    }
    const T* means = centered ? static_cast<const T*>(batch.means[i]) + k : nullptr;
    quotients<centered>(size, numbers, p, g, static_cast<const T*>(batch.spreads[i]) + k, means, found);
    add_block(found, size, sum);
  }
}

void measure_update(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, rmsprop_squares& sum) {
  if (batch.dtype == RMSPROP_FLOAT64)
    (batch.rule.centered ? measure_rows<true, double> : measure_rows<false, double>)(batch, i, first, last, sum);
  else
    (batch.rule.centered ? measure_rows<true, float> : measure_rows<false, float>)(batch, i, first, last, sum);
}

}  // namespace

namespace rmsprop {
const Squares RMSPROP_SQUARES = {add_squares, measure_update};
}  // namespace rmsprop
