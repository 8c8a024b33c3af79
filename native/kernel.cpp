// The loops over the update. Compiled once per instruction set, with RMSPROP_KERNELS naming the table it defines.
#include "kernel.hpp"

#include <array>
#include <utility>

#include "update.hpp"

#if defined(_MSC_VER)
#define RMSPROP_RESTRICT __restrict
#else
#define RMSPROP_RESTRICT __restrict__
#endif

namespace {

using rmsprop::Kernel;
using rmsprop::kKernels;
using rmsprop::kMomenta;
using rmsprop::kWeightDecays;

template <class T>
T* from(void** table, int64_t i, int64_t begin) {
  return static_cast<T*>(table[i]) + begin;
}

// Elements [begin, end) of tensor i, from front to back. The numbers are a copy, which no store can change.
template <int dtype, bool centered, int momentum_mode, int weight_decay_mode, class T>
void walk(const rmsprop_batch& batch, const Numbers<T> numbers, int64_t i, int64_t begin, int64_t end) {
  using Storage = StorageOf<dtype>;
  using Stored = typename Storage::Stored;
  constexpr bool has_buffer = momentum_mode != RMSPROP_NO_MOMENTUM;

  const int64_t size = end - begin;
  Stored* RMSPROP_RESTRICT params = from<Stored>(batch.params, i, begin);
  const Stored* RMSPROP_RESTRICT grads = static_cast<const Stored*>(batch.grads[i]) + begin;
  T* RMSPROP_RESTRICT spreads = from<T>(batch.spreads, i, begin);
  T* RMSPROP_RESTRICT means = centered ? from<T>(batch.means, i, begin) : nullptr;
  T* RMSPROP_RESTRICT buffers = has_buffer ? from<T>(batch.buffers, i, begin) : nullptr;

  for (int64_t k = 0; k < size; ++k) {
    T p = Storage::widen(params[k]), spread = spreads[k];
    T mean{}, buffer{};
    if constexpr (centered) mean = means[k];
    if constexpr (has_buffer) buffer = buffers[k];
    update<centered, momentum_mode, weight_decay_mode>(numbers, static_cast<T>(Storage::widen(grads[k])), p, spread,
                                                       mean, buffer);
    params[k] = Storage::narrow(p);
    spreads[k] = spread;
    if constexpr (centered) means[k] = mean;
    if constexpr (has_buffer) buffers[k] = buffer;
  }
}

// Far beyond the caches two places at once, by turns of a kilobyte, are read a tenth faster than one: the memory's
// prefetchers stop at every page, and meanwhile the other place goes on.
constexpr int64_t kTurn = 256;
constexpr int64_t kLong = 128 * 1024;

template <int dtype, bool centered, int momentum_mode, int weight_decay_mode>
void run(const rmsprop_batch& batch, int64_t i, int64_t begin, int64_t end) {
  using T = typename StorageOf<dtype>::Working;
  const Numbers<T> numbers(batch.rule);
  const auto walk_over = [&](int64_t first, int64_t last) {
    walk<dtype, centered, momentum_mode, weight_decay_mode>(batch, numbers, i, first, last);
  };
  const int64_t half = end - begin < kLong ? 0 : (end - begin) / 2 / kTurn * kTurn;
  for (int64_t k = begin; k < begin + half; k += kTurn) {
    walk_over(k, k + kTurn);
    walk_over(k + half, k + half + kTurn);
  }
  walk_over(begin + 2 * half, end);
}

// The inverse of kernel_index.
template <int index>
constexpr Kernel kernel_at() {
  constexpr int weight_decay_mode = index % kWeightDecays;
  constexpr int momentum_mode = index / kWeightDecays % kMomenta;
  constexpr int rest = index / kWeightDecays / kMomenta;
  return run<rest / 2, rest % 2 == 1, momentum_mode, weight_decay_mode>;
}

template <int... index>
constexpr std::array<Kernel, kKernels> all_kernels(std::integer_sequence<int, index...>) {
  return {kernel_at<index>()...};
}

constexpr auto table = all_kernels(std::make_integer_sequence<int, kKernels>());

}  // namespace

namespace rmsprop {
const Kernel* const RMSPROP_KERNELS = table.data();
}  // namespace rmsprop
