// From tensor objects to pointers: reads tensors through DLPack's C exchange and checks that the kernel may run on
// them.
#include <algorithm>

#include "rmsprop.h"

namespace {

constexpr uint8_t kFloat = 2, kBfloat = 4, kComplex = 5;

bool is_float(const rmsprop_dltensor& tensor, uint8_t code, int bits) {
  const bool real = tensor.dtype.code == code && tensor.dtype.bits == bits;
  const bool pairs = code == kFloat && tensor.dtype.code == kComplex && tensor.dtype.bits == 2 * bits;
  return (real || pairs) && tensor.dtype.lanes == 1;
}

bool has_storage_type(const rmsprop_dltensor& tensor, int32_t dtype) {
  if (dtype == RMSPROP_BFLOAT16) return is_float(tensor, kBfloat, 16);
  return is_float(tensor, kFloat, dtype == RMSPROP_FLOAT64 ? 64 : dtype == RMSPROP_FLOAT16 ? 16 : 32);
}

bool has_state_type(const rmsprop_dltensor& tensor, int32_t dtype) {
  return is_float(tensor, kFloat, dtype == RMSPROP_FLOAT64 ? 64 : 32);
}

int64_t elements(const rmsprop_dltensor& tensor) {
  int64_t product = 1;
  for (int32_t d = 0; d < tensor.ndim; ++d) product *= tensor.shape[d];
  return product;
}

// Whether the elements fill one stretch of memory, each once, in any order of the dimensions.
bool is_dense(const rmsprop_dltensor& tensor) {
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
  const int64_t total = elements(tensor);
  while (expected < total) {
    int32_t d = 0;
    while (d < tensor.ndim && (tensor.shape[d] == 1 || tensor.strides[d] != expected)) ++d;
    if (d == tensor.ndim) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

bool same_order(const rmsprop_dltensor& a, const rmsprop_dltensor& b) {
  if (a.ndim != b.ndim || (a.dtype.code == kComplex) != (b.dtype.code == kComplex)) return false;
  for (int32_t d = 0; d < a.ndim; ++d)
    if (a.shape[d] != b.shape[d] || (a.shape[d] > 1 && a.strides[d] != b.strides[d])) return false;
  return true;
}

}  // namespace

extern "C" int64_t rmsprop_bind(rmsprop_batch* batch, void* const* objects, rmsprop_describe describe) {
  void** const tables[] = {batch->params, batch->grads, batch->spreads, batch->means, batch->buffers};
  const bool used[] = {true, true, true, batch->rule.centered != 0, batch->rule.momentum_mode != RMSPROP_NO_MOMENTUM};
  for (int64_t i = 0; i < batch->count; ++i) {
    rmsprop_dltensor param{};
    int64_t position = i;
    for (int column = 0; column < 5; ++column) {
      if (!used[column]) continue;
      rmsprop_dltensor tensor{};
      if (describe(objects[position], &tensor) != 0) return RMSPROP_NOT_DESCRIBED;
      if (column == 0) param = tensor;
      const bool is_state = column > 1;
      const bool fits = tensor.device.type == batch->device.type && tensor.device.id == batch->device.id &&
                        (is_state ? has_state_type(tensor, batch->dtype) : has_storage_type(tensor, batch->dtype)) &&
                        (column == 0 ? is_dense(tensor) : same_order(param, tensor));
      if (!fits) return position;
      tables[column][i] = static_cast<char*>(tensor.data) + tensor.byte_offset;
      position += batch->count;
    }
    batch->sizes[i] = elements(param) * (param.dtype.code == kComplex ? 2 : 1);
  }
  return RMSPROP_BOUND;
}
