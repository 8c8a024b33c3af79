// The loops over the update. Compiled once per instruction set, with RMSPROP_KERNELS naming the table it defines.
#include "kernel.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "storage.hpp"
#include "units.hpp"
#include "update.hpp"
#include "walk.hpp"

namespace {

using rmsprop::Kernel;
using rmsprop::kKernels;

// Far beyond the caches two places at once, by turns of a kilobyte, are read a tenth faster than one: the memory's
// prefetchers stop at every page, and meanwhile the other place goes on. Not with packed averages beside the squares:
// they are too many places then, and it took up to 40 % longer.
constexpr int64_t kTurn = 256;
constexpr int64_t kLong = 128 * 1024;

template <class Part>
void by_turns(int64_t begin, int64_t end, const Part& part) {
  const int64_t half = end - begin < kLong ? 0 : (end - begin) / 2 / kTurn * kTurn;
  for (int64_t k = begin; k < begin + half; k += kTurn) {
    part(k, k + kTurn);
    part(k + half, k + half + kTurn);
  }
  part(begin + 2 * half, end);
}

// What is updated where it lies: the state, and parameters that are stored in working precision.
template <bool centered, Buffer kind, class T, bool usual>
class Tensor {
 public:
  Tensor(const rmsprop_batch& batch, const Numbers<T, usual>& numbers, int64_t i)
      : batch_(batch), numbers_(numbers), i_(i) {}

  void in_place(int64_t first, int64_t last) const {
    walk<centered, kind>(last - first, numbers_, from<T>(batch_.params, i_, first), from<T>(batch_.grads, i_, first),
                         from<T>(batch_.spreads, i_, first), centered ? from<T>(batch_.means, i_, first) : nullptr,
                         kind != Buffer::kNone ? from<T>(batch_.buffers, i_, first) : nullptr);
  }

  // What is stored otherwise passes through the first cache in working precision, a block at a time.
  void in_blocks(const Narrow* narrow, const Packed* state, int64_t first, int64_t last) const {
    T params[kBlock], grads[kBlock], spreads[kBlock], means[kBlock], buffers[kBlock];
    for (int64_t k = first; k < last; k += kBlock) {
      const int64_t size = std::min(kBlock, last - k);
      if (narrow) narrow->read_params(k, size, params), narrow->read_grads(k, size, grads);
      if (state) state[0].read(k, size, spreads);
      if (state && centered) state[1].read(k, size, means);
      if (state && kind != Buffer::kNone) state[2].read(k, size, buffers);
      walk<centered, kind>(size, numbers_, narrow ? params : from<T>(batch_.params, i_, k),
                           narrow ? grads : from<T>(batch_.grads, i_, k),
                           state ? spreads : from<T>(batch_.spreads, i_, k),
                           state || !centered ? means : from<T>(batch_.means, i_, k),
                           state || kind == Buffer::kNone ? buffers : from<T>(batch_.buffers, i_, k));
      if (narrow) narrow->write_params(params, k, size);
      if (state) state[0].write(spreads, k, size);
      if (state && centered) state[1].write(means, k, size);
      if (state && kind != Buffer::kNone) state[2].write(buffers, k, size);
    }
  }

 private:
  const rmsprop_batch& batch_;
  const Numbers<T, usual>& numbers_;
  const int64_t i_;
};

// Elements [begin, end) of tensor i.
template <bool centered, Buffer kind, class T, bool usual>
void update_tensor(const rmsprop_batch& batch, const Numbers<T, usual>& numbers, int64_t i, int64_t begin,
                   int64_t end) {
  const Tensor<centered, kind, T, usual> tensor(batch, numbers, i);
  if constexpr (sizeof(T) == sizeof(float)) {
    const bool is_narrow = batch.dtype != RMSPROP_FLOAT32, is_packed = batch.packing != RMSPROP_UNPACKED;
    if (is_narrow || is_packed) {
      const Narrow narrow(batch, i);
      const Packed state[] = {{batch, i, kSpreads}, {batch, i, kMeans}, {batch, i, kBuffers}};
      const auto part = [&](int64_t first, int64_t last) {
        tensor.in_blocks(is_narrow ? &narrow : nullptr, is_packed ? state : nullptr, first, last);
      };
      return is_packed && (centered || kind != Buffer::kNone) ? part(begin, end) : by_turns(begin, end, part);
    }
  }
  by_turns(begin, end, [&](int64_t first, int64_t last) { tensor.in_place(first, last); });
}

template <bool centered, Buffer kind, class T, bool usual>
void update_tensors(const rmsprop_batch& batch, int64_t begin, int64_t end) {
  Numbers<T, usual> numbers(batch.rule);
  int64_t offset = 0;
  for (int64_t i = 0; i < batch.count && offset < end; ++i) {
    const int64_t size = rmsprop::size_of(batch, i);
    const int64_t first = next_scale(batch, std::max<int64_t>(begin - offset, 0));
    const int64_t last = std::min(next_scale(batch, end - offset), size);
    if (batch.update_scales) numbers.update_scale = static_cast<T>(batch.update_scales[i]);
    if (batch.agreement_scales) numbers.agreement_scale = static_cast<T>(batch.agreement_scales[i]);
    if (first < last)
      by_unit(batch, i, first, last, numbers,
              [&](int64_t k, int64_t end) { update_tensor<centered, kind>(batch, numbers, i, k, end); });
    offset += size;
  }
}

template <bool wide, bool centered, Buffer kind>
void run(const rmsprop_batch& batch, int64_t begin, int64_t end) {
  using T = std::conditional_t<wide, double, float>;
  if (is_usual(batch.rule))
    update_tensors<centered, kind, T, true>(batch, begin, end);
  else
    update_tensors<centered, kind, T, false>(batch, begin, end);
}

// The inverse of kernel_index.
template <int index>
constexpr Kernel kernel_at() {
  using rmsprop::kBuffers;
  return run<index / kBuffers / 2 == 1, index / kBuffers % 2 == 1, static_cast<Buffer>(index % kBuffers)>;
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
