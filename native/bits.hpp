// A number seen as the bits that it is made of, or the other way round.
//
// Included by kernel.cpp alone, which is compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <cstring>

namespace {

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace
