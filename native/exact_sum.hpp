// A sum of squares that is exact, so that no order of its terms is better than another.
//
// A square is cut at fixed places of weight 2^(40·limb) into whole multiples of them, which integers add. Of a block
// only two limbs are taken: that of its largest square and the one below, which is all that a sum of them may ever
// show.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "bits.hpp"
#include "rmsprop.h"

namespace {

constexpr int kLimbBits = 40;
constexpr int kLowestLimb = -25, kHighestLimb = 24;

inline double two_to(int exponent) { return bits_as<double>(static_cast<uint64_t>(exponent + 1023) << 52); }

// The limb of a positive square: it is above half of the limb's weight, and not above half of the next one's.
inline int limb_of(double square) {
  const int exponent = static_cast<int>((bits_as<uint64_t>(square) - 1) >> 52) - 1023;
  const int shifted = exponent + 1 - kLimbBits * (kLowestLimb + 1);
  return shifted < 0 ? kLowestLimb + 1 : shifted / kLimbBits + kLowestLimb + 1;
}

// The bits of the largest magnitude, as an unsigned number; those of infinity and NaN are the largest.
template <class T>
inline auto largest(const T* values, int64_t size) {
  using Bits = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  constexpr Bits magnitude = sizeof(T) == 8 ? Bits(0x7fffffffffffffff) : Bits(0x7fffffff);
  Bits found = 0;
  for (int64_t k = 0; k < size; ++k) found = std::max<Bits>(found, bits_as<Bits>(values[k]) & magnitude);
  return found;
}

inline void add_to(int64_t* limb, uint64_t sum) {
  limb[0] += static_cast<int64_t>(sum & 0xffffffff);
  limb[1] += static_cast<int64_t>(sum) >> 32;
}

// Adding 1.5·2^52 times a weight leaves the nearest multiple of it in the last bits.
struct Cut {
  explicit Cut(int limb) : magic(1.5 * two_to(52 + kLimbBits * limb)) {}
  uint64_t shift(int64_t size) const { return static_cast<uint64_t>(size) * bits_as<uint64_t>(magic); }
  const double magic;
};

// Adds the squares of a block that lies in the first cache, of fewer than 2^22 numbers.
template <class T>
RMSPROP_NOINLINE void add_block(const T* values, int64_t size, rmsprop_squares& sum) {
  const auto most = bits_as<T>(largest(values, size));
  const double square = static_cast<double>(most) * static_cast<double>(most);
  if (!(square < two_to(kLimbBits * (kHighestLimb + 1) - 1))) {
    ++(std::isnan(most) ? sum.nans : sum.infinities);
    return;
  }
  if (square == 0) return;
  const int limb = limb_of(square);
  const Cut high(limb), low(limb - 1);
  uint64_t highs = 0, lows = 0;
  for (int64_t k = 0; k < size; ++k) {
    const double value = static_cast<double>(values[k]), square = value * value;
    const double above = square + high.magic;
    const double below = (square - (above - high.magic)) + low.magic;
    highs += bits_as<uint64_t>(above);
    lows += bits_as<uint64_t>(below);
  }
  add_to(sum.limbs[limb - kLowestLimb], highs - high.shift(size));
  add_to(sum.limbs[limb - 1 - kLowestLimb], lows - low.shift(size));
}

// The root of a sum: infinite or NaN if something in it is.
inline double norm(const rmsprop_squares& sum) {
  if (sum.nans) return std::numeric_limits<double>::quiet_NaN();
  if (sum.infinities) return std::numeric_limits<double>::infinity();
  const auto low = [&](int limb) { return static_cast<double>(sum.limbs[limb][0] & 0xffffffff); };
  const auto high = [&](int limb) { return static_cast<double>(sum.limbs[limb][1] + (sum.limbs[limb][0] >> 32)); };
  int top = RMSPROP_LIMBS - 1;
  while (top > 1 && low(top) == 0 && high(top) == 0) --top;
  const double total =
      (high(top) * two_to(32) + low(top)) * two_to(kLimbBits) + (high(top - 1) * two_to(32) + low(top - 1));
  return std::sqrt(std::ldexp(total, kLimbBits * (top - 1 + kLowestLimb)));
}

}  // namespace
