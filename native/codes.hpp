// Numbers of 32 bits as codes of 8, in blocks that share a scale. src/rmsprop/codes.py states the same operations, and
// what they are good for.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bits.hpp"

namespace {

// One of two numbers, made of bits: compilers take a condition around so much work for a branch, and give up vectors.
inline uint32_t pick(bool first, uint32_t a, uint32_t b) {
  const uint32_t mask = 0u - static_cast<uint32_t>(first);
  return (a & mask) | (b & ~mask);
}

constexpr int64_t kCoded = 128;  // numbers that share a scale
constexpr uint32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000, kNan = 0x7fc00000;
constexpr int kFewestDigits = 3, kMostDigits = 6;
constexpr int32_t kCodes = 253;      // of finite numbers above zero
constexpr int32_t kLowestBase = 22;  // of signed numbers
constexpr uint32_t kRaised = 0xfff;  // the random bits that tell whether a neighbour's count

// Random bits of numbers: the highest 8 of each, and below them what all have in common.
struct Chances {
  const uint8_t* bytes;
  uint32_t common;

  uint32_t operator[](int64_t k) const { return uint32_t{bytes[k]} << 24 | common; }
};

// The largest finite magnitude, and the smallest above zero; all are whole numbers below 2^31.
struct Range {
  int32_t highest, lowest;
  bool all_finite;

  // Whether all codes so many bits apart are of finite numbers, and so is what the highest may be rounded up to.
  bool fits(int shift) const { return all_finite && (highest >> shift) + 1 < static_cast<int32_t>(kInfinity >> shift); }
};

inline Range range_of(const float* __restrict values) {
  int32_t largest = 0;
  uint32_t smallest = kInfinity - 1;  // less one, so that zero comes last
  for (int64_t k = 0; k < kCoded; ++k) {
    const uint32_t magnitude = bits_as<uint32_t>(values[k]) & kMagnitude;
    largest = std::max(largest, static_cast<int32_t>(magnitude));
    smallest = std::min(smallest, magnitude - 1);
  }
  int32_t highest = largest;
  if (largest >= static_cast<int32_t>(kInfinity)) {
    highest = 0;
    for (int64_t k = 0; k < kCoded; ++k) {
      const int32_t magnitude = static_cast<int32_t>(bits_as<uint32_t>(values[k]) & kMagnitude);
      highest = std::max(highest, magnitude < static_cast<int32_t>(kInfinity) ? magnitude : 0);
    }
  }
  return {highest, std::min(static_cast<int32_t>(smallest + 1), highest), highest == largest};
}

// The larger one of every two bytes, in the place of both.
inline void larger_of_pairs(const uint8_t* __restrict bytes, uint8_t* __restrict larger) {
  for (int64_t k = 0; k < kCoded; k += 2) larger[k] = larger[k + 1] = std::max(bytes[k], bytes[k + 1]);
}

// Whether there are codes of infinity or NaN: those of `first` and above, without what isn't in the mask.
inline bool has_special(const uint8_t* __restrict codes, uint8_t mask, uint8_t first) {
  uint8_t largest = 0;
  for (int64_t k = 0; k < kCoded; ++k) largest = std::max(largest, static_cast<uint8_t>(codes[k] & mask));
  return largest >= first;
}

// The loops for blocks of finite numbers do less for each; the others give the same bits for all blocks. Encoding, the
// former leave of a number its code and 8 bits below, to which the 8 random bits are added: twice as many of those are
// worked on at a time as of 32 bits. What is lost below has met its random bits before.

RMSPROP_NOINLINE void decode_positive(const uint8_t* __restrict codes, uint32_t scale, float* __restrict values) {
  const uint32_t origin = (scale & 0x3fff) - 1, shift = 20 - (scale >> 14);
  if (!has_special(codes, 0xff, 254)) {
    for (int64_t k = 0; k < kCoded; ++k) {
      const uint32_t code = codes[k];
      values[k] = bits_as<float>(pick(code == 0, 0, (code + origin) << shift));
    }
  } else {
    for (int64_t k = 0; k < kCoded; ++k) {
      const uint32_t code = codes[k];
      const uint32_t finite = pick(code == 0, 0, (code + origin) << shift);
      values[k] = bits_as<float>(pick(code < 254, finite, pick(code == 254, kInfinity, kNan)));
    }
  }
}

inline void encode_positive_finite(const float* __restrict values, const Chances& chances, int shift, int32_t offset,
                                   uint8_t* __restrict codes) {
  const uint8_t* __restrict bytes = chances.bytes;
  const uint32_t least = static_cast<uint32_t>(offset);
  const uint32_t from_least = (1u << shift) - least + ((chances.common & 0xffffff) >> (32 - shift));
  for (int64_t k = 0; k < kCoded; ++k) {
    const uint32_t magnitude = bits_as<uint32_t>(values[k]) & kMagnitude;
    const uint32_t fine = (std::max(magnitude, least) + from_least) >> (shift - 8);
    const uint16_t rounded = static_cast<uint16_t>(pick(magnitude == 0, 0, fine)) + bytes[k];
    codes[k] = static_cast<uint8_t>(rounded >> 8);
  }
}

// Returns the scale.
RMSPROP_NOINLINE uint16_t encode_positive(const float* __restrict values, Chances chances, uint8_t* __restrict codes) {
  const Range range = range_of(values);
  int digits = kFewestDigits;
  for (int more = kFewestDigits + 1; more <= kMostDigits; ++more)
    digits += (range.highest >> (23 - more)) - (range.lowest >> (23 - more)) < kCodes - 1;
  const int shift = 23 - digits;
  const int32_t top = range.highest >> shift;
  const int32_t origin = std::max(range.lowest >> shift, top >= kCodes ? top - (kCodes - 2) : 1);
  const int32_t offset = origin << shift;
  uint8_t of_pairs[kCoded];
  if ((chances.common & kRaised) < (kRaised + 1) >> (digits + 1)) {
    larger_of_pairs(chances.bytes, of_pairs);
    chances.bytes = of_pairs;
  }
  if (range.fits(shift)) {
    encode_positive_finite(values, chances, shift, offset, codes);
  } else {
    const int32_t most = 1 + std::min<int32_t>(kCodes - 1, (kInfinity >> shift) - 1 - origin);
    for (int64_t k = 0; k < kCoded; ++k) {
      const uint32_t magnitude = bits_as<uint32_t>(values[k]) & kMagnitude;
      const uint32_t above = static_cast<uint32_t>(std::max(static_cast<int32_t>(magnitude) - offset, 0));
      const int32_t code = 1 + static_cast<int32_t>((above + (chances[k] >> (32 - shift))) >> shift);
      const uint32_t finite = pick(magnitude == 0, 0, static_cast<uint32_t>(std::min(code, most)));
      codes[k] = static_cast<uint8_t>(pick(magnitude < kInfinity, finite, 254 + (magnitude > kInfinity)));
    }
  }
  return static_cast<uint16_t>((digits - kFewestDigits) << 14 | origin);
}

RMSPROP_NOINLINE void decode_signed(const uint8_t* __restrict codes, uint32_t base, int digits,
                                    float* __restrict values) {
  const uint32_t offset = base << 23, normal = (base + 1) << 23;
  const float lowest = bits_as<float>(offset);
  const int shift = 23 - digits;
  const bool is_special = has_special(codes, 0x7f, 126);
  for (int64_t k = 0; k < kCoded; ++k) {
    const uint32_t code = codes[k] & 0x7f, sign = (codes[k] & 0x80u) << 24;
    const uint32_t bits = (code << shift) + offset;
    const float above = bits_as<float>(bits) - lowest;
    values[k] = bits_as<float>(sign | pick(bits < normal, bits_as<uint32_t>(above + above), bits));
  }
  for (int64_t k = 0; is_special && k < kCoded; ++k) {
    const uint32_t code = codes[k] & 0x7f, sign = (codes[k] & 0x80u) << 24;
    if (code >= 126) values[k] = bits_as<float>(sign | (code == 126 ? kInfinity : kNan));
  }
}

inline void encode_signed_finite(const float* __restrict values, const Chances& chances, int shift, uint32_t base,
                                 uint8_t* __restrict codes) {
  const uint8_t* __restrict bytes = chances.bytes;
  const uint32_t normal = (base + 1) << 23;
  const uint32_t from_base = ((chances.common & 0xffffff) >> (32 - shift)) - (base << 23);
  const float lowest = bits_as<float>(normal);
  for (int64_t k = 0; k < kCoded; ++k) {
    const uint32_t bits = bits_as<uint32_t>(values[k]), magnitude = bits & kMagnitude;
    const uint32_t small = bits_as<uint32_t>(bits_as<float>(magnitude) + lowest) - (1u << 23);
    const uint32_t fine = (pick(magnitude < normal, small, magnitude) + from_base) >> (shift - 8);
    const uint16_t rounded = static_cast<uint16_t>(fine | ((bits >> 16) & 0x8000)) + bytes[k];
    const uint8_t code = static_cast<uint8_t>(rounded >> 8);
    codes[k] = code == 0x80 ? 0 : code;
  }
}

// Returns the scale.
RMSPROP_NOINLINE uint16_t encode_signed(const float* __restrict values, const Chances& chances, int digits,
                                        uint8_t* __restrict codes) {
  const Range range = range_of(values);
  const uint32_t base = static_cast<uint32_t>(std::max((range.highest >> 23) - (128 >> digits) + 2, kLowestBase));
  const int shift = 23 - digits;
  if (range.fits(shift)) {
    encode_signed_finite(values, chances, shift, base, codes);
  } else {
    const uint32_t normal = (base + 1) << 23;
    const int32_t most = std::min<int32_t>(125, static_cast<int32_t>((255 - base) << digits) - 1);
    for (int64_t k = 0; k < kCoded; ++k) {
      const uint32_t bits = bits_as<uint32_t>(values[k]), magnitude = bits & kMagnitude;
      const bool is_small = magnitude < normal;
      const float small = bits_as<float>(pick(is_small, magnitude, 0)) + bits_as<float>(normal);
      const uint32_t above = pick(is_small, bits_as<uint32_t>(small) - normal, magnitude - (base << 23));
      const int32_t rounded = static_cast<int32_t>((above + (chances[k] >> (32 - shift))) >> shift);
      const uint32_t code = pick(magnitude < kInfinity, static_cast<uint32_t>(std::min(rounded, most)), 126);
      const uint32_t with_sign = pick(code == 0, 0, code | ((bits >> 24) & 0x80));
      codes[k] = static_cast<uint8_t>(pick(magnitude > kInfinity, 127, with_sign));
    }
  }
  return static_cast<uint16_t>(base);
}

}  // namespace
