// The C interface for rows: who updates which. All gradients of a row, and of a unit of rows, are one thread's, which
// adds them up in the order of their places: so the bits don't depend on the number of threads.
#include <algorithm>
#include <bit>
#include <memory>
#include <new>

#include "arithmetic.hpp"
#include "pool.hpp"
#include "rmsprop.h"
#include "rows.hpp"

namespace {

using rmsprop::Entry;

// Numbers below which another thread costs more than it saves, and parts that a thread may take: rows of one part are
// anywhere in the table, so that those of few busy rows are not all one thread's.
constexpr int64_t kGrain = 64 * 1024;
constexpr int64_t kPartsPerThread = 4;

constexpr int kMostDigitBits = 11;

// Sorts entries by their units, those of a unit in the order in which they are; `other` has room for as many.
void sort(Entry* entries, Entry* other, int64_t count) {
  int64_t most = 0;
  for (int64_t k = 0; k < count; ++k) most |= entries[k].unit;
  const int bits = std::bit_width(static_cast<uint64_t>(most)), passes = (bits + kMostDigitBits - 1) / kMostDigitBits;
  const int digit_bits = passes ? (bits + passes - 1) / passes : 0;  // as few as so many passes can do with
  const int64_t digits = int64_t{1} << digit_bits;
  int64_t places[(1 << kMostDigitBits) + 1];
  Entry *from = entries, *to = other;
  for (int shift = 0; shift < bits; shift += digit_bits, std::swap(from, to)) {
    std::fill(places, places + digits + 1, 0);
    const auto digit_of = [&](int64_t k) { return (from[k].unit >> shift) & (digits - 1); };
    for (int64_t k = 0; k < count; ++k) ++places[digit_of(k) + 1];
    for (int64_t digit = 0; digit < digits; ++digit) places[digit + 1] += places[digit];
    for (int64_t k = 0; k < count; ++k) to[places[digit_of(k)]++] = from[k];
  }
  if (from != entries) std::copy(from, from + count, entries);
}

// The part that has a unit.
int64_t part_of(int64_t unit, int64_t parts) {
  const uint64_t mixed = static_cast<uint64_t>(unit) * 0x9e3779b97f4a7c15;
  return static_cast<int64_t>((mixed >> 32) * static_cast<uint64_t>(parts) >> 32);
}

struct RowWork {
  const rmsprop_batch& batch;
  const rmsprop_rows& rows;
  int64_t total, parts;  // numbers, and into how many parts they are divided
  int64_t per_part;      // numbers, but for the last
  int64_t sums_bytes;    // for the sums of a unit
  int shift;             // rows in a unit, as a power of two
  std::unique_ptr<Entry[]> entries, other;
  std::unique_ptr<int64_t[]> ends;  // of the entries of each part
  std::unique_ptr<double[]> sums;   // of each part

  // The first part that begins at or behind a number.
  int64_t part_at(int64_t number) const { return number == total ? parts : (number + per_part - 1) / per_part; }

  // Puts entries into the parts that have their units.
  void divide() {
    const auto unit_of = [this](int64_t k) { return rows.indices[k] >> shift; };
    std::fill(ends.get(), ends.get() + parts + 1, 0);
    for (int64_t k = 0; k < rows.entries; ++k) ++ends[part_of(unit_of(k), parts) + 1];
    for (int64_t part = 0; part < parts; ++part) ends[part + 1] += ends[part];
    for (int64_t k = 0; k < rows.entries; ++k) {
      const int64_t unit = unit_of(k);
      entries[ends[part_of(unit, parts)]++] = {unit, k};
    }
  }
};

void update_part(const RowWork& work, int64_t part, rmsprop::UpdateRows update) {
  const int64_t begin = part == 0 ? 0 : work.ends[part - 1], end = work.ends[part];
  sort(&work.entries[begin], &work.other[begin], end - begin);
  char* const sums = reinterpret_cast<char*>(work.sums.get()) + part * work.sums_bytes;
  update(work.batch, work.rows, &work.entries[begin], &work.entries[end], sums);
}

void update_parts(int64_t begin, int64_t end, void* context) {
  const rmsprop::StandardArithmetic whatever_the_thread_does_otherwise;
  const RowWork& work = *static_cast<const RowWork*>(context);
  const rmsprop::RowKernels& kernels = rmsprop::row_kernels();
  const int index = rmsprop::row_kernel_index(work.batch.dtype, work.batch.rule);
  const rmsprop::UpdateRows update =
      work.rows.rowwise ? kernels.rowwise[work.batch.dtype == RMSPROP_FLOAT64] : kernels.update[index];
  for (int64_t part = work.part_at(begin); part < work.part_at(end); ++part) update_part(work, part, update);
}

void settle_units(int64_t begin, int64_t end, void* context) {
  const rmsprop::StandardArithmetic whatever_the_thread_does_otherwise;
  const RowWork& work = *static_cast<const RowWork*>(context);
  const int index = rmsprop::row_kernel_index(work.batch.dtype, work.batch.rule);
  rmsprop::row_kernels().settle[index](work.batch, work.rows, work.part_at(begin), work.part_at(end));
}

int32_t in_parallel(int64_t total, rmsprop_parallel_for parallel_for, int32_t threads, rmsprop_body body,
                    void* context) {
  if (total > 0 && parallel_for && threads > 1 && total >= 2 * kGrain)
    return parallel_for(0, total, kGrain, body, context);
  if (total > 0) rmsprop::run_on_pool(total, parallel_for ? 1 : threads, body, context);
  return 0;
}

int shift_of(const rmsprop_rows& rows) { return std::countr_zero(static_cast<uint64_t>(rows.per_unit)); }

int64_t units(const rmsprop_rows& rows) { return (rows.count + rows.per_unit - 1) / rows.per_unit; }

}  // namespace

extern "C" {

int32_t rmsprop_are_rows(const int64_t* numbers, int64_t count, int64_t rows) {
  int32_t found = 1;
  for (int64_t k = 0; k < count; ++k) found &= static_cast<uint64_t>(numbers[k]) < static_cast<uint64_t>(rows);
  return found;
}

int32_t rmsprop_update_rows(const rmsprop_batch* batch, const rmsprop_rows* rows, rmsprop_parallel_for parallel_for,
                            int32_t threads) {
  const int64_t total = rows->entries * rows->width;
  const int64_t parts = threads == 1 ? 1 : std::clamp<int64_t>(total / kGrain, 1, threads * kPartsPerThread);
  const int64_t unit_bytes = rows->per_unit * rows->width * static_cast<int64_t>(sizeof(double));
  RowWork work{*batch, *rows, total, parts, (total + parts - 1) / parts, (unit_bytes + 63) / 64 * 64, shift_of(*rows),
               {},     {},    {},    {}};
  try {
    work.entries.reset(new Entry[rows->entries]);
    work.other.reset(new Entry[rows->entries]);
    work.ends.reset(new int64_t[parts + 1]);
    work.sums.reset(new double[parts * work.sums_bytes / static_cast<int64_t>(sizeof(double))]);
  } catch (const std::bad_alloc&) {
    return RMSPROP_NO_MEMORY;
  }
  work.divide();
  if (const int32_t status = in_parallel(total, parallel_for, threads, update_parts, &work)) return status;
  rmsprop_count(batch);
  return 0;
}

int32_t rmsprop_settle_rows(const rmsprop_batch* batch, const rmsprop_rows* rows, rmsprop_parallel_for parallel_for,
                            int32_t threads) {
  const int64_t count = rows->chosen < 0 ? units(*rows) : rows->chosen, per_unit = rows->per_unit * rows->width;
  const int64_t total = count * per_unit;
  RowWork work{*batch, *rows, total, count, per_unit, 0, 0, {}, {}, {}, {}};
  if (const int32_t status = in_parallel(total, parallel_for, threads, settle_units, &work)) return status;
  for (int64_t k = 0; k < count; ++k) {
    int32_t& last = rows->last[rows->chosen < 0 ? k : rows->units[k]];
    last = std::max(last, static_cast<int32_t>(rows->now));
  }
  return 0;
}

}  // extern "C"
