// The C interface: which instruction set, which elements on which thread.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "kernel.hpp"
#include "pool.hpp"
#include "rmsprop.h"

namespace {

using rmsprop::Kernel;

struct InstructionSet {
  const char* name;
  const Kernel* kernels;
  bool available;
};

// Best first.
const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets = {
#if defined(RMSPROP_X86)
      {"avx512", rmsprop::kernels_avx512,
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl")},
      {"avx2", rmsprop::kernels_avx2, __builtin_cpu_supports("avx2") != 0},
#endif
      {"baseline", rmsprop::kernels_baseline, true},
  };
  return sets;
}

const InstructionSet* best() {
  const auto& sets = instruction_sets();
  return &*std::find_if(sets.begin(), sets.end(), [](const InstructionSet& set) { return set.available; });
}

std::atomic<const InstructionSet*>& in_use() {
  static std::atomic<const InstructionSet*> set = best();
  return set;
}

struct Work {
  const rmsprop_batch* batches;
  int64_t count;
  const Kernel* kernels;
};

int64_t elements(const rmsprop_batch& batch) {
  int64_t sum = 0;
  for (int64_t i = 0; i < batch.count; ++i) sum += batch.sizes[i];
  return sum;
}

// Updates the part of a batch that lies in [begin, end), counted in elements from the batch's first.
void update_batch(const rmsprop_batch& batch, const Kernel kernel, int64_t begin, int64_t end) {
  int64_t offset = 0;
  for (int64_t i = 0; i < batch.count && offset < end; ++i) {
    const int64_t size = batch.sizes[i];
    const int64_t first = std::max<int64_t>(begin - offset, 0), last = std::min(end - offset, size);
    if (first < last) kernel(batch, i, first, last);
    offset += size;
  }
}

// All batches lie end to end in one index space; this is its part [begin, end).
void update_range(int64_t begin, int64_t end, void* context) {
  const Work& work = *static_cast<const Work*>(context);
  for (int64_t k = 0; k < work.count && end > 0; ++k) {
    const rmsprop_batch& batch = work.batches[k];
    const rmsprop_rule& rule = batch.rule;
    const int index =
        rmsprop::kernel_index(batch.dtype, rule.centered != 0, rule.momentum_mode, rule.weight_decay_mode);
    const int64_t size = elements(batch);
    if (begin < size) update_batch(batch, work.kernels[index], std::max<int64_t>(begin, 0), std::min(end, size));
    begin -= size;
    end -= size;
  }
}

// Below this many elements per thread, waking one of torch's, about 5 µs, costs more than it saves.
constexpr int64_t kTorchGrain = 16 * 1024;

}  // namespace

extern "C" {

int32_t rmsprop_update(const rmsprop_batch* batches, int64_t count, rmsprop_parallel_for parallel_for,
                       int32_t threads) {
  Work work{batches, count, in_use().load()->kernels};
  int64_t total = 0;
  for (int64_t k = 0; k < count; ++k) total += elements(batches[k]);
  if (total == 0) return 0;
  if (parallel_for) return parallel_for(0, total, kTorchGrain, update_range, &work);
  rmsprop::run_on_pool(total, threads, update_range, &work);
  return 0;
}

const char* rmsprop_instruction_set(void) { return in_use().load()->name; }

int32_t rmsprop_use_instruction_set(const char* name) {
  for (const auto& set : instruction_sets()) {
    if (set.available && std::strcmp(set.name, name) == 0) {
      in_use() = &set;
      return 0;
    }
  }
  return 1;
}

}  // extern "C"
