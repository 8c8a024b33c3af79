// Codecs: what a stored number is in working precision, and what is stored of a working number. They know nothing of
// the rule, as the rule knows nothing of them.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstdint>

#include "bits.hpp"
#include "codes.hpp"
#include "noise.hpp"
#include "rmsprop.h"

namespace {

// A number of 16 bits widens to the working precision when it is read. When it is written it is rounded to the nearest,
// of two equally near ones to the even one, or stochastically, by random bits. All in branch-free integer code, so that
// it vectorizes on every instruction set.
struct BFloat16 {
  static float widen(uint16_t value) { return bits_as<float>(uint32_t{value} << 16); }
  static uint16_t narrow(float value) {
    const uint32_t bits = bits_as<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet_nan = (bits >> 16) | 0x40;
    return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded);
  }
  static uint16_t narrow(float value, uint32_t noise) {
    const uint32_t bits = bits_as<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    const uint32_t rounded = (magnitude + (noise >> 16)) >> 16;
    const uint32_t finite = rounded < 0x7f7f ? rounded : 0x7f7f;
    const uint32_t bounded = magnitude >= 0x7f7f8000 ? 0x7f80 : finite;  // what the nearest is: infinity
    const uint32_t quiet_nan = (magnitude >> 16) | 0x40;
    return static_cast<uint16_t>(sign | (magnitude > 0x7f800000 ? quiet_nan : bounded));
  }
};

struct Float16 {
  static float widen(uint16_t value) {
    const uint32_t sign = (uint32_t{value} & 0x8000) << 16;
    const uint32_t magnitude = (uint32_t{value} & 0x7fff) << 13;
    const uint32_t exponent = magnitude & 0x0f800000;
    const uint32_t normal = magnitude + (112u << 23);          // exponent bias 15 -> 127
    const uint32_t special = magnitude | 0x7f800000;           // infinity and NaN keep their payload
    const float two_to_minus_14 = bits_as<float>(113u << 23);  // a subnormal is a fraction of it
    const uint32_t subnormal = bits_as<uint32_t>(bits_as<float>(magnitude + (113u << 23)) - two_to_minus_14);
    const uint32_t finite = exponent == 0 ? subnormal : normal;
    return bits_as<float>(sign | (exponent == 0x0f800000 ? special : finite));
  }
  static uint16_t narrow(float value) {
    const uint32_t bits = bits_as<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    // Adding 0.5 lines the last bit of a float16 subnormal up with the last bit of the sum, which rounds it.
    const uint32_t subnormal = bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f) - bits_as<uint32_t>(0.5f);
    const uint32_t normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const uint32_t finite = pick(magnitude < (113u << 23), subnormal, normal);
    const uint32_t bounded = pick(magnitude >= 0x47800000, 0x7c00, finite);  // 65536 and above: infinity
    const uint32_t quiet_nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    return static_cast<uint16_t>(sign | pick(magnitude > 0x7f800000, quiet_nan, bounded));
  }
  static uint16_t narrow(float value, uint32_t noise) {
    const uint32_t bits = bits_as<uint32_t>(value), chance = noise >> 19;
    const uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    // A subnormal is a whole number of 2^-24; with 13 more bits it is one that a float still holds.
    const bool is_small = magnitude < (113u << 23);
    const float small = bits_as<float>(pick(is_small, magnitude, 0));
    const uint32_t fixed = static_cast<uint32_t>(static_cast<int32_t>(small * 0x1p37f));
    const uint32_t normal = ((magnitude + chance) >> 13) - (112u << 10);
    const uint32_t rounded = pick(is_small, (fixed + chance) >> 13, normal);
    const uint32_t finite = rounded < 0x7bff ? rounded : 0x7bff;
    const uint32_t bounded = pick(magnitude >= 0x477ff000, 0x7c00, finite);  // 65520 and above: infinity
    const uint32_t quiet_nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    return static_cast<uint16_t>(sign | pick(magnitude > 0x7f800000, quiet_nan, bounded));
  }
};

// Rows of numbers, each a function of its own, so that all kernels share it.
template <class Storage>
RMSPROP_NOINLINE void widen_row(const uint16_t* __restrict stored, int64_t size, float* __restrict values) {
  for (int64_t k = 0; k < size; ++k) values[k] = Storage::widen(stored[k]);
}

template <class Storage>
RMSPROP_NOINLINE void narrow_row(const float* __restrict values, int64_t size, uint16_t* __restrict stored) {
  for (int64_t k = 0; k < size; ++k) stored[k] = Storage::narrow(values[k]);
}

template <class Storage>
RMSPROP_NOINLINE void narrow_row_by_chance(const float* __restrict values, const uint32_t* __restrict noise,
                                           int64_t size, uint16_t* __restrict stored) {
  for (int64_t k = 0; k < size; ++k) stored[k] = Storage::narrow(values[k], noise[k]);
}

// As the row above, with a byte of random bits for each number and the rest in common.
RMSPROP_NOINLINE void narrow_state_row(const float* __restrict values, const uint8_t* __restrict bytes, uint32_t common,
                                       int64_t size, uint16_t* __restrict stored) {
  for (int64_t k = 0; k < size; ++k) stored[k] = BFloat16::narrow(values[k], uint32_t{bytes[k]} << 24 | common);
}

// What rounding took off is kept beside it, rounded too.
template <class Storage>
RMSPROP_NOINLINE void split_row(const float* __restrict values, int64_t size, uint16_t* __restrict stored,
                                uint16_t* __restrict lost) {
  for (int64_t k = 0; k < size; ++k) {
    const uint16_t nearest = Storage::narrow(values[k]);
    const float missing = values[k] - Storage::widen(nearest);
    const bool is_finite = (bits_as<uint32_t>(missing) & 0x7fffffff) < 0x7f800000;
    stored[k] = nearest;
    lost[k] = Storage::narrow(is_finite ? missing : 0.0f);
  }
}

template <class Storage>
RMSPROP_NOINLINE void join_row(const uint16_t* __restrict stored, const uint16_t* __restrict lost, int64_t size,
                               float* __restrict values) {
  for (int64_t k = 0; k < size; ++k) values[k] = Storage::widen(stored[k]) + Storage::widen(lost[k]);
}

// What is done with the rows of a type.
struct Rows {
  void (*widen)(const uint16_t*, int64_t, float*);
  void (*narrow)(const float*, int64_t, uint16_t*);
  void (*narrow_by_chance)(const float*, const uint32_t*, int64_t, uint16_t*);
  void (*split)(const float*, int64_t, uint16_t*, uint16_t*);
  void (*join)(const uint16_t*, const uint16_t*, int64_t, float*);
};

template <class Storage>
constexpr Rows rows_of() {
  return {widen_row<Storage>, narrow_row<Storage>, narrow_row_by_chance<Storage>, split_row<Storage>,
          join_row<Storage>};
}

// How many updates a tensor of a batch with random bits has taken after this one.
inline uint64_t update_number(const rmsprop_batch& batch, int64_t i) {
  if (!batch.places) return 0;
  const double taken = batch.wide_steps ? *static_cast<double*>(batch.steps[i]) : *static_cast<float*>(batch.steps[i]);
  return static_cast<uint64_t>(taken) + 1;
}

inline Place place_of(const rmsprop_batch& batch, int64_t i) {
  if (!batch.places) return {0, 0, 1, 1};
  const int64_t* row = batch.places + 4 * i;
  return {row[0], row[1], row[2], row[3]};
}

constexpr int64_t kBlock = 256;  // numbers that pass through the first cache at a time

// Parameters and gradients of one tensor of 16 bits, read and written in working precision, a block at a time.
class Narrow {
 public:
  Narrow(const rmsprop_batch& batch, int64_t i)
      : rows_(batch.dtype == RMSPROP_BFLOAT16 ? rows_of<BFloat16>() : rows_of<Float16>()),
        rounding_(batch.rounding),
        params_(static_cast<uint16_t*>(batch.params[i])),
        grads_(static_cast<const uint16_t*>(batch.grads[i])),
        lost_(batch.rounding == RMSPROP_KAHAN ? static_cast<uint16_t*>(batch.lost[i]) : nullptr),
        noise_(batch.seed, update_number(batch, i), place_of(batch, i)) {}

  void read_grads(int64_t first, int64_t size, float* values) const { rows_.widen(grads_ + first, size, values); }

  void read_params(int64_t first, int64_t size, float* values) const {
    if (rounding_ == RMSPROP_KAHAN) return rows_.join(params_ + first, lost_ + first, size, values);
    rows_.widen(params_ + first, size, values);
  }

  void write_params(const float* values, int64_t first, int64_t size) const {
    if (rounding_ == RMSPROP_NEAREST) return rows_.narrow(values, size, params_ + first);
    if (rounding_ == RMSPROP_KAHAN) return rows_.split(values, size, params_ + first, lost_ + first);
    uint32_t noise[kBlock];
    noise_.fill(first, size, noise);
    rows_.narrow_by_chance(values, noise, size, params_ + first);
  }

 private:
  const Rows rows_;
  const int32_t rounding_;
  uint16_t* const params_;
  const uint16_t* const grads_;
  uint16_t* const lost_;
  const Noise noise_;
};

// Where the first scale begins at or behind a number: numbers that share one are updated together.
inline int64_t next_scale(const rmsprop_batch& batch, int64_t k) {
  return batch.packing == RMSPROP_PACKED_8BIT ? (k + kCoded - 1) / kCoded * kCoded : k;
}

// An array of the state of one tensor that is packed into 16 or 8 bits, read and written in working precision, a block
// at a time. Its codes of 8 bits share scales, so that blocks must begin where those do.
class Packed {
 public:
  Packed(const rmsprop_batch& batch, int64_t i, Stream stream)
      : is_coded_(batch.packing == RMSPROP_PACKED_8BIT),
        stream_(stream),
        stored_(entry(stream == kSpreads ? batch.spreads
                      : stream == kMeans ? batch.means
                                         : batch.buffers,
                      i)),
        scales_(static_cast<uint16_t*>(entry(stream == kSpreads ? batch.spread_scales
                                             : stream == kMeans ? batch.mean_scales
                                                                : batch.buffer_scales,
                                             i))),
        noise_(batch.seed, update_number(batch, i), place_of(batch, i), stream) {}

  void read(int64_t first, int64_t size, float* values) const {
    if (!is_coded_) return widen_row<BFloat16>(static_cast<const uint16_t*>(stored_) + first, size, values);
    const uint8_t* codes = static_cast<const uint8_t*>(stored_) + first;
    const uint16_t* scale = scales_ + first / kCoded;
    for (; size >= kCoded; size -= kCoded, codes += kCoded, values += kCoded) decode(codes, *scale++, values);
    if (size == 0) return;
    uint8_t last[kCoded] = {};
    std::copy(codes, codes + size, last);
    decode(last, *scale, values);
  }

  void write(float* values, int64_t first, int64_t size) const {
    uint8_t bytes[kBlock] = {};
    noise_.fill(first, size, bytes);
    if (!is_coded_)
      return narrow_state_row(values, bytes, noise_.common(), size, static_cast<uint16_t*>(stored_) + first);
    uint8_t* codes = static_cast<uint8_t*>(stored_) + first;
    uint16_t* scale = scales_ + first / kCoded;
    Chances chances{bytes, noise_.common()};
    for (; size >= kCoded; size -= kCoded, codes += kCoded, values += kCoded, chances.bytes += kCoded)
      *scale++ = encode(values, chances, codes);
    if (size == 0) return;
    uint8_t last[kCoded];
    std::fill(values + size, values + kCoded, 0.0f);
    *scale = encode(values, chances, last);
    std::copy(last, last + size, codes);
  }

 private:
  static void* entry(void** table, int64_t i) { return table ? table[i] : nullptr; }

  int digits() const { return stream_ == kMeans ? 3 : 4; }

  void decode(const uint8_t* codes, uint32_t scale, float* values) const {
    if (stream_ == kSpreads) return decode_positive(codes, scale, values);
    decode_signed(codes, scale, digits(), values);
  }

  uint16_t encode(const float* values, const Chances& chances, uint8_t* codes) const {
    if (stream_ == kSpreads) return encode_positive(values, chances, codes);
    return encode_signed(values, chances, digits(), codes);
  }

  const bool is_coded_;
  const Stream stream_;
  void* const stored_;
  uint16_t* const scales_;
  const StateNoise noise_;
};

}  // namespace
