// The C interface: which instruction set, which elements on which thread.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string>

#include "arithmetic.hpp"
#include "cpu.hpp"
#include "kernel.hpp"
#include "pool.hpp"
#include "rmsprop.h"
#include "rows.hpp"
#include "squares.hpp"

namespace {

using rmsprop::Kernel;
using rmsprop::RowKernels;
using rmsprop::Squares;
using rmsprop::StandardArithmetic;

struct InstructionSet {
  const char* name;
  const Kernel* kernels;
  const Squares* squares;
  const RowKernels* rows;
  bool available;
};

// Best first. None of this is ever destroyed: at the end of a program a thread may still be in an update.
#if defined(RMSPROP_X86)
constexpr int kInstructionSets = 3;
#else
constexpr int kInstructionSets = 1;
#endif

const InstructionSet* instruction_sets() {
  static const InstructionSet sets[kInstructionSets] = {
#if defined(RMSPROP_X86)
      {"avx512", rmsprop::kernels_avx512, &rmsprop::squares_avx512, &rmsprop::rows_avx512, rmsprop::has_avx512()},
      {"avx2", rmsprop::kernels_avx2, &rmsprop::squares_avx2, &rmsprop::rows_avx2, rmsprop::has_avx2()},
#endif
      {"baseline", rmsprop::kernels_baseline, &rmsprop::squares_baseline, &rmsprop::rows_baseline, true},
  };
  return sets;
}

const InstructionSet* best() {
  const InstructionSet* sets = instruction_sets();
  return std::find_if(sets, sets + kInstructionSets, [](const InstructionSet& set) { return set.available; });
}

std::atomic<const InstructionSet*>& in_use() {
  static std::atomic<const InstructionSet*> set = best();
  return set;
}

struct Work {
  const rmsprop_batch* const* batches;
  int64_t count;
  const Kernel* kernels;
};

int64_t elements(const rmsprop_batch& batch) {
  int64_t sum = 0;
  for (int64_t i = 0; i < batch.count; ++i) sum += rmsprop::size_of(batch, i);
  return sum;
}

// All batches lie end to end in one index space; this is its part [begin, end).
void update_range(int64_t begin, int64_t end, void* context) {
  const StandardArithmetic whatever_the_thread_does_otherwise;
  const Work& work = *static_cast<const Work*>(context);
  for (int64_t k = 0; k < work.count && end > 0; ++k) {
    const rmsprop_batch& batch = *work.batches[k];
    const int index = rmsprop::kernel_index(batch.dtype, batch.rule);
    const int64_t size = elements(batch);
    if (begin < size) work.kernels[index](batch, std::max<int64_t>(begin, 0), std::min(end, size));
    begin -= size;
    end -= size;
  }
}

void add(const rmsprop_squares& part, rmsprop_squares& total) {
  for (int k = 0; k < RMSPROP_LIMBS; ++k)
    for (int word = 0; word < 2; ++word) total.limbs[k][word] += part.limbs[k][word];
  total.infinities += part.infinities;
  total.nans += part.nans;
}

struct Sum {
  Work work;
  const Squares* squares;
  rmsprop_squares* total;  // of all gradients, or one per tensor
  std::mutex mutex;
};

// As update_range, adding the squares of gradients.
void add_range(int64_t begin, int64_t end, void* context) {
  const StandardArithmetic whatever_the_thread_does_otherwise;
  Sum& sum = *static_cast<Sum*>(context);
  rmsprop_squares own{};
  for (int64_t k = 0; k < sum.work.count && end > 0; ++k) {
    const rmsprop_batch& batch = *sum.work.batches[k];
    const int64_t size = elements(batch);
    if (begin < size) sum.squares->add(batch, std::max<int64_t>(begin, 0), std::min(end, size), own);
    begin -= size;
    end -= size;
  }
  const std::lock_guard<std::mutex> lock(sum.mutex);
  add(own, *sum.total);
}

// Calls read(i, first, last) on the parts of a batch's tensors that lie in [begin, end).
template <class Read>
void by_tensor(const rmsprop_batch& batch, int64_t begin, int64_t end, const Read& read) {
  const StandardArithmetic whatever_the_thread_does_otherwise;
  for (int64_t i = 0; i < batch.count && end > 0; ++i) {
    const int64_t size = rmsprop::size_of(batch, i);
    const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, size);
    if (first < last) read(i, first, last);
    begin -= size;
    end -= size;
  }
}

// As update_range, adding the squares of the quotients of an update, tensor by tensor.
void measure_range(int64_t begin, int64_t end, void* context) {
  Sum& sum = *static_cast<Sum*>(context);
  const rmsprop_batch& batch = **sum.work.batches;
  by_tensor(batch, begin, end, [&](int64_t i, int64_t first, int64_t last) {
    rmsprop_squares own{};
    sum.squares->measure(batch, i, first, last, own);
    const std::lock_guard<std::mutex> lock(sum.mutex);
    add(own, sum.total[i]);
  });
}

struct Agreements {
  const rmsprop_batch& batch;
  const Squares* squares;
  int64_t* counts;
  std::mutex mutex;
};

// As update_range, counting the elements whose step agrees with their gradient, tensor by tensor.
void count_range(int64_t begin, int64_t end, void* context) {
  Agreements& found = *static_cast<Agreements*>(context);
  by_tensor(found.batch, begin, end, [&](int64_t i, int64_t first, int64_t last) {
    const int64_t count = found.squares->count(found.batch, i, first, last);
    const std::lock_guard<std::mutex> lock(found.mutex);
    found.counts[i] += count;
  });
}

struct Units {
  const rmsprop_batch& batch;
  const Squares* squares;
  double max_ratio;
};

// As update_range, writing what clips the gradients of the units that begin there.
void scale_range(int64_t begin, int64_t end, void* context) {
  const Units& units = *static_cast<Units*>(context);
  by_tensor(units.batch, begin, end, [&](int64_t i, int64_t first, int64_t last) {
    units.squares->scale_units(units.batch, units.max_ratio, i, first, last);
  });
}

template <class T>
void count_steps(const rmsprop_batch& batch) {
  for (int64_t i = 0; i < batch.count; ++i)
    if (batch.sizes[i] != RMSPROP_RESTS) *static_cast<T*>(batch.steps[i]) += 1;
}

// Elements per thread below which another of torch's threads costs more than it saves. Measured on two cores, medians
// of one and of two threads: 200,000 elements take 45 and 26 µs right after other work on both, but 181 and 243 µs when
// the second thread has to be woken, which then spins for milliseconds.
constexpr int64_t kTorchGrain = 128 * 1024;

// Calls body on ranges that cover the elements of all batches; returns 0, or what parallel_for returned.
int32_t in_parallel(const rmsprop_batch* const* batches, int64_t count, rmsprop_parallel_for parallel_for,
                    int32_t threads, rmsprop_body body, void* context) {
  int64_t total = 0;
  for (int64_t k = 0; k < count; ++k) total += elements(*batches[k]);
  if (total > 0 && parallel_for && total >= 2 * kTorchGrain) return parallel_for(0, total, kTorchGrain, body, context);
  if (total > 0) rmsprop::run_on_pool(total, parallel_for ? 1 : threads, body, context);
  return 0;
}

}  // namespace

const RowKernels& rmsprop::row_kernels() { return *in_use().load()->rows; }

extern "C" {

int32_t rmsprop_update(const rmsprop_batch* const* batches, int64_t count, rmsprop_parallel_for parallel_for,
                       int32_t threads) {
  Work work{batches, count, in_use().load()->kernels};
  if (const int32_t status = in_parallel(batches, count, parallel_for, threads, update_range, &work)) return status;
  for (int64_t k = 0; k < count; ++k) rmsprop_count(batches[k]);
  return 0;
}

int32_t rmsprop_add_squares(const rmsprop_batch* const* batches, int64_t count, rmsprop_parallel_for parallel_for,
                            int32_t threads, rmsprop_squares* sum) {
  Sum work{{batches, count, nullptr}, in_use().load()->squares, sum, {}};
  return in_parallel(batches, count, parallel_for, threads, add_range, &work);
}

int32_t rmsprop_measure_updates(const rmsprop_batch* batch, rmsprop_parallel_for parallel_for, int32_t threads,
                                rmsprop_squares* sums) {
  Sum work{{&batch, 1, nullptr}, in_use().load()->squares, sums, {}};
  return in_parallel(&batch, 1, parallel_for, threads, measure_range, &work);
}

int32_t rmsprop_scale_units(const rmsprop_batch* batch, double max_ratio, rmsprop_parallel_for parallel_for,
                            int32_t threads) {
  Units units{*batch, in_use().load()->squares, max_ratio};
  return in_parallel(&batch, 1, parallel_for, threads, scale_range, &units);
}

int32_t rmsprop_count_agreements(const rmsprop_batch* batch, rmsprop_parallel_for parallel_for, int32_t threads,
                                 int64_t* counts) {
  Agreements found{*batch, in_use().load()->squares, counts, {}};
  return in_parallel(&batch, 1, parallel_for, threads, count_range, &found);
}

void rmsprop_count(const rmsprop_batch* batch) {
  if (!batch->steps) return;
  batch->wide_steps ? count_steps<double>(*batch) : count_steps<float>(*batch);
}

const char* rmsprop_instruction_set(void) { return in_use().load()->name; }

int32_t rmsprop_use_instruction_set(const char* name) {
  for (int k = 0; k < kInstructionSets; ++k) {
    const InstructionSet& set = instruction_sets()[k];
    if (set.available && std::strcmp(set.name, name) == 0) {
      in_use() = &set;
      return 0;
    }
  }
  return 1;
}

#define RMSPROP_FIELD(of, name) {#name, offsetof(of, name)}
#define RMSPROP_SIZE(of) {#of, sizeof(of)}

const char* rmsprop_layout(void) {
  static constexpr struct {
    const char* name;
    size_t place;
  } fields[] = {
      RMSPROP_FIELD(rmsprop_rule, lr),
      RMSPROP_FIELD(rmsprop_rule, grad_scale),
      RMSPROP_FIELD(rmsprop_rule, gain),
      RMSPROP_FIELD(rmsprop_rule, keep),
      RMSPROP_FIELD(rmsprop_rule, eps_inside),
      RMSPROP_FIELD(rmsprop_rule, eps_outside),
      RMSPROP_FIELD(rmsprop_rule, momentum),
      RMSPROP_FIELD(rmsprop_rule, momentum_loss),
      RMSPROP_FIELD(rmsprop_rule, momentum_gain),
      RMSPROP_FIELD(rmsprop_rule, weight_decay),
      RMSPROP_FIELD(rmsprop_rule, max_grad),
      RMSPROP_FIELD(rmsprop_rule, max_quotient),
      RMSPROP_FIELD(rmsprop_rule, is_first),
      RMSPROP_FIELD(rmsprop_rule, share),
      RMSPROP_FIELD(rmsprop_rule, average_lr),
      RMSPROP_FIELD(rmsprop_rule, new_is_base),
      RMSPROP_FIELD(rmsprop_rule, centered),
      RMSPROP_FIELD(rmsprop_rule, has_momentum),
      RMSPROP_FIELD(rmsprop_rule, short_momentum),
      RMSPROP_FIELD(rmsprop_rule, nesterov),
      RMSPROP_FIELD(rmsprop_rule, lr_in_momentum),
      RMSPROP_FIELD(rmsprop_rule, weight_decay_mode),
      RMSPROP_FIELD(rmsprop_rule, delayed),
      RMSPROP_FIELD(rmsprop_rule, limits),
      RMSPROP_FIELD(rmsprop_rule, averages),
      RMSPROP_FIELD(rmsprop_rule, caution),
      RMSPROP_SIZE(rmsprop_rule),
      RMSPROP_FIELD(rmsprop_batch, rule),
      RMSPROP_FIELD(rmsprop_batch, dtype),
      RMSPROP_FIELD(rmsprop_batch, device),
      RMSPROP_FIELD(rmsprop_batch, equal_steps),
      RMSPROP_FIELD(rmsprop_batch, count),
      RMSPROP_FIELD(rmsprop_batch, sizes),
      RMSPROP_FIELD(rmsprop_batch, params),
      RMSPROP_FIELD(rmsprop_batch, grads),
      RMSPROP_FIELD(rmsprop_batch, spreads),
      RMSPROP_FIELD(rmsprop_batch, means),
      RMSPROP_FIELD(rmsprop_batch, buffers),
      RMSPROP_FIELD(rmsprop_batch, steps),
      RMSPROP_FIELD(rmsprop_batch, wide_steps),
      RMSPROP_FIELD(rmsprop_batch, step),
      RMSPROP_FIELD(rmsprop_batch, rounding),
      RMSPROP_FIELD(rmsprop_batch, seed),
      RMSPROP_FIELD(rmsprop_batch, places),
      RMSPROP_FIELD(rmsprop_batch, lost),
      RMSPROP_FIELD(rmsprop_batch, update_scales),
      RMSPROP_FIELD(rmsprop_batch, agreement_scales),
      RMSPROP_FIELD(rmsprop_batch, unit_sizes),
      RMSPROP_FIELD(rmsprop_batch, unit_scales),
      RMSPROP_FIELD(rmsprop_batch, packing),
      RMSPROP_FIELD(rmsprop_batch, spread_scales),
      RMSPROP_FIELD(rmsprop_batch, mean_scales),
      RMSPROP_FIELD(rmsprop_batch, buffer_scales),
      RMSPROP_SIZE(rmsprop_batch),
      RMSPROP_FIELD(rmsprop_squares, limbs),
      RMSPROP_FIELD(rmsprop_squares, infinities),
      RMSPROP_FIELD(rmsprop_squares, nans),
      RMSPROP_SIZE(rmsprop_squares),
      RMSPROP_FIELD(rmsprop_rows, count),
      RMSPROP_FIELD(rmsprop_rows, width),
      RMSPROP_FIELD(rmsprop_rows, per_unit),
      RMSPROP_FIELD(rmsprop_rows, last),
      RMSPROP_FIELD(rmsprop_rows, now),
      RMSPROP_FIELD(rmsprop_rows, entries),
      RMSPROP_FIELD(rmsprop_rows, indices),
      RMSPROP_FIELD(rmsprop_rows, segments),
      RMSPROP_FIELD(rmsprop_rows, begins),
      RMSPROP_FIELD(rmsprop_rows, corrected),
      RMSPROP_FIELD(rmsprop_rows, kept),
      RMSPROP_FIELD(rmsprop_rows, lost),
      RMSPROP_FIELD(rmsprop_rows, later_kept),
      RMSPROP_FIELD(rmsprop_rows, later_lost),
      RMSPROP_FIELD(rmsprop_rows, chosen),
      RMSPROP_FIELD(rmsprop_rows, units),
      RMSPROP_FIELD(rmsprop_rows, drift_begin),
      RMSPROP_FIELD(rmsprop_rows, drift_kept),
      RMSPROP_FIELD(rmsprop_rows, drift_taken),
      RMSPROP_FIELD(rmsprop_rows, drift_left),
      RMSPROP_FIELD(rmsprop_rows, rowwise),
      RMSPROP_FIELD(rmsprop_rows, stale_decay),
      RMSPROP_SIZE(rmsprop_rows),
  };
  static const std::string* const layout = [] {
    auto* told = new std::string;
    for (const auto& field : fields) {
      if (!told->empty()) told->push_back(' ');
      told->append(field.name).append(":").append(std::to_string(field.place));
    }
    return told;
  }();
  return layout->c_str();
}

}  // extern "C"
