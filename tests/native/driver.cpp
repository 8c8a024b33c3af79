// The library without Python: runs updates that `write_cases.py` wrote to a file, by every instruction set, on one
// thread and on several, and compares each bit of the results with what the specification says. For machines that have
// no Python, and for sanitizers, which want a program of their own.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "../../native/rmsprop.h"

#if defined(_WIN32)
#include <windows.h>
static void* function(const char* path, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(LoadLibraryA(path), name));
}
#else
#include <dlfcn.h>
static void* function(const char* path, const char* name) { return dlsym(dlopen(path, RTLD_NOW), name); }
#endif

namespace {

using Bytes = std::vector<char>;

struct Case {
  rmsprop_rule rule;
  double update_scale;
  int32_t dtype;
  int64_t size;
  std::vector<Bytes> before, after;  // param, grad, spread, mean, buffer; param, spread, mean, buffer
};

class Reader {
 public:
  explicit Reader(const char* path) {
    std::ifstream file(path, std::ios::binary);
    content_.assign(std::istreambuf_iterator<char>(file), {});
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  Bytes bytes(int64_t count) {
    const auto begin = content_.begin() + place_;
    place_ += count;
    return Bytes(begin, begin + count);
  }
  Case next() {
    Case found{number<rmsprop_rule>(), number<double>(), number<int32_t>(), number<int64_t>(), {}, {}};
    for (std::vector<Bytes>* side : {&found.before, &found.after})
      for (int32_t count = number<int32_t>(); count > 0; --count) side->push_back(bytes(number<int64_t>()));
    return found;
  }

 private:
  Bytes content_;
  int64_t place_ = 0;
};

template <class Bits>
bool same(const Bytes& ours, const Bytes& expected, Bits infinity) {
  const Bits magnitude = static_cast<Bits>(Bits(~Bits(0)) >> 1);
  for (size_t at = 0; at < ours.size(); at += sizeof(Bits)) {
    Bits a, b;
    std::memcpy(&a, &ours[at], sizeof(Bits));
    std::memcpy(&b, &expected[at], sizeof(Bits));
    const bool both_nan = (a & magnitude) > infinity && (b & magnitude) > infinity;
    if (a != b && !both_nan) return false;
  }
  return true;
}

bool same_numbers(const Bytes& ours, const Bytes& expected, int32_t dtype) {
  switch (dtype) {
    case RMSPROP_FLOAT64:
      return same<uint64_t>(ours, expected, 0x7ff0000000000000);
    case RMSPROP_FLOAT16:
      return same<uint16_t>(ours, expected, 0x7c00);
    case RMSPROP_BFLOAT16:
      return same<uint16_t>(ours, expected, 0x7f80);
    default:
      return same<uint32_t>(ours, expected, 0x7f800000);
  }
}

int32_t state_dtype(int32_t dtype) { return dtype == RMSPROP_FLOAT64 ? RMSPROP_FLOAT64 : RMSPROP_FLOAT32; }

struct Functions {
  decltype(&rmsprop_update) update;
  decltype(&rmsprop_count_agreements) count_agreements;
};

bool passes(const Case& one, const Functions& kernel, int32_t threads) {
  std::vector<Bytes> arrays = one.before;  // in memory of their exact sizes, whose ends a sanitizer guards
  const int64_t first = one.size / 3;
  const int64_t itemsize = static_cast<int64_t>(arrays[0].size()) / one.size;
  const int64_t state_itemsize = static_cast<int64_t>(arrays[2].size()) / one.size;
  int64_t sizes[] = {first, RMSPROP_RESTS, one.size - first};
  void* tables[5][3] = {};
  for (size_t column = 0; column < arrays.size(); ++column) {
    char* const data = arrays[column].data();
    if (arrays[column].empty()) continue;
    tables[column][0] = data;
    tables[column][2] = data + first * (column < 2 ? itemsize : state_itemsize);
  }
  const double update_scales[] = {one.update_scale, 0, one.update_scale};
  rmsprop_batch batch{};
  batch.rule = one.rule;
  batch.dtype = one.dtype;
  batch.device = {1, 0};
  batch.count = 3;
  batch.sizes = sizes;
  batch.params = tables[0];
  batch.grads = tables[1];
  batch.spreads = tables[2];
  batch.means = tables[3];
  batch.buffers = tables[4];
  if (one.update_scale != 1) batch.update_scales = update_scales;
  double agreement_scales[3];
  if (one.rule.caution) {  // the two parts are one tensor to the specification
    int64_t counts[3] = {};
    if (kernel.count_agreements(&batch, nullptr, threads, counts) != 0) return false;
    const double scale = static_cast<double>(one.size) / static_cast<double>(counts[0] + counts[2]);
    std::fill(agreement_scales, agreement_scales + 3, std::min(scale, 1e3));
    batch.agreement_scales = agreement_scales;
  }
  const rmsprop_batch* const batches[] = {&batch};
  if (kernel.update(batches, 1, nullptr, threads) != 0) return false;
  bool all = same_numbers(arrays[0], one.after[0], one.dtype);
  for (size_t column = 2; column < arrays.size(); ++column)
    all = all && same_numbers(arrays[column], one.after[column - 1], state_dtype(one.dtype));
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::printf("usage: driver LIBRARY CASES\n");
    return 2;
  }
  const Functions kernel = {
      reinterpret_cast<decltype(&rmsprop_update)>(function(arguments[1], "rmsprop_update")),
      reinterpret_cast<decltype(&rmsprop_count_agreements)>(function(arguments[1], "rmsprop_count_agreements"))};
  const auto use =
      reinterpret_cast<decltype(&rmsprop_use_instruction_set)>(function(arguments[1], "rmsprop_use_instruction_set"));
  Reader reader(arguments[2]);
  std::vector<Case> cases;
  for (int64_t left = reader.number<int64_t>(); left > 0; --left) cases.push_back(reader.next());
  int passed = 0, failed = 0;
  for (const char* set : {"avx512", "avx2", "baseline"}) {
    if (use(set) != 0) continue;
    std::printf("%s\n", set);
    for (const Case& one : cases)
      for (const int32_t threads : {1, 4}) (passes(one, kernel, threads) ? passed : failed) += 1;
  }
  // Callers that meet: each has arrays of its own, and the pool's threads go to whoever comes first.
  std::vector<std::thread> callers;
  std::vector<char> met(4, 0);
  for (size_t caller = 0; caller < met.size(); ++caller)
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 5; ++round) met[caller] += passes(cases.back(), kernel, 3);
    });
  for (std::thread& caller : callers) caller.join();
  for (const char each : met) (each == 5 ? passed : failed) += 1;
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}
