// A number seen as the bits that it is made of, or the other way round; and what compilers name in ways of their own.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(_MSC_VER)
#define RMSPROP_NOINLINE __declspec(noinline)
#else
#define RMSPROP_NOINLINE __attribute__((noinline))
#endif

namespace {

// Asks for a stretch of memory that will be read and written soon. The empty instruction says that something happens
// here: GCC takes a function that only prefetches for one without effects, and drops its calls.
inline void prefetch([[maybe_unused]] const void* begin, [[maybe_unused]] int64_t bytes) {
#if defined(__GNUC__)
#pragma GCC unroll 1
  for (int64_t line = 0; line < bytes; line += 64) {
    __builtin_prefetch(static_cast<const char*>(begin) + line, 1);
    __asm__ volatile("");
  }
#endif
}

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace
