// Random bits for rounding: a pure function of what is rounded, whoever rounds it. src/rmsprop/storage.py states the
// same operations.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bits.hpp"

namespace {

constexpr int kLaneBits = 8;  // elements that share a word, as a power of two
constexpr uint64_t kGolden64 = 0x9e3779b97f4a7c15;
constexpr uint32_t kGolden32 = 0x9e3779b9;

inline uint64_t mixed(uint64_t word) {
  word += kGolden64;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

// Bits for `size` lanes from `lane` on of the word of a block, some of them flipped.
inline void fill_lanes(uint64_t word, uint32_t lane, int64_t size, uint32_t flipped, uint32_t* bits) {
  const uint32_t low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
  for (int64_t k = 0; k < size; ++k) {
    uint32_t x = (low + (lane + static_cast<uint32_t>(k)) * kGolden32) ^ high;
    x = (x ^ (x >> 16)) * 0x7feb352d;
    x = (x ^ (x >> 15)) * 0x846ca68b;
    bits[k] = x ^ (x >> 16) ^ flipped;
  }
}

// Where the elements of a tensor stand in the whole parameter, of which it may be a shard: they lie in runs.
struct Place {
  int64_t number;  // of the parameter
  int64_t first;   // the index of the first element in the whole
  int64_t run;     // how many elements follow each other
  int64_t stride;  // how far one run begins behind the other
};

// Which array of a parameter's state bits are for.
enum Stream { kSpreads = 1, kMeans, kBuffers };

// Bits for the elements of one parameter in one update.
class Noise {
 public:
  Noise(uint64_t seed, uint64_t step, const Place& place)
      : key_(mixed(mixed(mixed(seed) ^ step) ^ static_cast<uint64_t>(place.number))), place_(place), flipped_(0) {}

  // For an array of the state: evenly spread over 8 updates that follow each other.
  Noise(uint64_t seed, uint64_t step, const Place& place, Stream stream)
      : key_(
            mixed(mixed(mixed(seed) ^ (step >> 3)) ^ (static_cast<uint64_t>(place.number) + (uint64_t{stream} << 56)))),
        place_(place),
        flipped_(static_cast<uint32_t>((step & 1) << 31 | (step & 2) << 29 | (step & 4) << 27)) {}

  RMSPROP_NOINLINE void fill(int64_t begin, int64_t size, uint32_t* bits) const {
    while (size > 0) {
      const int64_t within = begin % place_.run;
      const uint64_t index = static_cast<uint64_t>(place_.first + begin / place_.run * place_.stride + within);
      const int64_t lane = static_cast<int64_t>(index & ((1 << kLaneBits) - 1));
      const int64_t here = std::min({size, place_.run - within, (int64_t{1} << kLaneBits) - lane});
      fill_lanes(mixed(key_ + (index >> kLaneBits) * kGolden64), static_cast<uint32_t>(lane), here, flipped_, bits);
      begin += here, bits += here, size -= here;
    }
  }

 private:
  const uint64_t key_;
  const Place place_;
  const uint32_t flipped_;
};

}  // namespace
