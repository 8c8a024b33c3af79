// What this processor can do and the system lets it: asked of the processor itself, because the answer of
// __builtin_cpu_supports depends on the compiler's run-time library (that of Zig says no to everything).
#pragma once

#if defined(RMSPROP_X86)
#include <cpuid.h>

#include <cstdint>

namespace rmsprop {

// Which registers the system saves when threads take turns, as bits of XCR0.
inline uint64_t saved_registers() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  constexpr uint32_t kOsxsave = 1U << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsxsave)) return 0;
  asm("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return uint64_t{d} << 32 | a;
}

// Whether the processor has all of these features, bits of the register EBX of CPUID's leaf 7, and the system saves all
// of these registers.
inline bool has(uint32_t features, uint64_t registers) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return (saved_registers() & registers) == registers && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (b & features) == features;
}

inline bool has_avx2() {
  constexpr uint32_t kAvx2 = 1U << 5;
  constexpr uint64_t kXmmYmm = 0x6;
  return has(kAvx2, kXmmYmm);
}

inline bool has_avx512() {
  constexpr uint32_t kF = 1U << 16, kDq = 1U << 17, kBw = 1U << 30, kVl = 1U << 31;
  constexpr uint64_t kXmmYmmZmmMasks = 0xe6;
  return has(kF | kDq | kBw | kVl, kXmmYmmZmmMasks);
}

}  // namespace rmsprop
#endif
