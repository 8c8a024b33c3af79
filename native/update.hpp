// The update of one element, written once. src/rmsprop/reference.py states the same operations in the same order;
// compiled without contraction they round alike, so the bits are equal whatever the vector width.
//
// Included by kernel.cpp alone, which is compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "rmsprop.h"

namespace {

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

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

// The numbers of a rule, rounded to the working precision.
template <class T>
struct Numbers {
  T lr, grad_scale, gain, keep, eps_inside, eps_outside, momentum, momentum_loss, weight_decay;
  bool new_is_base;

  explicit Numbers(const rmsprop_rule& rule)
      : lr(static_cast<T>(rule.lr)),
        grad_scale(static_cast<T>(rule.grad_scale)),
        gain(static_cast<T>(rule.gain)),
        keep(static_cast<T>(rule.keep)),
        eps_inside(static_cast<T>(rule.eps_inside)),
        eps_outside(static_cast<T>(rule.eps_outside)),
        momentum(static_cast<T>(rule.momentum)),
        momentum_loss(static_cast<T>(rule.momentum_loss)),
        weight_decay(static_cast<T>(rule.weight_decay)),
        new_is_base(rule.new_is_base != 0) {}

  static bool is_infinite(T value) { return std::fabs(value) == std::numeric_limits<T>::infinity(); }

  // gain·new + keep·old from the side that weighs more; an infinite average stays infinite.
  T average(T old_value, T new_value) const {
    const T base = new_is_base ? new_value : old_value;
    const T other = new_is_base ? old_value : new_value;
    const T share = new_is_base ? keep : gain;
    const T moved = base + share * (other - base);
    return is_infinite(base) ? base + other : moved;
  }

  // momentum·old + new, with 1 − momentum rounded instead of momentum where it is the smaller one.
  T decayed_sum(T old_value, T new_value) const {
    const T plain = momentum * old_value + new_value;
    const T corrected = old_value + (new_value - momentum_loss * old_value);
    return (momentum < T(0.5)) | is_infinite(old_value) ? plain : corrected;
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

// Updates p, spread (v, or v − m² when centered), mean and buffer of one element with the gradient g.
template <bool centered, int momentum_mode, int weight_decay_mode, class T>
inline void update(const Numbers<T>& n, T g, T& p, T& spread, T& mean, T& buffer) {
  constexpr bool nesterov = momentum_mode == RMSPROP_NESTEROV_LR_OUTSIDE || momentum_mode == RMSPROP_NESTEROV_LR_INSIDE;
  constexpr bool lr_inside = momentum_mode == RMSPROP_LR_INSIDE || momentum_mode == RMSPROP_NESTEROV_LR_INSIDE;

  g = g * n.grad_scale;
  if constexpr (weight_decay_mode == RMSPROP_L2) g = g + n.weight_decay * p;
  if constexpr (weight_decay_mode == RMSPROP_DECOUPLED) p = p - n.weight_decay * p;

  if constexpr (centered) {
    const T deviation = g - mean;
    mean = n.average(mean, g);
    spread = n.average(spread, (n.keep * deviation) * deviation);
  } else {
    spread = n.average(spread, g * g);
  }

  // One of the two epsilons is 0, and adding 0 changes no bit of a number that is not negative.
  const T denominator = std::sqrt(spread + n.eps_inside) + n.eps_outside;
  const T quotient = g / denominator;
  T u = (g == T(0)) & (denominator == T(0)) ? g : quotient;

  if constexpr (momentum_mode == RMSPROP_NO_MOMENTUM) {
    p = p - n.lr * u;
  } else {
    if constexpr (lr_inside) u = n.lr * u;
    buffer = n.decayed_sum(buffer, u);
    T change = buffer;
    if constexpr (nesterov) change = u + n.momentum * buffer;
    p = p - (lr_inside ? change : n.lr * change);
  }
}

}  // namespace
