// Codecs: what a stored number is in working precision, and what is stored of a working number. They know nothing of
// the rule, as the rule knows nothing of them.
//
// Included by kernel.cpp alone, which is compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstdint>

#include "bits.hpp"
#include "rmsprop.h"

namespace {

// A storage type widens to the working precision on load and rounds to nearest even on store. The 16-bit
// conversions are branch-free integer code, so that they vectorize on every instruction set.
template <class T>
struct Native {
  using Stored = T;
  using Working = T;
  static T widen(T value) { return value; }
  static T narrow(T value) { return value; }
};

struct BFloat16 {
  using Stored = uint16_t;
  using Working = float;
  static float widen(uint16_t value) { return bits_as<float>(uint32_t{value} << 16); }
  static uint16_t narrow(float value) {
    const uint32_t bits = bits_as<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet_nan = (bits >> 16) | 0x40;
    return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded);
  }
};

struct Float16 {
  using Stored = uint16_t;
  using Working = float;
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
    const uint32_t finite = magnitude < (113u << 23) ? subnormal : normal;
    const uint32_t bounded = magnitude >= 0x47800000 ? 0x7c00 : finite;  // 65536 and above: infinity
    const uint32_t quiet_nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    return static_cast<uint16_t>(sign | (magnitude > 0x7f800000 ? quiet_nan : bounded));
  }
};

template <int dtype>
struct StorageOf;
template <>
struct StorageOf<RMSPROP_FLOAT32> : Native<float> {};
template <>
struct StorageOf<RMSPROP_FLOAT64> : Native<double> {};
template <>
struct StorageOf<RMSPROP_FLOAT16> : Float16 {};
template <>
struct StorageOf<RMSPROP_BFLOAT16> : BFloat16 {};

}  // namespace
