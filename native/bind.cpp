// From tensor objects to pointers: reads tensors through DLPack's C exchange and checks that the kernel may run on
// them.
#include <algorithm>

#include "rmsprop.h"

namespace {

constexpr uint8_t kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kComplex = 5;
constexpr int64_t kCoded = 128;  // codes of 8 bits that share a scale
constexpr int32_t kCpu = 1;
constexpr int64_t kBound = RMSPROP_BOUND;
// From here on a float can't count: adding 1 to it changes nothing.
constexpr float kFullFloat = 1 << 24;

bool is_float(const rmsprop_dltensor& tensor, uint8_t code, int bits) {
  const bool real = tensor.dtype.code == code && tensor.dtype.bits == bits;
  const bool pairs = code == kFloat && tensor.dtype.code == kComplex && tensor.dtype.bits == 2 * bits;
  return (real || pairs) && tensor.dtype.lanes == 1;
}

bool has_storage_type(const rmsprop_dltensor& tensor, int32_t dtype) {
  if (dtype == RMSPROP_BFLOAT16) return is_float(tensor, kBfloat, 16);
  return is_float(tensor, kFloat, dtype == RMSPROP_FLOAT64 ? 64 : dtype == RMSPROP_FLOAT16 ? 16 : 32);
}

bool has_state_type(const rmsprop_dltensor& tensor, int32_t dtype, int32_t packing) {
  if (packing == RMSPROP_PACKED_BFLOAT16) return is_float(tensor, kBfloat, 16);
  if (packing == RMSPROP_PACKED_8BIT) return tensor.dtype.code == kUnsigned && tensor.dtype.bits == 8;
  return is_float(tensor, kFloat, dtype == RMSPROP_FLOAT64 ? 64 : 32);
}

// No memory holds more elements than this.
constexpr int64_t kMostElements = int64_t{1} << 56;
constexpr int kHalfOfThoseBits = 28;

// The number of elements, or -1 for a shape that no array has.
int64_t elements(const rmsprop_dltensor& tensor) {
  if (tensor.ndim < 0 || (tensor.ndim > 0 && (!tensor.shape || !tensor.strides))) return -1;
  int64_t product = 1;
  bool none = false;
  for (int32_t d = 0; d < tensor.ndim; ++d) {
    const int64_t length = tensor.shape[d];
    if (length < 0) return -1;
    none = none || length == 0;
    if (length == 0) continue;
    if ((product | length) >> kHalfOfThoseBits != 0 && product > kMostElements / length) return -1;  // rarely divides
    product *= length;
  }
  return none ? 0 : product;
}

bool are_scales(const rmsprop_dltensor& tensor, int64_t codes) {
  return tensor.dtype.code == kInt && tensor.dtype.bits == 16 && tensor.ndim == 1 &&
         elements(tensor) == (codes + kCoded - 1) / kCoded && (tensor.shape[0] <= 1 || tensor.strides[0] == 1);
}

char* address(const rmsprop_dltensor& tensor) {  // of no array, perhaps: arithmetic on integers may do that
  return reinterpret_cast<char*>(reinterpret_cast<uint64_t>(tensor.data) + tensor.byte_offset);
}

// Whether the elements fill one stretch of memory, each once, in any order of the dimensions.
bool is_dense(const rmsprop_dltensor& tensor) {
  const int64_t total = elements(tensor);
  if (total <= 0) return total == 0;
  int64_t expected = 1, open = 0;
  for (int32_t d = tensor.ndim; d-- > 0;) {  // row-major: the common case, in one pass
    if (tensor.shape[d] == 1) continue;
    if (tensor.strides[d] == expected)
      expected *= tensor.shape[d];
    else
      ++open;
  }
  if (open == 0) return true;
  expected = 1;
  while (expected < total) {  // each turn at least doubles it
    int32_t d = 0;
    while (d < tensor.ndim && (tensor.shape[d] == 1 || tensor.strides[d] != expected)) ++d;
    if (d == tensor.ndim) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

bool same_order(const rmsprop_dltensor& a, const rmsprop_dltensor& b) {
  if (a.ndim != b.ndim || (a.dtype.code == kComplex) != (b.dtype.code == kComplex)) return false;
  if (b.ndim > 0 && (!b.shape || !b.strides)) return false;
  for (int32_t d = 0; d < a.ndim; ++d)
    if (a.shape[d] != b.shape[d] || (a.shape[d] > 1 && a.strides[d] != b.strides[d])) return false;
  return true;
}

// Of a tensor whose type was checked, so that its items have a size.
bool is_aligned(const rmsprop_dltensor& tensor) {
  const uint64_t itemsize = tensor.dtype.bits / 8 / (tensor.dtype.code == kComplex ? 2 : 1);
  return reinterpret_cast<uint64_t>(address(tensor)) % itemsize == 0;
}

bool overlaps(const rmsprop_stretches& written, const rmsprop_dltensor& tensor, int64_t size) {
  const uint64_t begin = reinterpret_cast<uint64_t>(address(tensor)), end = begin + size * (tensor.dtype.bits / 8);
  if (end < begin) return true;  // past the end of all memory
  const uint64_t* found = std::upper_bound(written.ends, written.ends + written.count, begin);
  return begin < end && found != written.ends + written.count && written.begins[found - written.ends] < end;
}

// Binds the arrays of one tensor after the other.
class Binding {
 public:
  Binding(rmsprop_batch& batch, void* const* objects, rmsprop_describe describe, const rmsprop_stretches& written,
          bool steps_stay)
      : batch_(batch), objects_(objects), describe_(describe), written_(written), steps_stay_(steps_stay) {}

  // Returns RMSPROP_BOUND, or what is wrong, as rmsprop_bind does.
  int64_t tensor(int64_t i) {
    rmsprop_dltensor param{};
    int64_t row = 0;
    const bool centered = batch_.rule.centered != 0, has_momentum = batch_.rule.has_momentum != 0;
    const bool is_coded = batch_.packing == RMSPROP_PACKED_8BIT;
    const struct {
      void** table;
      bool is_used;
    } columns[] = {
        {batch_.params, true},
        {batch_.grads, true},
        {batch_.spreads, true},
        {batch_.means, centered},
        {batch_.buffers, has_momentum},
        {batch_.spread_scales, is_coded},
        {batch_.mean_scales, is_coded && centered},
        {batch_.buffer_scales, is_coded && has_momentum},
        {batch_.lost, batch_.rounding == RMSPROP_KAHAN},
    };
    for (int column = 0; column <= kLost; ++column) {
      if (!columns[column].is_used) continue;
      const int64_t position = row++ * batch_.count + i;
      rmsprop_dltensor found{};
      if (describe_(objects_[position], &found) != 0) return RMSPROP_NOT_DESCRIBED;
      if (column == 0) param = found;
      if (!fits(found, param, column)) return position;
      void*& place = columns[column].table[i];
      if (place == address(found)) continue;
      if (column != kGrads || overlaps(written_, found, elements(found))) return position;
      place = address(found);
    }
    batch_.sizes[i] = elements(param) * (param.dtype.code == kComplex ? 2 : 1);
    return batch_.steps ? step(i, row * batch_.count + i) : kBound;
  }

 private:
  static constexpr int kGrads = 1, kScales = 5, kLost = 8;

  bool fits(const rmsprop_dltensor& tensor, const rmsprop_dltensor& param, int column) const {
    if (tensor.device.type != batch_.device.type || tensor.device.id != batch_.device.id) return false;
    if (column >= kScales && column < kLost) return are_scales(tensor, elements(param)) && is_aligned(tensor);
    return (column > kGrads && column < kLost ? has_state_type(tensor, batch_.dtype, batch_.packing)
                                              : has_storage_type(tensor, batch_.dtype)) &&
           is_aligned(tensor) && (column == 0 ? is_dense(tensor) : same_order(param, tensor));
  }

  int64_t step(int64_t i, int64_t position) {
    void* const place = batch_.steps[i];
    if (!steps_stay_) {
      rmsprop_dltensor found{};
      if (describe_(objects_[position], &found) != 0) return RMSPROP_NOT_DESCRIBED;
      if (!is_counter(found) || address(found) != place) return position;
    }
    if (!batch_.wide_steps && *static_cast<float*>(place) >= kFullFloat) return position;
    const double value = batch_.wide_steps ? *static_cast<double*>(place) : *static_cast<float*>(place);
    if (!has_step_) batch_.step = value;
    has_step_ = true;
    return batch_.equal_steps && value != batch_.step ? position : kBound;
  }

  bool is_counter(const rmsprop_dltensor& tensor) const {
    return tensor.device.type == kCpu && tensor.dtype.code == kFloat && tensor.dtype.lanes == 1 &&
           tensor.dtype.bits == (batch_.wide_steps ? 64 : 32) && elements(tensor) == 1;
  }

  rmsprop_batch& batch_;
  void* const* const objects_;
  const rmsprop_describe describe_;
  const rmsprop_stretches& written_;
  const bool steps_stay_;
  bool has_step_ = false;
};

}  // namespace

extern "C" int64_t rmsprop_bind(rmsprop_batch* batch, void* const* objects, const void* none, rmsprop_describe describe,
                                const rmsprop_stretches* written, int32_t steps_stay) {
  Binding binding(*batch, objects, describe, *written, steps_stay != 0);
  for (int64_t i = 0; i < batch->count; ++i) {
    batch->sizes[i] = RMSPROP_RESTS;
    if (objects[batch->count + i] == none) continue;
    if (const int64_t result = binding.tensor(i); result != kBound) return result;
  }
  return kBound;
}
