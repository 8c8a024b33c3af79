// The update of one element, written once, on numbers in working precision. src/rmsprop/reference.py states the same
// operations in the same order; compiled without contraction they round alike, so the bits are equal whatever the
// vector width.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "bits.hpp"
#include "rmsprop.h"

namespace {

// A choice between two values that is the same for all elements. Made of bits: a compiler would turn a condition into a
// branch, and make a loop of its own for each way to go, most of them without vectors.
template <class T>
class Choice {
 public:
  explicit Choice(bool first) : mask_(first ? ~Bits{0} : Bits{0}) {}
  T operator()(T first, T second) const {
    return bits_as<T>(static_cast<Bits>((bits_as<Bits>(first) & mask_) | (bits_as<Bits>(second) & ~mask_)));
  }

 private:
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  Bits mask_;
};

// Whether a rule makes none of the choices that cost something: averages and momentum that keep at least half of what
// they had, no Nesterov momentum, no weight decay, no limit to an element or an update, no start of its own. Most
// training is like that, and it need not pay for the rest.
inline bool is_usual(const rmsprop_rule& rule) {
  return !rule.new_is_base && !rule.nesterov && !rule.limits && !rule.caution && rule.is_first == 0 &&
         rule.weight_decay_mode == RMSPROP_NO_WEIGHT_DECAY &&
         !(rule.has_momentum && !rule.averages && rule.short_momentum);
}

// The numbers of a rule, rounded to the working precision. What is uniform over a tensor is chosen here, at run time.
template <class T, bool usual>
struct Numbers {
  T lr_inside, lr_outside, grad_scale, max_grad, gain, keep, eps_inside, eps_outside, momentum, momentum_loss,
      weight_decay, max_quotient, share, average_lr;
  bool is_rare;           // whether it makes a choice that no framework offers
  T update_scale = 1;     // what the quotients of one tensor are multiplied with
  T agreement_scale = 1;  // what those of its steps are multiplied with that agree with their gradients
  Choice<T> new_or_old, looks_ahead, decays_gradient, decays_param, decays_with_care, decays_quotient,
      plain_or_corrected, is_first, delayed, has_caution;

  explicit Numbers(const rmsprop_rule& rule)
      : lr_inside(static_cast<T>((rule.lr_in_momentum ? rule.lr : 1.0) * rule.momentum_gain)),
        lr_outside(static_cast<T>(rule.lr_in_momentum ? 1.0 : rule.lr)),
        grad_scale(static_cast<T>(rule.grad_scale)),
        max_grad(static_cast<T>(rule.max_grad)),
        gain(static_cast<T>(rule.gain)),
        keep(static_cast<T>(rule.keep)),
        eps_inside(static_cast<T>(rule.eps_inside)),
        eps_outside(static_cast<T>(rule.eps_outside)),
        momentum(static_cast<T>(rule.momentum)),
        momentum_loss(static_cast<T>(rule.momentum_loss)),
        weight_decay(static_cast<T>(rule.weight_decay)),
        max_quotient(static_cast<T>(rule.max_quotient)),
        share(static_cast<T>(rule.share)),
        average_lr(static_cast<T>(rule.average_lr)),
        is_rare(rule.delayed || rule.caution || rule.is_first != 0 || rule.weight_decay_mode == RMSPROP_CAUTIOUS),
        new_or_old(rule.new_is_base != 0),
        looks_ahead(rule.nesterov != 0),
        decays_gradient(rule.weight_decay_mode == RMSPROP_L2),
        decays_param(rule.weight_decay_mode == RMSPROP_DECOUPLED),
        decays_with_care(rule.weight_decay_mode == RMSPROP_CAUTIOUS),
        decays_quotient(rule.weight_decay_mode == RMSPROP_WITH_QUOTIENT),
        plain_or_corrected(rule.short_momentum != 0),
        is_first(rule.is_first != 0),
        delayed(rule.delayed != 0),
        has_caution(rule.caution != 0) {}

  static bool is_infinite(T value) { return std::fabs(value) == std::numeric_limits<T>::infinity(); }

  static T choose(const Choice<T>& choice, T first, T second) {
    if constexpr (usual) return second;
    return choice(first, second);
  }

  // A number within its limits; NaN stays NaN.
  static T limited(T value, T most) {
    if constexpr (usual) return value;
    value = -most > value ? -most : value;
    return most < value ? most : value;
  }

  // gain·new + keep·old from the side that weighs more; an infinite average stays infinite.
  T average(T old_value, T new_value) const {
    const T base = choose(new_or_old, new_value, old_value), other = choose(new_or_old, old_value, new_value);
    const T moved = base + choose(new_or_old, keep, gain) * (other - base);
    return is_infinite(base) ? base + other : moved;
  }

  // momentum·old + new, with 1 − momentum rounded instead of momentum where it is the smaller one.
  T decayed_sum(T old_value, T new_value) const {
    const T plain = momentum * old_value + new_value;
    const T corrected = old_value + (new_value - momentum_loss * old_value);
    const T finite = choose(plain_or_corrected, plain, corrected);
    return is_infinite(old_value) ? plain : finite;
  }
};

// Updates spread (v, or v − m² when centered) and mean of one element p with the gradient g; returns the quotient.
// Only `rare` makes the choices of papers' code, which would slow all others down by up to a third.
template <bool centered, bool rare, class T, bool usual>
inline T quotient_of(const Numbers<T, usual>& n, T g, T p, T& spread, T& mean) {
  g = n.limited(g * n.grad_scale, n.max_grad);
  g = n.choose(n.decays_gradient, g + n.weight_decay * p, g);

  if constexpr (rare) spread = n.choose(n.is_first, g * g, spread);
  const T before = spread;
  if constexpr (centered) {
    const T deviation = g - mean;
    mean = n.average(mean, g);
    spread = n.average(spread, (n.keep * deviation) * deviation);
  } else {
    spread = n.average(spread, g * g);
  }

  // One of the two epsilons is 0, and adding 0 changes no bit of a number that is not negative.
  const T divisor = rare ? n.choose(n.delayed, before, spread) : spread;
  const T denominator = std::sqrt(divisor + n.eps_inside) + n.eps_outside;
  const T quotient = g / denominator;
  const T u = ((g == T(0)) & (denominator == T(0))) ? g : quotient;
  return rare ? n.limited(u, n.max_quotient) : u;
}

// Makes a step of a quotient, with the momentum of one element, which it updates.
template <class T, bool usual>
inline T step_of(const Numbers<T, usual>& n, T quotient, T& buffer) {
  const T u = n.lr_inside * quotient;
  buffer = n.decayed_sum(buffer, u);
  return n.choose(n.looks_ahead, u + n.momentum * buffer, buffer);
}

// What the buffer of an element is: nothing, its momentum, or the iterate that it averages.
enum class Buffer { kNone, kMomentum, kIterate };

// Updates p, spread, mean and buffer of one element with the gradient g.
template <bool centered, Buffer kind, bool rare, class T, bool usual>
inline void update(const Numbers<T, usual>& n, T g, T& p, T& spread, T& mean, T& buffer) {
  T u = quotient_of<centered, rare>(n, g, p, spread, mean);
  if constexpr (!usual) u = n.update_scale * u;

  if constexpr (kind == Buffer::kIterate) {
    u = n.choose(n.decays_quotient, u + n.weight_decay * p, u);
    p = (p + n.share * (buffer - p)) - n.average_lr * u;
    buffer = buffer - n.lr_outside * u;
    return;
  }
  if constexpr (kind == Buffer::kMomentum) {
    const T step = step_of(n, u, buffer);
    if constexpr (rare) {
      const T longer = n.agreement_scale * step, none = T(0) * step;
      u = n.choose(n.has_caution, step * u > T(0) ? longer : none, step);
    } else {
      u = step;
    }
  }
  const T moved_by = n.lr_outside * u;
  if constexpr (!usual) {
    const T decayed = p - n.weight_decay * p;
    const T otherwise = rare ? n.choose(n.decays_with_care, moved_by * p < T(0) ? p : decayed, p) : p;
    p = n.choose(n.decays_param, decayed, otherwise);
  }
  p = p - moved_by;
}

}  // namespace
