// The update of rows: sums of their gradients, decay to date, and the loop of the dense update. Compiled once per
// instruction set, with RMSPROP_ROWS naming what it defines. src/rmsprop/rows.py states the same operations.
#include "rows.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "storage.hpp"
#include "update.hpp"
#include "walk.hpp"

namespace {

using rmsprop::Entry;

// What steps leave of an average, and what they don't.
struct Shares {
  double kept = 1, lost = 0;

  Shares then(const Shares& later) const { return {kept * later.kept, lost + kept * later.lost}; }
};

// What so many steps of a segment leave.
Shares after(const rmsprop_rows& rows, int64_t segment, int64_t steps) {
  Shares found;
  const double* kept = rows.kept + RMSPROP_POWERS * segment;
  const double* lost = rows.lost + RMSPROP_POWERS * segment;
  for (int bit = 0; steps >> bit != 0; ++bit)
    if (steps >> bit & 1) found = found.then({kept[bit], lost[bit]});
  return found;
}

// What the steps up to `now` leave. A thread's: it remembers what few steps of the last segment leave, because the
// branches of `after` can't be foretold.
class Decays {
 public:
  explicit Decays(const rmsprop_rows& rows) : rows_(rows) {
    if (rows.segments && !rows.corrected[rows.segments - 1]) recent_ = rows.begins[rows.segments - 1];
  }

  // What the steps from one, not counted, leave.
  Shares since(int64_t last) {
    const int64_t steps = rows_.now - last;
    if (steps <= 0) return {};
    if (steps < known_ && last >= recent_) return {kept_[steps], lost_[steps]};
    return look_up(last);
  }

 private:
  static constexpr int64_t kRemembered = 1024;

  RMSPROP_NOINLINE Shares look_up(int64_t last) {
    if (rows_.segments == 0) return {};
    const int64_t steps = rows_.now - last;
    if (steps < kRemembered && last >= recent_) {
      while (known_ <= steps) remember_more();
      return {kept_[steps], lost_[steps]};
    }
    const int64_t* const ends = rows_.begins + rows_.segments;
    const int64_t segment = std::max<int64_t>(std::upper_bound(rows_.begins, ends, last) - rows_.begins - 1, 0);
    const int64_t end = segment + 1 < rows_.segments ? rows_.begins[segment + 1] : rows_.now;
    Shares own = after(rows_, segment, end - last);
    if (rows_.corrected[segment]) {
      const double gone = after(rows_, segment, last).lost, gone_at_end = after(rows_, segment, end).lost;
      own = {own.kept * (gone / gone_at_end), own.lost / gone_at_end};
    }
    return own.then({rows_.later_kept[segment], rows_.later_lost[segment]});
  }

  // Multiplies as `after` does, from the lowest bit up: the numbers that follow are those that are known, with a bit
  // more.
  void remember_more() {
    const int64_t power = RMSPROP_POWERS * (rows_.segments - 1) + std::countr_zero(static_cast<uint64_t>(known_));
    for (int64_t k = 0; k < known_; ++k) {
      const Shares more = Shares{kept_[k], lost_[k]}.then({rows_.kept[power], rows_.lost[power]});
      kept_[known_ + k] = more.kept;
      lost_[known_ + k] = more.lost;
    }
    known_ *= 2;
  }

  const rmsprop_rows& rows_;
  int64_t recent_ = std::numeric_limits<int64_t>::max();  // the begin of the last segment, if that is remembered
  int64_t known_ = 1;                                     // numbers of steps that are remembered, from 0
  double kept_[kRemembered] = {1}, lost_[kRemembered] = {0};
};

template <class T>
T kept_of(double kept, double average) {
  const double moved = kept * average;
  return static_cast<T>(std::fabs(average) == std::numeric_limits<double>::infinity() ? average : moved);
}

// Brings the averages of an element up to date. Where something is kept, an infinite one stays infinite by itself.
template <bool keeps_some>
struct Decay {
  double kept, lost;

  template <bool centered, class T>
  void bring(T& spread, T& mean) const {
    double sum = spread;
    if constexpr (centered) {
      sum += lost * (static_cast<double>(mean) * mean);
      mean = left<T>(mean);
    }
    spread = left<T>(sum);
  }

 private:
  template <class T>
  T left(double average) const {
    if constexpr (keeps_some) return static_cast<T>(kept * average);
    return kept_of<T>(kept, average);
  }
};

template <bool centered, class T>
RMSPROP_NOINLINE void bring(int64_t size, const Decay<false> decay, T* __restrict spreads, T* __restrict means) {
  for (int64_t k = 0; k < size; ++k) {
    T spread = spreads[k], mean{};
    if constexpr (centered) mean = means[k];
    decay.bring<centered>(spread, mean);
    spreads[k] = spread;
    if constexpr (centered) means[k] = mean;
  }
}

// What steps without a gradient, all since one, do to parameters and their momentum.
template <Buffer kind, class T>
RMSPROP_NOINLINE void drift(int64_t size, const rmsprop_rows& rows, int64_t since, T* __restrict params,
                            T* __restrict buffers) {
  const double kept = rows.drift_kept[since], taken = rows.drift_taken[since], left = rows.drift_left[since];
  for (int64_t k = 0; k < size; ++k) {
    const double moved = kept * params[k];
    if constexpr (kind == Buffer::kNone) {
      params[k] = static_cast<T>(moved);
    } else {
      const double buffer = buffers[k];
      params[k] = static_cast<T>(moved - taken * buffer);
      buffers[k] = kept_of<T>(left, buffer);
    }
  }
}

constexpr int64_t kAhead = 16;       // units, or entries
constexpr int64_t kAnnounced = 512;  // bytes of each array; what follows them the hardware finds

constexpr int kLanes = 8;
constexpr double kMostDecay = 0.9;  // of a stale row in one step

// The mean of the squares of a row: every eighth is added up in float64, then the eight sums by halves.
template <class T, bool usual>
RMSPROP_NOINLINE T mean_square(int64_t width, const Numbers<T, usual>& numbers, const T* values) {
  double lanes[kLanes] = {};
  const auto add = [&](int lane, T value) {
    const double g = numbers.limited(value * numbers.grad_scale, numbers.max_grad);
    lanes[lane] += g * g;
  };
  int64_t k = 0;
  for (; k + kLanes <= width; k += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) add(lane, values[k + lane]);
  for (int lane = 0; k + lane < width; ++lane) add(lane, values[k + lane]);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return static_cast<T>(lanes[0] / static_cast<double>(width));
}

// Moves the elements of a row that have one denominator.
template <class T, bool usual>
RMSPROP_NOINLINE void move_row(int64_t size, const Numbers<T, usual>& numbers, T denominator, T decay,
                               T* __restrict params, const T* __restrict grads) {
  const bool is_nothing = denominator == T(0);
  for (int64_t k = 0; k < size; ++k) {
    const T g = numbers.limited(grads[k] * numbers.grad_scale, numbers.max_grad), quotient = g / denominator;
    const T moved_by = numbers.lr_outside * (((g == T(0)) & is_nothing) ? g : quotient);
    const T p = params[k], decayed = p - decay * p;
    params[k] = (decay == T(0) ? p : decayed) - moved_by;
  }
}

template <class T>
void add(int64_t size, const T* __restrict values, T* __restrict sums) {
  for (int64_t k = 0; k < size; ++k) sums[k] += values[k];
}

// The one tensor of a batch, unit by unit. What is stored in another precision passes through the first cache.
template <bool centered, Buffer kind, class T, bool usual>
class Table {
 public:
  Table(const rmsprop_batch& batch, const rmsprop_rows& rows, const Narrow* narrow, const Packed* state)
      : batch_(batch),
        rows_(rows),
        narrow_(narrow),
        state_(state),
        numbers_(batch.rule),
        decays_(rows),
        param_bytes_(narrow ? 2 : sizeof(T)),
        state_bytes_(!state                                 ? sizeof(T)
                     : batch.packing == RMSPROP_PACKED_8BIT ? 1
                                                            : 2),
        per_unit_(rows.per_unit * rows.width),
        total_(rows.count * rows.width) {}

  // Returns where the gradients of a unit are, or are added up.
  const T* gradients(const Entry* begin, const Entry* end, void* room) const {
    T* const sums = static_cast<T*>(room);
    if (!narrow_ && rows_.per_unit == 1 && end - begin == 1)
      return static_cast<const T*>(batch_.grads[0]) + begin->place * rows_.width;
    bool is_new = rows_.per_unit == 1;  // a row's first gradient is copied: added to 0, −0 would lose its sign
    if (!is_new) std::fill(sums, sums + per_unit_, T(0));
    for (const Entry* entry = begin; entry != end; ++entry, is_new = false) {
      const int64_t row = rows_.indices[entry->place] - entry->unit * rows_.per_unit;
      add_row(entry->place, is_new, sums + row * rows_.width);
    }
    return sums;
  }

  // Asks for what an update of a unit begins with: rows lie anywhere, where no hardware would look for them.
  void announce(const Entry& entry) const {
    announce(batch_.grads, entry.place * rows_.width, rows_.width, param_bytes_);
    announce(entry.unit);
  }

  void announce(int64_t unit) const {
    const int64_t first = unit * per_unit_;
    announce(batch_.params, first, per_unit_, param_bytes_);
    if (rows_.rowwise)
      announce(batch_.spreads, unit, 1, sizeof(T));
    else
      announce(batch_.spreads, first, per_unit_, state_bytes_);
    if (centered) announce(batch_.means, first, per_unit_, state_bytes_);
    if (kind != Buffer::kNone) announce(batch_.buffers, first, per_unit_, state_bytes_);
    if (rows_.last) prefetch(rows_.last + unit, 1);
  }

  // Brings averages to date, and updates everything if there are gradients.
  void update(int64_t unit, const T* grads) {
    const Shares shares = decays_.since(rows_.last[unit]);
    const int64_t first = unit * per_unit_, last = std::min(first + per_unit_, total_);
    const bool drifts = !grads && rows_.drift_kept, moves = grads || drifts;
    const int64_t since = drifts ? rows_.last[unit] - rows_.drift_begin : 0;
    T params[kBlock], spreads[kBlock], means[kBlock], buffers[kBlock];
    for (int64_t k = first; k < last; k += kBlock) {
      const int64_t size = std::min(kBlock, last - k);
      T* const p = moves && narrow_ ? params : from<T>(batch_.params, 0, k);
      T* const spread = state_ ? spreads : from<T>(batch_.spreads, 0, k);
      T* const mean = !centered ? nullptr : state_ ? means : from<T>(batch_.means, 0, k);
      T* const buffer = kind == Buffer::kNone ? nullptr : state_ ? buffers : from<T>(batch_.buffers, 0, k);
      read(k, size, moves ? params : nullptr, spreads, means, buffers);
      if (drifts) drift<kind>(size, rows_, since, p, buffer);
      grads ? update(size, shares, p, grads + (k - first), spread, mean, buffer)
            : bring_to_date(size, shares, spread, mean);
      write(k, size, moves ? params : nullptr, spreads, means, buffers);
    }
    if (grads) note(unit);
  }

  // Updates a row that has one average of squares.
  void update_rowwise(int64_t row, const T* grads) const {
    T& average = *from<T>(batch_.spreads, 0, row);
    average = numbers_.average(average, mean_square(rows_.width, numbers_, grads));
    const T denominator = std::sqrt(average + numbers_.eps_inside) + numbers_.eps_outside;
    double decay = 0;
    if (rows_.last) {
      const int64_t last = rows_.last[row], rests = last == 0 ? 1 : rows_.now + 1 - last;
      decay = std::clamp(rows_.stale_decay * static_cast<double>(rests), 0.0, kMostDecay);
    }
    const int64_t first = row * rows_.width, last = first + rows_.width;
    T params[kBlock];
    for (int64_t k = first; k < last; k += kBlock) {
      const int64_t size = std::min(kBlock, last - k);
      T* const p = narrow_ ? params : from<T>(batch_.params, 0, k);
      read(k, size, params, nullptr, nullptr, nullptr);
      move_row(size, numbers_, denominator, static_cast<T>(decay), p, grads + (k - first));
      write(k, size, params, nullptr, nullptr, nullptr);
    }
    if (rows_.last) note(row);
  }

 private:
  // Takes note that a unit has taken this step.
  void note(int64_t unit) const { rows_.last[unit] = static_cast<int32_t>(rows_.now + 1); }

  void bring_to_date(int64_t size, const Shares& shares, T* spreads, T* means) const {
    if (shares.lost != 0) bring<centered>(size, Decay<false>{shares.kept, shares.lost}, spreads, means);
  }

  void update(int64_t size, const Shares& shares, T* params, const T* grads, T* spreads, T* means, T* buffers) const {
    if (shares.lost != 0 && shares.kept > 0)
      return walk<centered, kind>(size, numbers_, params, grads, spreads, means, buffers,
                                  Decay<true>{shares.kept, shares.lost});
    bring_to_date(size, shares, spreads, means);
    walk<centered, kind>(size, numbers_, params, grads, spreads, means, buffers);
  }

  static void announce(void** table, int64_t first, int64_t size, int64_t bytes) {
    prefetch(static_cast<const char*>(table[0]) + first * bytes, std::min(size * bytes, kAnnounced));
  }

  void read(int64_t k, int64_t size, T* params, T* spreads, T* means, T* buffers) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (narrow_ && params) narrow_->read_params(k, size, params);
      if (!state_) return;
      state_[0].read(k, size, spreads);
      if (centered) state_[1].read(k, size, means);
      if (kind != Buffer::kNone) state_[2].read(k, size, buffers);
    }
  }

  void write(int64_t k, int64_t size, T* params, T* spreads, T* means, T* buffers) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (narrow_ && params) narrow_->write_params(params, k, size);
      if (!state_) return;
      state_[0].write(spreads, k, size);
      if (centered) state_[1].write(means, k, size);
      if (kind != Buffer::kNone) state_[2].write(buffers, k, size);
    }
  }

  void add_row(int64_t place, bool is_new, T* sums) const {
    const int64_t begin = place * rows_.width;
    if constexpr (sizeof(T) == sizeof(float)) {
      if (narrow_) {
        T values[kBlock];
        for (int64_t k = 0; k < rows_.width; k += kBlock) {
          const int64_t size = std::min(kBlock, rows_.width - k);
          narrow_->read_grads(begin + k, size, is_new ? sums + k : values);
          if (!is_new) add(size, values, sums + k);
        }
        return;
      }
    }
    const T* const values = static_cast<const T*>(batch_.grads[0]) + begin;
    is_new ? void(std::copy(values, values + rows_.width, sums)) : add(rows_.width, values, sums);
  }

  const rmsprop_batch& batch_;
  const rmsprop_rows& rows_;
  const Narrow* const narrow_;
  const Packed* const state_;
  const Numbers<T, usual> numbers_;
  Decays decays_;
  const int64_t param_bytes_, state_bytes_;  // of a number
  const int64_t per_unit_, total_;
};

// Calls part(table) with the table of a batch.
template <bool wide, bool centered, Buffer kind, class Part>
void with_table(const rmsprop_batch& batch, const rmsprop_rows& rows, const Part& part) {
  using T = std::conditional_t<wide, double, float>;
  const auto call = [&](const Narrow* narrow, const Packed* state) {
    if (is_usual(batch.rule)) {
      Table<centered, kind, T, true> table(batch, rows, narrow, state);
      part(table);
    } else {
      Table<centered, kind, T, false> table(batch, rows, narrow, state);
      part(table);
    }
  };
  if constexpr (!wide) {
    const bool is_narrow = batch.dtype != RMSPROP_FLOAT32, is_packed = batch.packing != RMSPROP_UNPACKED;
    if (is_narrow || is_packed) {
      const Narrow narrow(batch, 0);
      const Packed state[] = {{batch, 0, kSpreads}, {batch, 0, kMeans}, {batch, 0, kBuffers}};
      return call(is_narrow ? &narrow : nullptr, is_packed ? state : nullptr);
    }
  }
  call(nullptr, nullptr);
}

// Calls announce(next) for what comes kAhead places later and behind, many at once: each lies in a page of its own, and
// a processor looks several pages up at the same time if it meets them before it has computed anything.
template <class Announce>
void look_ahead(int64_t k, int64_t end, const Announce& announce) {
  if (k % kAhead != 0) return;
  for (int64_t next = k + kAhead; next < std::min(k + 2 * kAhead, end); ++next) announce(next);
}

// Calls part(unit, gradients) with each unit that has entries, in order.
template <class Table, class Part>
void for_each_unit(Table& table, const Entry* begin, const Entry* end, void* sums, const Part& part) {
  const int64_t count = end - begin;
  for (int64_t k = 0; k < count;) {
    const Entry* const first = begin + k;
    for (; k < count && begin[k].unit == first->unit; ++k)
      look_ahead(k, count, [&](int64_t next) { table.announce(begin[next]); });
    part(first->unit, table.gradients(first, begin + k, sums));
  }
}

template <bool wide, bool centered, Buffer kind>
void update_rows(const rmsprop_batch& batch, const rmsprop_rows& rows, const Entry* begin, const Entry* end,
                 void* sums) {
  with_table<wide, centered, kind>(batch, rows, [&](auto& table) {
    for_each_unit(table, begin, end, sums, [&](int64_t unit, const auto* grads) { table.update(unit, grads); });
  });
}

template <bool wide>
void update_rowwise(const rmsprop_batch& batch, const rmsprop_rows& rows, const Entry* begin, const Entry* end,
                    void* sums) {
  with_table<wide, false, Buffer::kNone>(batch, rows, [&](auto& table) {
    for_each_unit(table, begin, end, sums, [&](int64_t unit, const auto* grads) { table.update_rowwise(unit, grads); });
  });
}

template <bool wide, bool centered, Buffer kind>
void settle_rows(const rmsprop_batch& batch, const rmsprop_rows& rows, int64_t begin, int64_t end) {
  with_table<wide, centered, kind>(batch, rows, [&](auto& table) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t unit = rows.chosen < 0 ? k : rows.units[k];
      if (rows.chosen >= 0) look_ahead(k, end, [&](int64_t next) { table.announce(rows.units[next]); });
      if (rows.last[unit] < rows.now) table.update(unit, nullptr);
    }
  });
}

// The inverse of row_kernel_index.
template <int... index>
constexpr rmsprop::RowKernels all_row_kernels(std::integer_sequence<int, index...>) {
  return {{update_rows<index / 4 == 1, index / 2 % 2 == 1, static_cast<Buffer>(index % 2)>...},
          {update_rowwise<false>, update_rowwise<true>},
          {settle_rows<index / 4 == 1, index / 2 % 2 == 1, static_cast<Buffer>(index % 2)>...}};
}

}  // namespace

namespace rmsprop {
extern const RowKernels RMSPROP_ROWS;
const RowKernels RMSPROP_ROWS = all_row_kernels(std::make_integer_sequence<int, kRowKernels>());
}  // namespace rmsprop
