// The loops over the update. Compiled once per instruction set, with RMSPROP_KERNELS naming the table it defines.
#include "kernel.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "storage.hpp"
#include "update.hpp"

#if defined(_MSC_VER)
#define RMSPROP_RESTRICT __restrict
#define RMSPROP_NOINLINE __declspec(noinline)
#else
#define RMSPROP_RESTRICT __restrict__
#define RMSPROP_NOINLINE __attribute__((noinline))
#endif

namespace {

using rmsprop::Kernel;
using rmsprop::kKernels;

template <class T>
T* from(void** table, int64_t i, int64_t begin) {
  return static_cast<T*>(table[i]) + begin;
}

// The loop. A function of its own, because a compiler believes that arguments don't share memory, but not that local
// pointers don't: with five arrays it would give up looking for overlaps, and with it vectors.
template <bool centered, bool has_momentum, class Storage, class Stored, class T, bool usual>
RMSPROP_NOINLINE void walk(int64_t size, const Numbers<T, usual>& RMSPROP_RESTRICT numbers,
                           Stored* RMSPROP_RESTRICT params, const Stored* RMSPROP_RESTRICT grads,
                           T* RMSPROP_RESTRICT spreads, T* RMSPROP_RESTRICT means, T* RMSPROP_RESTRICT buffers) {
  for (int64_t k = 0; k < size; ++k) {
    T p = Storage::widen(params[k]), spread = spreads[k];
    T mean{}, buffer{};
    if constexpr (centered) mean = means[k];
    if constexpr (has_momentum) buffer = buffers[k];
    update<centered, has_momentum>(numbers, static_cast<T>(Storage::widen(grads[k])), p, spread, mean, buffer);
    params[k] = Storage::narrow(p);
    spreads[k] = spread;
    if constexpr (centered) means[k] = mean;
    if constexpr (has_momentum) buffers[k] = buffer;
  }
}

// Far beyond the caches two places at once, by turns of a kilobyte, are read a tenth faster than one: the memory's
// prefetchers stop at every page, and meanwhile the other place goes on.
constexpr int64_t kTurn = 256;
constexpr int64_t kLong = 128 * 1024;

// Elements [begin, end) of tensor i.
template <int dtype, bool centered, bool has_momentum, class T, bool usual>
void update_tensor(const rmsprop_batch& batch, const Numbers<T, usual>& numbers, int64_t i, int64_t begin,
                   int64_t end) {
  const auto walk_over = [&](int64_t first, int64_t last) {
    using Storage = StorageOf<dtype>;
    using Stored = typename Storage::Stored;
    walk<centered, has_momentum, Storage>(
        last - first, numbers, from<Stored>(batch.params, i, first),
        static_cast<const Stored*>(from<Stored>(batch.grads, i, first)), from<T>(batch.spreads, i, first),
        centered ? from<T>(batch.means, i, first) : nullptr, has_momentum ? from<T>(batch.buffers, i, first) : nullptr);
  };
  const int64_t half = end - begin < kLong ? 0 : (end - begin) / 2 / kTurn * kTurn;
  for (int64_t k = begin; k < begin + half; k += kTurn) {
    walk_over(k, k + kTurn);
    walk_over(k + half, k + half + kTurn);
  }
  walk_over(begin + 2 * half, end);
}

template <int dtype, bool centered, bool has_momentum, bool usual>
void update_tensors(const rmsprop_batch& batch, int64_t begin, int64_t end) {
  const Numbers<typename StorageOf<dtype>::Working, usual> numbers(batch.rule);
  int64_t offset = 0;
  for (int64_t i = 0; i < batch.count && offset < end; ++i) {
    const int64_t size = rmsprop::size_of(batch, i);
    const int64_t first = std::max<int64_t>(begin - offset, 0), last = std::min(end - offset, size);
    if (first < last) update_tensor<dtype, centered, has_momentum>(batch, numbers, i, first, last);
    offset += size;
  }
}

template <int dtype, bool centered, bool has_momentum>
void run(const rmsprop_batch& batch, int64_t begin, int64_t end) {
  if (is_usual(batch.rule))
    update_tensors<dtype, centered, has_momentum, true>(batch, begin, end);
  else
    update_tensors<dtype, centered, has_momentum, false>(batch, begin, end);
}

// The inverse of kernel_index.
template <int index>
constexpr Kernel kernel_at() {
  return run<index / 4, index / 2 % 2 == 1, index % 2 == 1>;
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
