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

// The largest finite magnitude, and the smallest above zero; all are whole numbers below 2^31.
struct Range {
  int32_t highest, lowest;
  bool all_finite;
};

inline Range range_of(const float* __restrict values, int64_t size) {
  int32_t largest = 0;
  uint32_t smallest = kInfinity - 1;  // less one, so that zero comes last
  for (int64_t k = 0; k < size; ++k) {
    const uint32_t magnitude = bits_as<uint32_t>(values[k]) & kMagnitude;
    largest = std::max(largest, static_cast<int32_t>(magnitude));
    smallest = std::min(smallest, magnitude - 1);
  }
  int32_t highest = largest;
  if (largest >= static_cast<int32_t>(kInfinity)) {
    highest = 0;
    for (int64_t k = 0; k < size; ++k) {
      const int32_t magnitude = static_cast<int32_t>(bits_as<uint32_t>(values[k]) & kMagnitude);
      highest = std::max(highest, magnitude < static_cast<int32_t>(kInfinity) ? magnitude : 0);
    }
  }
  return {highest, std::min(static_cast<int32_t>(smallest + 1), highest), highest == largest};
}

RMSPROP_NOINLINE void decode_positive(const uint8_t* __restrict codes, uint32_t scale, int64_t size,
                                      float* __restrict values) {
  const uint32_t origin = (scale & 0x3fff) - 1, shift = 20 - (scale >> 14);
  for (int64_t k = 0; k < size; ++k) {
    const uint32_t code = codes[k];
    const uint32_t finite = pick(code == 0, 0, (code + origin) << shift);
    values[k] = bits_as<float>(pick(code < 254, finite, pick(code == 254, kInfinity, kNan)));
  }
}

// Returns the scale.
RMSPROP_NOINLINE uint16_t encode_positive(const float* __restrict values, const uint32_t* __restrict noise,
                                          int64_t size, uint8_t* __restrict codes) {
  const Range range = range_of(values, size);
  int digits = kFewestDigits;
  for (int more = kFewestDigits + 1; more <= kMostDigits; ++more)
    digits += (range.highest >> (23 - more)) - (range.lowest >> (23 - more)) < kCodes - 1;
  const int shift = 23 - digits, spare = 9 + digits;
  const int32_t top = range.highest >> shift;
  const int32_t origin = std::max(range.lowest >> shift, top >= kCodes ? top - (kCodes - 2) : 1);
  const int32_t offset = origin << shift;
  const int32_t most = 1 + std::min<int32_t>(kCodes - 1, (kInfinity >> shift) - 1 - origin);
  if (range.all_finite) {
    for (int64_t k = 0; k < size; ++k) {
      const int32_t magnitude = static_cast<int32_t>(bits_as<uint32_t>(values[k]) & kMagnitude);
      const int32_t above = std::max(magnitude - offset, 0) + static_cast<int32_t>(noise[k] >> spare);
      const int32_t code = std::min((above >> shift) + 1, most);
      codes[k] = static_cast<uint8_t>(magnitude == 0 ? 0 : code);
    }
  } else {
    for (int64_t k = 0; k < size; ++k) {
      const uint32_t magnitude = bits_as<uint32_t>(values[k]) & kMagnitude;
      const uint32_t above = static_cast<uint32_t>(std::max(static_cast<int32_t>(magnitude) - offset, 0));
      const int32_t code = 1 + static_cast<int32_t>((above + (noise[k] >> spare)) >> shift);
      const uint32_t finite = pick(magnitude == 0, 0, static_cast<uint32_t>(std::min(code, most)));
      codes[k] = static_cast<uint8_t>(pick(magnitude < kInfinity, finite, 254 + (magnitude > kInfinity)));
    }
  }
  return static_cast<uint16_t>((digits - kFewestDigits) << 14 | origin);
}

RMSPROP_NOINLINE void decode_signed(const uint8_t* __restrict codes, uint32_t base, int digits, int64_t size,
                                    float* __restrict values) {
  const float unit = bits_as<float>((base + 1 - digits) << 23);
  const uint32_t smallest_normal = 1u << digits, offset = base << 23;
  const int shift = 23 - digits;
  for (int64_t k = 0; k < size; ++k) {
    const uint32_t code = codes[k] & 0x7f, sign = (codes[k] & 0x80u) << 24;
    const uint32_t small = bits_as<uint32_t>(static_cast<float>(static_cast<int32_t>(code)) * unit);
    const uint32_t finite = pick(code < smallest_normal, small, (code << shift) + offset);
    values[k] = bits_as<float>(sign | pick(code < 126, finite, pick(code == 126, kInfinity, kNan)));
  }
}

// Returns the scale.
RMSPROP_NOINLINE uint16_t encode_signed(const float* __restrict values, const uint32_t* __restrict noise, int digits,
                                        int64_t size, uint8_t* __restrict codes) {
  const int32_t highest = range_of(values, size).highest >> 23;
  const uint32_t base = static_cast<uint32_t>(std::max(highest - (128 >> digits) + 2, kLowestBase));
  const uint32_t offset = base << 23, normal = (base + 1) << 23;
  const float to_fixed = bits_as<float>((276 - base) << 23);
  const int shift = 23 - digits, spare = 9 + digits;
  const int32_t most = std::min<int32_t>(125, static_cast<int32_t>((255 - base) << digits) - 1);
  for (int64_t k = 0; k < size; ++k) {
    const uint32_t bits = bits_as<uint32_t>(values[k]), magnitude = bits & kMagnitude;
    const bool is_small = magnitude < normal;
    const float small = bits_as<float>(pick(is_small, magnitude, 0));
    const uint32_t fixed = static_cast<uint32_t>(static_cast<int32_t>(small * to_fixed));
    const uint32_t above = pick(is_small, fixed, magnitude - offset);
    const int32_t rounded = static_cast<int32_t>((above + (noise[k] >> spare)) >> shift);
    const uint32_t finite = static_cast<uint32_t>(std::min(rounded, most));
    const uint32_t code = pick(magnitude < kInfinity, finite, 126);
    const uint32_t with_sign = pick(code == 0, 0, code | ((bits >> 24) & 0x80));
    codes[k] = static_cast<uint8_t>(pick(magnitude > kInfinity, 127, with_sign));
  }
  return static_cast<uint16_t>(base);
}

}  // namespace
