// The C interface: which instruction set, which elements on which thread.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "kernel.hpp"
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

// Below this many elements per thread, waking a thread costs more than it saves.
constexpr int64_t kTorchGrain = 16 * 1024;  // a thread that waits in torch's pool: about 5 µs
constexpr int64_t kOwnGrain = 128 * 1024;   // a thread that must be started: about 30 µs

int32_t run_on_own_threads(int64_t total, int32_t threads, Work& work) {
  const int64_t parts = std::clamp<int64_t>(total / kOwnGrain, 1, std::max(threads, 1));
  std::vector<std::thread> started;
  started.reserve(static_cast<size_t>(parts));
  int64_t part = 1;
  try {
    for (; part < parts; ++part)
      started.emplace_back(update_range, total * part / parts, total * (part + 1) / parts, &work);
  } catch (const std::system_error&) {
    update_range(total * part / parts, total, &work);  // no more threads to be had: this one does the rest
  }
  update_range(0, total / parts, &work);
  for (auto& thread : started) thread.join();
  return 0;
}

}  // namespace

extern "C" {

int32_t rmsprop_update(const rmsprop_batch* batches, int64_t count, rmsprop_parallel_for parallel_for,
                       int32_t threads) {
  Work work{batches, count, in_use().load()->kernels};
  int64_t total = 0;
  for (int64_t k = 0; k < count; ++k) total += elements(batches[k]);
  if (total == 0) return 0;
  if (parallel_for) return parallel_for(0, total, kTorchGrain, update_range, &work);
  return run_on_own_threads(total, threads, work);
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
