// Floating-point arithmetic as the standard has it.
#pragma once

#include <cfenv>

namespace rmsprop {

// Arithmetic as the standard has it while this lives (kernels are called through a pointer, past which a compiler moves
// no arithmetic): a program that flushes denormals to zero does so on some threads only, and who updates an element
// must not change its bits.
class StandardArithmetic {
 public:
  StandardArithmetic() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~StandardArithmetic() { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
};

}  // namespace rmsprop
