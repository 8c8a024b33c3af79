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

template <int dtype, bool centered, int momentum_mode, int weight_decay_mode>
void run(const rmsprop_batch& batch, int64_t i, int64_t begin, int64_t end) {
  using Storage = StorageOf<dtype>;
  using Stored = typename Storage::Stored;
  using T = typename Storage::Working;
  constexpr bool has_buffer = momentum_mode != RMSPROP_NO_MOMENTUM;

  const Numbers<T> numbers(batch.rule);
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
