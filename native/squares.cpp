// Sums of the squares of gradients, and of the quotients g/√v of an update. Compiled once per instruction set, with
// RMSPROP_SQUARES naming what it defines.
#include "squares.hpp"

#include <algorithm>

#include "exact_sum.hpp"
#include "storage.hpp"
#include "units.hpp"
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

// Adds the squares of numbers [first, last) of a parameter or a gradient.
void add_stored_rows(const rmsprop_batch& batch, const void* values, int64_t first, int64_t last,
                     rmsprop_squares& sum) {
  if (batch.dtype == RMSPROP_FLOAT64)
    add_rows(static_cast<const double*>(values), first, last, sum);
  else if (batch.dtype == RMSPROP_FLOAT32)
    add_rows(static_cast<const float*>(values), first, last, sum);
  else
    add_narrow_rows(batch, static_cast<const uint16_t*>(values), first, last, sum);
}

void add_squares(const rmsprop_batch& batch, int64_t begin, int64_t end, rmsprop_squares& sum) {
  int64_t offset = 0;
  for (int64_t i = 0; i < batch.count && offset < end; ++i) {
    const int64_t size = std::max<int64_t>(batch.sizes[i], 0);
    const int64_t first = std::max<int64_t>(begin - offset, 0), last = std::min(end - offset, size);
    offset += size;
    if (first >= last) continue;
    add_stored_rows(batch, batch.grads[i], first, last, sum);
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

// Calls read(k, size, params, grads) on blocks of elements [first, last) of tensor i, in working precision.
template <class T, class Read>
void in_rows(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, const Read& read) {
  T params[kBlock], grads[kBlock];
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
    read(k, size, p, g);
  }
}

template <bool centered, class T>
void measure_rows(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, rmsprop_squares& sum) {
  Numbers<T, false> numbers(batch.rule);
  by_unit(batch, i, first, last, numbers, [&](int64_t begin, int64_t end) {
    in_rows<T>(batch, i, begin, end, [&](int64_t k, int64_t size, const T* p, const T* g) {
      T found[kBlock];
      const T* means = centered ? static_cast<const T*>(batch.means[i]) + k : nullptr;
      quotients<centered>(size, numbers, p, g, static_cast<const T*>(batch.spreads[i]) + k, means, found);
      add_block(found, size, sum);
    });
  });
}

void measure_update(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last, rmsprop_squares& sum) {
  if (batch.dtype == RMSPROP_FLOAT64)
    (batch.rule.centered ? measure_rows<true, double> : measure_rows<false, double>)(batch, i, first, last, sum);
  else
    (batch.rule.centered ? measure_rows<true, float> : measure_rows<false, float>)(batch, i, first, last, sum);
}

// Tells of rows which steps agree with their gradients, as ones and zeros: numbers that a loop of vectors can make.
template <bool centered, class T>
RMSPROP_NOINLINE void agreements(int64_t size, const Numbers<T, false>& __restrict numbers, const T* params,
                                 const T* grads, const T* spreads, const T* means, const T* buffers,
                                 T* __restrict found) {
  for (int64_t k = 0; k < size; ++k) {
    T spread = spreads[k], mean{}, buffer = buffers[k];
    if constexpr (centered) mean = means[k];
    const T u = numbers.update_scale * quotient_of<centered, true>(numbers, grads[k], params[k], spread, mean);
    found[k] = step_of(numbers, u, buffer) * u > T(0) ? T(1) : T(0);
  }
}

template <class T>
RMSPROP_NOINLINE int64_t ones_among(const T* values, int64_t size) {
  int32_t count = 0;
  for (int64_t k = 0; k < size; ++k) count += static_cast<int32_t>(values[k]);
  return count;
}

// The state of one tensor, read in working precision a block at a time.
template <class T>
class State {
 public:
  State(const rmsprop_batch& batch, int64_t i)
      : arrays_{row(batch.spreads, i), row(batch.means, i), row(batch.buffers, i)},
        packed_{{batch, i, kSpreads}, {batch, i, kMeans}, {batch, i, kBuffers}},
        is_packed_(batch.packing != RMSPROP_UNPACKED) {}

  const T* read(int array, int64_t k, int64_t size, T* block) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (is_packed_) return packed_[array].read(k, size, block), block;
    }
    return static_cast<const T*>(arrays_[array]) + k;
  }

 private:
  static const void* row(void** table, int64_t i) { return table ? table[i] : nullptr; }

  const void* arrays_[3];
  const Packed packed_[3];
  const bool is_packed_;
};

template <bool centered, class T>
int64_t count_rows(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last) {
  Numbers<T, false> numbers(batch.rule);
  if (batch.update_scales) numbers.update_scale = static_cast<T>(batch.update_scales[i]);
  const State<T> state(batch, i);
  int64_t count = 0;
  last = std::min(next_scale(batch, last), batch.sizes[i]);
  by_unit(batch, i, next_scale(batch, first), last, numbers, [&](int64_t begin, int64_t end) {
    in_rows<T>(batch, i, begin, end, [&](int64_t k, int64_t size, const T* p, const T* g) {
      T spreads[kBlock], means[kBlock], buffers[kBlock], found[kBlock];
      agreements<centered>(size, numbers, p, g, state.read(0, k, size, spreads),
                           centered ? state.read(1, k, size, means) : nullptr, state.read(2, k, size, buffers), found);
      count += ones_among(found, size);
    });
  });
  return count;
}

int64_t count_agreements(const rmsprop_batch& batch, int64_t i, int64_t first, int64_t last) {
  if (batch.dtype == RMSPROP_FLOAT64)
    return (batch.rule.centered ? count_rows<true, double> : count_rows<false, double>)(batch, i, first, last);
  return (batch.rule.centered ? count_rows<true, float> : count_rows<false, float>)(batch, i, first, last);
}

// What paper and timm keep norms of units above: of parameters, so that zeros can move, and of gradients, which are
// divided by. src/rmsprop/clipping.py has them too.
constexpr double kLeastParamNorm = 1e-3, kLeastGradNorm = 1e-6;

void scale_units(const rmsprop_batch& batch, double max_ratio, int64_t i, int64_t first, int64_t last) {
  const int64_t size = batch.unit_sizes[i];
  for (int64_t unit = (first + size - 1) / size; unit * size < last; ++unit) {
    rmsprop_squares of_params{}, of_grads{};
    add_stored_rows(batch, batch.params[i], unit * size, (unit + 1) * size, of_params);
    add_stored_rows(batch, batch.grads[i], unit * size, (unit + 1) * size, of_grads);
    const double param_norm = norm(of_params), grad_norm = norm(of_grads) * std::fabs(batch.rule.grad_scale);
    const double most = (param_norm < kLeastParamNorm ? kLeastParamNorm : param_norm) * max_ratio;
    const double divisor = grad_norm < kLeastGradNorm ? kLeastGradNorm : grad_norm;
    batch.unit_scales[i][unit] = grad_norm < most ? 1.0 : most / divisor;
  }
}

}  // namespace

namespace rmsprop {
const Squares RMSPROP_SQUARES = {add_squares, measure_update, count_agreements, scale_units};
}  // namespace rmsprop
