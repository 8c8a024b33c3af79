// A number seen as the bits that it is made of, or the other way round; and what compilers name in ways of their own.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstring>

#if defined(_MSC_VER)
#define RMSPROP_NOINLINE __declspec(noinline)
#else
#define RMSPROP_NOINLINE __attribute__((noinline))
#endif

namespace {

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace
